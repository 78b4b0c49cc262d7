"""docker/compose.yaml, run by Docker Compose on a real engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docker_daemon import SYSTEM_PATH

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.docker, pytest.mark.slow]

COMPOSE = Path(__file__).parents[2] / "docker" / "compose.yaml"
NOBODY = 12345


def find_compose() -> list[str] | None:
    """Return the command of Docker Compose: the plugin of today's Docker, or the program of its own."""
    plugin = ["docker", "compose"]
    if (
        shutil.which("docker")
        and subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0
    ):
        return plugin
    return [found] if (found := shutil.which("docker-compose", path=SYSTEM_PATH)) else None


@pytest.fixture
def compose(docker_host, docker_client, caffe_image, tmp_path) -> Callable[..., str]:
    """Run Docker Compose in `tmp_path`, with the image of the tests' own under the name that the file has."""
    command = find_compose()
    if command is None:
        pytest.skip("no Docker Compose on PATH (Debian: apt install docker-compose)")
    docker_client.images.get(caffe_image).tag("cdeep3m", "0.1.0-cpu")
    os.chown(tmp_path, NOBODY, NOBODY)
    environment = {**os.environ, "DOCKER_HOST": docker_host, "PWD": str(tmp_path), "RUN_AS": f"{NOBODY}:{NOBODY}"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [*command, "--file", str(COMPOSE), *words], cwd=tmp_path, env=environment, text=True, check=False,
            capture_output=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_compose_understands_both_services(compose):
    assert compose("config", "--services").split() in (["gpu", "cpu"], ["cpu", "gpu"])


def test_commands_run_in_the_folder_as_its_owner(compose, tmp_path):
    said = compose("run", "--rm", "-T", "cpu", "sh", "-c", "runprediction.sh --version; pwd; echo mine >made")
    assert said.split()[-2:] == ["0.1.0", "/work"]
    assert ((tmp_path / "made").stat().st_uid, (tmp_path / "made").read_text()) == (NOBODY, "mine\n")


def test_container_is_closed(compose):
    said = compose(
        "run", "--rm", "-T", "cpu", "sh", "-c", "ls /sys/class/net; touch /opt/x 2>&1 || echo closed; touch /tmp/x"
    )
    assert said.split()[0] == "lo"
    assert "Read-only file system" in said
