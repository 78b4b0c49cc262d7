"""Images for tests without a registry: Debian's own base, and docker/Dockerfile on top of it from wheels on disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import BuildError

from cdeep3m.system.files import whole_file
from docker_daemon import SYSTEM_PATH

if TYPE_CHECKING:
    from docker import DockerClient

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"

SUITE = "bookworm"
PACKAGES = "python3,python3-venv"
PYTHON = "3.11"
"""Debian's release, what the image needs of it, and the Python that it and the Dockerfile's own base have."""

MACHINE_PACKAGES = ("systemd-sysv", "dbus", "cloud-init", "python3-boto3", "ca-certificates")
"""What a cloud's machine has besides: an init process, what reads user data, and what speaks to S3."""

NEWEST = "sid"
"""The release of Debian that has Apptainer."""

AGED = ("-o", "Acquire::Check-Valid-Until=false")
"""A mirror may be some weeks behind; what it has is signed all the same."""

PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
CONTEXT = (
    ".dockerignore", "LICENSE", "README.md", "constraints.txt", "pyproject.toml",
    "caffe_models", "docker", "matlab_ports", "python", "scripts",
)  # fmt: skip


class NoWheelsError(Exception):
    """pip does not find the wheels that the image is built from, for a reason of this machine."""


def import_base(client: DockerClient, *, cache: Path) -> str:
    """Make an image of a minimal Debian with Python; return its name.

    The archive that debootstrap made is kept in `cache`, for the next time.
    """
    return import_archive(client, base_archive(cache), name=f"cdeep3m-test-base:{SUITE}")


def import_machine(client: DockerClient, *, cache: Path) -> str:
    """Make an image of a Debian as clouds start it, with systemd and cloud-init; return its name."""
    archive = cache / f"{SUITE}-machine-{'-'.join(MACHINE_PACKAGES)}.tar"
    if not archive.is_file():
        base = base_archive(cache)
        with whole_file(archive) as partial:
            add_packages(base, partial)
    return import_archive(client, archive, name=f"cdeep3m-test-machine:{SUITE}")


def import_archive(client: DockerClient, archive: Path, *, name: str) -> str:
    """Make an image of a tar file, unless there is one of that name; return the name."""
    if not client.images.list(name=name):
        repository, tag = name.split(":")
        client.api.import_image_from_file(str(archive), repository=repository, tag=tag)
    return name


def base_archive(cache: Path) -> Path:
    """Return a tar file with a minimal Debian with Python, made where it is not in `cache` yet."""
    archive = cache / f"{SUITE}-{PACKAGES.replace(',', '-')}.tar"
    if not archive.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with whole_file(archive) as partial:
            bootstrap(partial)
    return archive


def bootstrap(archive: Path) -> None:
    """Write a minimal Debian with Python to `archive`, a tar file."""
    with tempfile.TemporaryDirectory(prefix="cdeep3m-debian-") as folder:
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, folder)
        pack(folder, archive)


def apptainer_archive(cache: Path) -> Path:
    """Return a tar file with a Debian that has Apptainer, made where it is not in `cache` yet."""
    archive = cache / f"{NEWEST}-apptainer.tar"
    if not archive.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="cdeep3m-debian-") as folder, whole_file(archive) as partial:
            run("debootstrap", "--variant=minbase", "--include=ca-certificates", NEWEST, folder)
            install(folder, "apptainer")
            pack(folder, partial)
    return archive


def add_packages(base: Path, archive: Path) -> None:
    """Write the Debian of `base` with the packages of a cloud's machine to `archive`."""
    with tempfile.TemporaryDirectory(prefix="cdeep3m-debian-") as folder:
        run("tar", "--numeric-owner", "-C", folder, "-xpf", base)
        install(folder, *MACHINE_PACKAGES)
        pack(folder, archive)


def install(folder: str, *packages: str) -> None:
    """Install packages into a Debian in `folder`; no service is started."""
    shutil.copy("/etc/resolv.conf", Path(folder, "etc"))
    Path(folder, "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")  # start no service while installing
    Path(folder, "usr/sbin/policy-rc.d").chmod(0o755)
    quiet = ("env", "DEBIAN_FRONTEND=noninteractive")
    Path(folder).chmod(0o755)  # apt downloads as a user of its own
    run("chroot", folder, *quiet, "apt-get", *AGED, "update")
    run("chroot", folder, *quiet, "apt-get", "install", "--yes", "--no-install-recommends", *packages)
    Path(folder, "usr/sbin/policy-rc.d").unlink()


def pack(folder: str, archive: Path) -> None:
    """Write a Debian in `folder` to a tar file, without the packages that it was made of."""
    shutil.rmtree(Path(folder, "var/cache/apt/archives"), ignore_errors=True)
    run("tar", "--numeric-owner", "-C", folder, "-cf", archive, ".")


def download_wheels(folder: Path) -> None:
    """Download what docker/Dockerfile installs for the CPU, in the versions of constraints.txt.

    Raises
    ------
    NoWheelsError
        pip finds no CPU build of PyTorch, or no package at all.
    """
    wanted = run(sys.executable, DOCKER / "requirements.py", "cpu", cwd=ROOT).splitlines()
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    target += [f"--platform={name}_{os.uname().machine}" for name in PLATFORMS]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-input"]
    done = subprocess.run(
        [*pip, *target, "--constraint", "constraints.txt", "--dest", folder, *wanted, "setuptools"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    errors = re.findall(r"^ERROR: (No matching distribution.*|Could not find a version.*)", done.stderr, re.MULTILINE)
    if errors:
        raise NoWheelsError(f"{errors[-1]}; PIP_EXTRA_INDEX_URL may name the index of PyTorch's CPU builds")
    assert done.returncode == 0, done.stderr


def make_context(folder: Path) -> None:
    """Copy what docker/Dockerfile reads to `folder`, with the wheels that it is to use."""
    for name in CONTEXT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "wheels"))
        else:
            shutil.copy(ROOT / name, folder / name)
    (folder / "docker" / "wheels").mkdir()
    download_wheels(folder / "docker" / "wheels")


def build(client: DockerClient, context: Path, name: str, **arguments: str) -> str:
    """Build docker/Dockerfile without a network for the CPU; return `name`, which the image has.

    Raises
    ------
    AssertionError
        A step failed; with everything that the build said.
    """
    arguments = {"DEVICE": "cpu", "PIP_NO_INDEX": "1", **arguments}
    try:
        client.images.build(
            path=str(context), dockerfile="docker/Dockerfile", tag=name, buildargs=arguments, network_mode="none",
            rm=True, forcerm=True,
        )  # fmt: skip
    except BuildError as error:
        said = "".join(str(line.get("stream", "")) for line in error.build_log)
        raise AssertionError(f"docker/Dockerfile: {error.msg}\n{said}") from error
    return name


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run `command` with root's programs on PATH; return what it printed."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, cwd=cwd,
        env={**os.environ, "PATH": SYSTEM_PATH},
    )  # fmt: skip
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-2000:]}{done.stderr}"
    return done.stdout
