"""The drop-in commands: names, files, and how they find their Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
TABLE = dict(re.findall(r"^\| `([^`]+)` \| `([a-z0-9_]+)` \|$", (SCRIPTS / "README.md").read_text(), re.MULTILINE))
FINDER = "cdeep3m-python"
LINE = 'self=$(readlink -f "$0") && exec "${{self%/*}}/cdeep3m-python" -m cdeep3m.cli.{module} "$@"'
SHELL = "#!/bin/sh\n" + LINE + "\n"
BOTH = (
    "#!/bin/sh\n''':'; " + LINE + " #'''\n"
    '__import__("runpy").run_module("cdeep3m.cli.{module}", run_name="__main__", alter_sys=True)\n'
)
OCTAVE = [name.removesuffix(".m") for name in TABLE if name.endswith(".m")]


def script(name: str) -> str:
    """What the file `name` must hold."""
    return (BOTH if name.endswith(".py") else SHELL).format(module=TABLE[name])


def run(*command: str | Path, **kwargs) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **kwargs)


def clone_with(tmp_path: Path, python: str | None) -> Path:
    """A folder scripts/ as in a clone, whose .venv has `python`, a shell script, as its Python."""
    shutil.copytree(SCRIPTS, tmp_path / "clone" / "scripts")
    if python is not None:
        executable(tmp_path / "clone" / ".venv" / "bin" / "python3", python)
    return tmp_path / "clone" / "scripts"


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("name", TABLE)
def test_command_is_one_line_that_runs_its_module(name):
    assert (SCRIPTS / name).read_text() == script(name)
    assert os.access(SCRIPTS / name, os.X_OK)
    assert (ROOT / "python" / "cdeep3m" / "cli" / f"{TABLE[name]}.py").is_file()


def test_table_names_every_file_and_pip_installs_them():
    files = {path.name for path in SCRIPTS.iterdir()} - {"README.md"}
    assert files == {*TABLE, FINDER}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert sorted(project["tool"]["setuptools"]["script-files"]) == sorted(
        f"scripts/{name}" for name in files - {"cdeep3m"}
    )
    assert project["project"]["scripts"] == {"cdeep3m": "cdeep3m.cli.main:main"}


@pytest.mark.parametrize("name", OCTAVE)
def test_octave_command_exists_under_all_its_names(name):
    assert TABLE[name] == TABLE[f"{name}.m"] == TABLE[f"{name}.py"]


@pytest.mark.parametrize("name", ["runtraining.sh", "PreprocessTrainingData.m", "EnsemblePredictions.py"])
def test_clone_runs_the_python_of_its_venv_with_arguments_as_given(tmp_path, name):
    scripts = clone_with(tmp_path, '#!/bin/sh\nprintf "<%s>\\n" "$@"\n')
    done = run(scripts / name, "a b", "", "*")
    assert done.stdout.splitlines() == ["<-m>", f"<cdeep3m.cli.{TABLE[name]}>", "<a b>", "<>", "<*>"]


def test_symbolic_link_to_a_command_finds_the_clone(tmp_path):
    scripts = clone_with(tmp_path, "#!/bin/sh\necho $2\n")
    link = tmp_path / "bin" / "runprediction.sh"
    link.parent.mkdir()
    link.symlink_to(os.path.relpath(scripts / "runprediction.sh", link.parent))
    done = run("runprediction.sh", env={"PATH": f"{link.parent}:{os.environ['PATH']}"}, cwd=tmp_path)
    assert done.stdout == "cdeep3m.cli.runprediction\n"


def test_folder_name_with_spaces_works(tmp_path):
    scripts = clone_with(tmp_path / "my  clone", "#!/bin/sh\necho $2\n")
    assert run(scripts / "caffe.bin").stdout == "cdeep3m.cli.caffe\n"


def test_exit_status_is_the_commands_own(tmp_path):
    assert run(clone_with(tmp_path, "#!/bin/sh\nexit 99\n") / "runprediction.sh").returncode == 99


def test_installed_command_runs_the_python_beside_it(tmp_path):
    bin_folder = tmp_path / "bin"
    shutil.copytree(SCRIPTS, bin_folder)
    executable(bin_folder / "python3", "#!/bin/sh\necho beside $2\n")
    assert run(bin_folder / "runtraining.sh").stdout == "beside cdeep3m.cli.runtraining\n"


def test_python_on_the_path_serves_where_it_has_cdeep3m(tmp_path):
    scripts = clone_with(tmp_path, None)
    executable(tmp_path / "bin" / "python3", "#!/bin/sh\nif [ $1 = -m ]; then echo path $2; fi\n")
    done = run(scripts / "runtraining.sh", env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    assert done.stdout == "path cdeep3m.cli.runtraining\n"


@pytest.mark.parametrize("python", ["#!/bin/sh\nexit 1\n", None])
def test_without_any_python_one_line_says_what_to_do(tmp_path, python):
    scripts = clone_with(tmp_path, None)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "readlink").symlink_to(shutil.which("readlink"))
    if python is not None:
        executable(tools / "python3", python)
    done = run(scripts / "runtraining.sh", env={"PATH": str(tools)})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "make venv" in done.stderr


def test_users_own_modules_do_not_hide_the_standard_library(tmp_path):
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.10 always looks for modules in the working folder")
    (tmp_path / "argparse.py").write_text("raise SystemExit('the wrong argparse')\n")
    scripts = clone_with(tmp_path, f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    done = run(scripts / "cdeep3m", "demo", "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_py_name_also_runs_under_python(tmp_path):
    done = run(sys.executable, SCRIPTS / "EnsemblePredictions.py", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "EnsemblePredictions" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(find_spec("setuptools") is None, reason="needs setuptools to build a wheel")
def test_wheel_holds_commands_networks_and_ports(tmp_path):
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "demo-output", "tests", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignore)
    build = "import sys, setuptools.build_meta as backend; print(backend.build_wheel(sys.argv[1]))"
    done = run(sys.executable, "-W", "ignore", "-c", build, tmp_path, cwd=source)
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {name.split("/")[-1] for name in names if "/scripts/" in name} == {*TABLE, FINDER} - {"cdeep3m"}
    for net in ("1fm", "3fm", "5fm"):
        for kind in ("deploy", "train_val", "solver", "label_class_selection"):
            assert f"cdeep3m/caffe_models/inception_residual_train_prediction_{net}/{kind}.prototxt" in names
    packaged = {name for name in names if name.endswith(".py")}
    assert {f"cdeep3m/{path.relative_to(ROOT)}" for path in (ROOT / "matlab_ports").glob("*.py")} <= packaged
    assert {str(path.relative_to(ROOT / "python")) for path in (ROOT / "python").rglob("*.py")} <= packaged
    assert {"cdeep3m/py.typed", "cdeep3m/proto/caffe.proto", "cdeep3m/engines/images.toml"} <= set(names)
