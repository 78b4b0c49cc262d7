"""The drop-in commands: names, files, and how they find their Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from cdeep3m.cli import launch
from cdeep3m.cli.launch import command_called
from cdeep3m.cli.table import COMMANDS, OCTAVE
from command_files import LAUNCHER, ROOT, SCRIPTS, entry_points

if TYPE_CHECKING:
    from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = dict(re.findall(r"^\| `([^`]+)` \| `([a-z0-9_]+)` \|$", (SCRIPTS / "README.md").read_text(), re.MULTILINE))


def run(*command: str | Path, **kwargs) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **kwargs)


def clone_with(tmp_path: Path, python: str | None) -> Path:
    """A folder scripts/ as in a clone, whose .venv has `python`, a shell script, as its Python."""
    shutil.copytree(SCRIPTS, tmp_path / "clone" / "scripts", symlinks=True)
    if python is not None:
        executable(tmp_path / "clone" / ".venv" / "bin" / "python3", python)
    return tmp_path / "clone" / "scripts"


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_a_link_to_the_launcher_and_its_module_is_there(name):
    assert os.readlink(SCRIPTS / name) == LAUNCHER
    assert os.access(SCRIPTS / name, os.X_OK)
    assert (ROOT / "python" / "cdeep3m" / "cli" / f"{COMMANDS[name]}.py").is_file()


def test_the_table_the_folder_the_page_and_pip_name_the_same_commands():
    assert {path.name for path in SCRIPTS.iterdir()} - {"README.md", LAUNCHER} == set(COMMANDS)
    assert PAGE == COMMANDS
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == entry_points()


@pytest.mark.parametrize("name", OCTAVE)
def test_octave_command_exists_under_all_its_names(name):
    assert COMMANDS[name] == COMMANDS[f"{name}.m"] == COMMANDS[f"{name}.py"]


@pytest.mark.parametrize("name", ["runtraining.sh", "PreprocessTrainingData.m", "EnsemblePredictions.py"])
def test_clone_runs_the_python_of_its_venv_with_arguments_as_given(tmp_path, name):
    scripts = clone_with(tmp_path, '#!/bin/sh\nprintf "<%s>\\n" "$@"\n')
    done = run(scripts / name, "a b", "", "*")
    assert done.stdout.splitlines() == ["<-m>", "<cdeep3m.cli.launch>", f"<{scripts / name}>", "<a b>", "<>", "<*>"]


def test_symbolic_link_to_a_command_finds_the_clone(tmp_path):
    scripts = clone_with(tmp_path, "#!/bin/sh\necho $2 ${3##*/}\n")
    link = tmp_path / "bin" / "runprediction.sh"
    link.parent.mkdir()
    link.symlink_to(os.path.relpath(scripts / "runprediction.sh", link.parent))
    done = run("runprediction.sh", env={"PATH": f"{link.parent}:{os.environ['PATH']}"}, cwd=tmp_path)
    assert done.stdout == "cdeep3m.cli.launch runprediction.sh\n"


def test_folder_name_with_spaces_works(tmp_path):
    scripts = clone_with(tmp_path / "my  clone", "#!/bin/sh\necho $2 ${3##*/}\n")
    assert run(scripts / "caffe.bin").stdout == "cdeep3m.cli.launch caffe.bin\n"


def test_exit_status_is_the_commands_own(tmp_path):
    assert run(clone_with(tmp_path, "#!/bin/sh\nexit 99\n") / "runprediction.sh").returncode == 99


def test_installed_command_runs_the_python_beside_it(tmp_path):
    bin_folder = tmp_path / "bin"
    shutil.copytree(SCRIPTS, bin_folder, symlinks=True)
    executable(bin_folder / "python3", "#!/bin/sh\necho beside ${3##*/}\n")
    assert run(bin_folder / "runtraining.sh").stdout == "beside runtraining.sh\n"


def test_python_on_the_path_serves_where_it_has_cdeep3m(tmp_path):
    scripts = clone_with(tmp_path, None)
    executable(tmp_path / "bin" / "python3", "#!/bin/sh\nif [ $1 = -m ]; then echo path ${3##*/}; fi\n")
    done = run(scripts / "runtraining.sh", env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    assert done.stdout == "path runtraining.sh\n"


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


def test_a_link_of_the_user_s_own_name_runs_the_command_behind_it(tmp_path):
    (tmp_path / "mine").symlink_to(SCRIPTS / "EnsemblePredictions.m")
    assert command_called(str(tmp_path / "mine")) == "EnsemblePredictions.m"
    (tmp_path / "again").symlink_to("mine")
    assert command_called(str(tmp_path / "again")) == "EnsemblePredictions.m"


def test_the_launcher_itself_is_no_command(capsys):
    assert launch.main([str(SCRIPTS / LAUNCHER)]) == 1
    assert "expected a link to one, such as runtraining.sh" in capsys.readouterr().err


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
    wheel = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    points = wheel.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    assert dict(re.findall(r"^(\S+) = (\S+)$", points, re.MULTILINE)) == entry_points()
    for net in ("1fm", "3fm", "5fm"):
        for kind in ("deploy", "train_val", "solver", "label_class_selection"):
            assert f"cdeep3m/caffe_models/inception_residual_train_prediction_{net}/{kind}.prototxt" in names
    packaged = {name for name in names if name.endswith(".py")}
    assert {f"cdeep3m/{path.relative_to(ROOT)}" for path in (ROOT / "matlab_ports").glob("*.py")} <= packaged
    assert {str(path.relative_to(ROOT / "python")) for path in (ROOT / "python").rglob("*.py")} <= packaged
    assert {
        "cdeep3m/py.typed",
        "cdeep3m/proto/caffe.binpb",
        "cdeep3m/proto/caffe.proto",
        "cdeep3m/engines/images.toml",
    } <= set(names)
