"""The recipes under docker/, read without a Docker engine. tests/system builds the image."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from docker.utils.build import exclude_paths

from docker_images import CONTEXT, PYTHON

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE, DEFINITION, COMPOSE = (
    (DOCKER / name).read_text() for name in ("Dockerfile", "cdeep3m.def", "compose.yaml")
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
PIP_ARGUMENTS = {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"}

FOR_USERS = ("embedded", "watershed", "zarr", "mrc", "dask", "slurm", "objects", "report")
DEVELOPMENT = ("test", "browser", "docs", "cloud-test", "release", "second", "fidelity", "lint")
"""Extras that the image has, and those that it has not."""

needs_tomllib = pytest.mark.skipif(sys.version_info < (3, 11), reason="the image's Python is newer than this one")


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile and their arguments, in order."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    """Instructions of each stage, without the arguments before the first one."""
    begun: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            begun.append([])
        if begun:
            begun[-1].append(instruction)
    return begun


def copied() -> list[str]:
    """What the Dockerfile copies from the clone."""
    sources = [words.split()[:-1] for name, words in instructions() if name == "COPY" and "--from" not in words]
    return sorted({source for words in sources for source in words})


def context() -> set[str]:
    """What .dockerignore lets into the build's context."""
    return exclude_paths(str(ROOT), (ROOT / ".dockerignore").read_text().splitlines()) - {".dockerignore"}


def script(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words] if words[0].endswith(".py") else ["sh", *words],
        capture_output=True, text=True, check=False, cwd=cwd,
    )  # fmt: skip


def test_commands_are_on_the_path_where_pip_installs_them():
    (home,) = re.findall(r"^home=(\S+)$", (DOCKER / "install.sh").read_text(), re.MULTILINE)
    assert f"PATH={home}/bin:$PATH" in dict(stages()[-1])["ENV"].split()
    assert DEFINITION.count(f"PATH={home}/bin:$PATH") == 2
    copies = [words for name, words in stages()[-1] if name == "COPY"]
    assert copies == [f"--from=dependencies {home} {home}", "--from=package /package/ /"]


def test_all_recipes_have_the_package_s_version():
    version = PROJECT["version"]
    assert ("ARG", f"VERSION={version}") in instructions()
    assert re.findall(r"image: cdeep3m:([^-\s]+)", COMPOSE) == [version, version]
    assert f"org.opencontainers.image.version {version}\n" in DEFINITION


def test_base_is_one_version_of_a_slim_python_in_both_recipes_and_may_have_a_digest():
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(rf"python:{re.escape(PYTHON)}\.\d+-slim-[a-z]+", base)
    assert re.findall(r"^    BASE=(\S+)$", DEFINITION, re.MULTILINE) == [base]
    assert stages()[0][0] == ("FROM", "${BASE}${BASE_DIGEST:+@$BASE_DIGEST} AS base")


def test_context_holds_what_is_copied_and_nothing_of_the_workplace():
    names = context()
    for source in copied():
        held = {name for name in names if name == source or name.startswith(f"{source}/")}
        assert any((ROOT / name).is_file() for name in held), source
    tops = {name.split("/")[0] for name in names}
    assert tops == {*copied()}, "the context holds what no instruction copies"
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert tops <= {*CONTEXT}, "the tests' context lacks something"


def test_steps_that_install_have_pip_s_arguments():
    installing = [
        stage for stage in stages() if any("install.sh" in words and "package" not in words for _, words in stage)
    ]
    assert len(installing) == 2
    for stage in installing:
        assert {words for name, words in stage if name == "ARG"} >= PIP_ARGUMENTS
    assert not {words.split("=")[0] for name, words in stages()[-1] if name == "ARG"} & PIP_ARGUMENTS


def test_nothing_runs_in_the_last_stage_and_its_user_is_not_root():
    last = stages()[-1]
    assert not {name for name, _ in last} & {"RUN", "HEALTHCHECK", "ENTRYPOINT", "ADD", "VOLUME"}
    assert dict(last)["USER"] == "1000:1000"


@pytest.mark.parametrize("recipe", [DOCKERFILE, DEFINITION, COMPOSE], ids=["Dockerfile", "cdeep3m.def", "compose.yaml"])
def test_no_recipe_names_an_index_or_a_registry(recipe):
    assert "://" not in recipe
    assert not re.search(r"\b[a-z0-9-]+\.(io|org|com)/", recipe)


@needs_tomllib
@pytest.mark.parametrize(("device", "suffix"), [("cpu", "+cpu"), ("cuda", "")])
def test_requirements_are_the_package_s_own_with_the_pinned_pytorch(device, suffix):
    lines = script("docker/requirements.py", device).stdout.splitlines()
    extras = PROJECT["optional-dependencies"]
    assert {*extras} == {*FOR_USERS, *DEVELOPMENT}, "an extra that docker/requirements.py neither has nor leaves out"
    expected = [*PROJECT["dependencies"], *dict.fromkeys(line for name in FOR_USERS for line in extras[name])]
    assert [line for line in lines if not line.startswith("torch")] == [
        line for line in expected if not line.startswith("torch")
    ]
    (torch_version,) = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert f"torch=={torch_version}{suffix}" in lines
    assert {re.match(r"[\w-]+", line).group() for line in lines} <= {*PINNED}, "a dependency without an exact version"


@needs_tomllib
@pytest.mark.parametrize("words", [[], ["tpu"], ["cpu", "cuda"]])
def test_unknown_device_is_one_line(words):
    done = script("docker/requirements.py", *words)
    assert done.returncode == 1
    assert done.stderr == f"ERROR, DEVICE={' '.join(words)}: expected cpu or cuda\n"


@pytest.mark.parametrize(("version", "found", "other"), [(None, "cpu", "cuda"), ("13.0", "cuda", "cpu")])
def test_build_stops_where_pip_chose_pytorch_for_another_device(monkeypatch, version, found, other):
    monkeypatch.setattr("torch.version.cuda", version)
    monkeypatch.setattr("sys.argv", ["check_device.py", found])
    runpy.run_path(str(DOCKER / "check_device.py"))
    monkeypatch.setattr("sys.argv", ["check_device.py", other])
    with pytest.raises(SystemExit, match=f"^ERROR, .* a build for {found}, but DEVICE={other} was asked for"):
        runpy.run_path(str(DOCKER / "check_device.py"))


def test_unknown_step_is_one_line():
    done = script("docker/install.sh", "everything")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_definition_copies_what_the_dockerfile_copies():
    files = DEFINITION.split("%files\n")[1].split("\n\n")[0]
    assert sorted(line.split()[0] for line in files.splitlines()) == copied()
    steps = re.findall(r"docker/install\.sh (\w+)", DEFINITION)
    assert steps == re.findall(r"RUN docker/install\.sh (\w+)", DOCKERFILE)


def test_compose_services_are_closed_containers_of_the_two_variants():
    services = yaml.safe_load(COMPOSE)["services"]
    assert {name: service["build"]["args"][0] for name, service in services.items()} == {
        "gpu": "DEVICE=cuda",
        "cpu": "DEVICE=cpu",
    }
    for service in services.values():
        assert (service["network_mode"], service["read_only"], service["init"]) == ("none", True, True)
        assert (
            DOCKER / service["build"]["context"] / service["build"]["dockerfile"]
        ).resolve() == DOCKER / "Dockerfile"
    (device,) = services["gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
