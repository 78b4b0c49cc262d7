"""The tests' own Docker engine leaves nothing behind, however the tests end."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import docker
import pytest

from docker_daemon import SYSTEM_PATH, PrivateDaemon, find_obstacle

pytestmark = [pytest.mark.docker, pytest.mark.skipif(find_obstacle() is not None, reason=str(find_obstacle()))]

TESTS = Path(__file__).parents[1]
ENDLESS = ("/bin/sleep", "987654321")
PROGRAM = """
import signal, sys, time
sys.path[:0] = [{tests!r}, {system!r}]
from docker_daemon import PrivateDaemon
from test_docker_daemon import endless_container
daemon = PrivateDaemon()
try:
    daemon.start()
    endless_container(daemon.host)
    print(daemon.folder, flush=True)
    time.sleep(600)
finally:
    daemon.stop()
"""


def sleeping_image() -> io.BytesIO:
    """A tar file with /bin/sleep and its libraries."""
    libraries = re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", "/bin/sleep"], capture_output=True, text=True).stdout)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", dereference=True) as tar:
        for name in ("/bin/sleep", *libraries):
            tar.add(os.path.realpath(name), arcname=name)
    return archive


def endless_container(host: str) -> None:
    client = docker.DockerClient(base_url=host)
    client.api.import_image_from_data(sleeping_image().getvalue(), repository="sleeping", tag="1")
    client.containers.run("sleeping:1", list(ENDLESS), network_mode="none", detach=True)
    client.close()


def command_lines() -> str:
    """Command lines of all running processes."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


def traces(folder: Path) -> list[str]:
    """What still shows that there was an engine in `folder`, with a container that sleeps."""
    found = {
        "folder": folder.exists(),
        "process": folder.name in command_lines(),
        "container": " ".join(ENDLESS) in command_lines(),
        "mount": folder.name in Path("/proc/self/mountinfo").read_text(),
        "control group": any(folder.name in names for _, names, _ in os.walk("/sys/fs/cgroup")),
    }
    return [name for name, is_there in found.items() if is_there]


def wait_without_traces(folder: Path, seconds: float = 60) -> list[str]:
    end = time.monotonic() + seconds
    while (left := traces(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    return left


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_tests_are_ended_by(end):
    program = PROGRAM.format(tests=str(TESTS), system=str(TESTS / "system"))
    tests = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE)
    folder = Path(tests.stdout.readline().strip())
    try:
        assert {"folder", "process", "container", "control group"} <= set(traces(folder))
    finally:
        tests.send_signal(end)
        tests.communicate(timeout=60)
    assert wait_without_traces(folder) == []


def test_an_engine_that_crashed_starts_again_with_its_images_and_without_its_containers():
    daemon = PrivateDaemon()
    try:
        daemon.start()
        endless_container(daemon.host)
        daemon.kill()
        daemon.start()
        client = docker.DockerClient(base_url=daemon.host)
        assert [image.tags for image in client.images.list()] == [["sleeping:1"]]
        assert [found.status for found in client.containers.list(all=True)] == ["exited"]
        client.close()
    finally:
        daemon.stop()
    assert wait_without_traces(daemon.folder) == []


def test_an_engine_that_does_not_start_says_why_in_its_own_words():
    daemon = PrivateDaemon()
    (daemon.folder / "daemon.json").write_text('{"no such key": 1}')
    with pytest.raises(RuntimeError, match="dockerd does not answer: .*no such key"):
        daemon.start()
    daemon.stop()
    assert not daemon.folder.exists()


def test_paths_of_root_s_programs_are_searched():
    assert SYSTEM_PATH.endswith("/usr/sbin:/sbin")
