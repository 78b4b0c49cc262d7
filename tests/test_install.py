"""A wheel, installed into a virtual environment of its own, is all that a user needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_SOURCE = (".*", "*.egg-info", "build", "dist", "demo-output", "tests", "docs", "__pycache__")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("pip") is None or find_spec("setuptools") is None, reason="needs pip and setuptools"),
]


def run(*command: str | Path, **kwargs) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """Folder bin/ of a virtual environment with the wheel; its dependencies are those that run this test."""
    home = tmp_path_factory.mktemp("install")
    shutil.copytree(ROOT, home / "source", ignore=shutil.ignore_patterns(*NOT_SOURCE))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", home, home / "source")
    run(sys.executable, "-m", "venv", "--without-pip", home / "venv")
    python = home / "venv" / "bin" / "python3"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", "--quiet", next(home.glob("*.whl")))
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def test_installed_package_has_ports_and_networks(environment, tmp_path):
    code = (
        "from importlib.resources import files\n"
        "import cdeep3m, cdeep3m.matlab_ports.merge_large_data\n"
        "print(cdeep3m.__file__)\n"
        "print(len(list(files('cdeep3m.caffe_models').glob('*/*.prototxt'))))"
    )
    path, networks = run(environment / "python3", "-c", code, cwd=tmp_path).splitlines()
    assert Path(path).is_relative_to(environment.parent)
    assert networks == "12"


@pytest.mark.parametrize(
    "name", ["runtraining.sh", "runprediction.sh", "caffe.bin", "PreprocessTrainingData.m", "EnsemblePredictions.py"]
)
def test_installed_commands_run_without_a_path(environment, tmp_path, name):
    env = {**os.environ, "PATH": "/usr/bin:/bin"}
    assert run(environment / name, "--help", cwd=tmp_path, env=env).startswith("usage: ")


def test_installed_cdeep3m_knows_the_published_models(environment, tmp_path):
    assert len(run(environment / "cdeep3m", "models", "list", cwd=tmp_path).splitlines()) == 7


def test_installed_cdeep3m_finds_the_commands_that_the_demo_runs(environment, tmp_path):
    assert run(environment / "cdeep3m", "--version", cwd=tmp_path).startswith("cdeep3m ")
    code = "from cdeep3m.cli.demo_steps import program; print(program('runtraining.sh'))"
    assert run(environment / "python3", "-c", code, cwd=tmp_path).strip() == str(environment / "runtraining.sh")
