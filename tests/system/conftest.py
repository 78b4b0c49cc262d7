"""A real Docker engine, and images in it.

DOCKER_HOST names the engine to use. Without it, root starts one of the tests' own; elsewhere the machine's own serves.
`caffe_image` stays in an engine that is not the tests' own, so that the next build of it is quick.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import docker
import pytest

from docker_daemon import PrivateDaemon, RefusedError, answers, find_obstacle
from docker_images import ROOT, NoWheelsError, build, import_base, make_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

CACHE = ROOT / "build" / "docker-base"
MACHINE_HOST = "unix:///var/run/docker.sock"
NOBODY = 12345
"""A user without a line in the image's /etc/passwd."""


@pytest.fixture(scope="session")
def docker_daemon(request) -> Iterator[PrivateDaemon]:
    """Engine of the tests' own; skip where the machine does not let us have one."""
    if hasattr(request.config, "workerinput"):
        pytest.skip("one Docker engine serves one process: make test-docker runs these tests without pytest-xdist")
    if obstacle := find_obstacle():
        pytest.skip(obstacle)
    daemon = PrivateDaemon()
    try:
        daemon.start()
        yield daemon
    except RefusedError as refusal:
        pytest.skip(str(refusal))
    finally:
        daemon.stop()


@pytest.fixture(scope="session")
def docker_host(request) -> str:
    """Address of a Docker engine that answers, for DOCKER_HOST or `docker.DockerClient`."""
    if host := os.environ.get("DOCKER_HOST"):
        if not answers(host):
            pytest.skip(f"no Docker engine answers at DOCKER_HOST={host}")
        return host
    obstacle = find_obstacle()
    if obstacle is None:
        return request.getfixturevalue("docker_daemon").host
    if not answers(MACHINE_HOST):
        pytest.skip(f"no Docker engine answers at {MACHINE_HOST}, and {obstacle}")
    return MACHINE_HOST


@pytest.fixture(scope="session")
def docker_client(docker_host) -> Iterator[DockerClient]:
    """The docker SDK's client of `docker_host`."""
    client = docker.DockerClient(base_url=docker_host, timeout=600)
    yield client
    client.close()


@pytest.fixture(scope="session")
def base_image(docker_client) -> str | None:
    """Name of a minimal Debian image with Python; None where only a registry has one."""
    return None if find_obstacle() else import_base(docker_client, cache=CACHE)


@pytest.fixture(scope="session")
def build_context(tmp_path_factory) -> Path:
    """Folder with the sources that docker/Dockerfile reads, and with wheels for the CPU."""
    folder = tmp_path_factory.mktemp("context")
    try:
        make_context(folder)
    except NoWheelsError as error:
        pytest.skip(str(error))
    return folder


@pytest.fixture(scope="session")
def caffe_image(docker_client, base_image, build_context) -> str:
    """Name of the image of docker/Dockerfile for the CPU: `caffe.bin` and `predict_seg_new.bin` are on its PATH."""
    arguments = {"BASE": base_image} if base_image else {}
    return build(docker_client, build_context, "cdeep3m-test:cpu", **arguments)


@pytest.fixture
def start_container(docker_client, tmp_path) -> Iterator[Callable[..., Container]]:
    """Start a command in a container whose working folder is `tmp_path`, as a user without rights.

    The container's own files are read-only, and it has no network. It is removed after the test.
    """
    user = os.getuid() or NOBODY
    containers = []

    def start(image: str, *command: str) -> Container:
        for path in (tmp_path, *tmp_path.rglob("*")):
            os.chown(path, user, -1)
        containers.append(
            docker_client.containers.create(
                image, list(command), user=f"{user}:{os.getgid()}", working_dir="/work", network_mode="none",
                volumes={str(tmp_path): {"bind": "/work"}}, environment={"OMP_NUM_THREADS": "1"},
                read_only=True, tmpfs={"/tmp": ""}, init=True,
            )
        )  # fmt: skip
        containers[-1].start()
        return containers[-1]

    yield start
    for container in containers:
        container.remove(force=True)


@pytest.fixture
def in_container(start_container) -> Callable[..., str]:
    """Run a command as `start_container` does; return what it printed."""

    def run(image: str, *command: str) -> str:
        container = start_container(image, *command)
        status, said = container.wait()["StatusCode"], container.logs().decode()
        assert status == 0, f"{command[0]} ended with {status}:\n{said}"
        return said

    return run
