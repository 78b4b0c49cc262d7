"""A Docker engine of the tests' own, which leaves nothing behind: no process, no mount, no file.

It runs in namespaces of its own. The kernel ends everything in them, containers included, with the process that
started them, however that ends; then a keeper removes the folder.

    tests ---dies---> unshare ---dies---> dockerd, PID 1 of its namespace ---dies---> containerd, shims, containers
      |
      +--closes a pipe---> keeper: waits for unshare's end, removes folder and control groups
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import docker
from docker.errors import DockerException

SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""PATH with the folders of root's programs, which a caller's PATH may lack."""

REFUSALS = ("not permitted", "permission denied", "not supported", "no such device", "cgroup")
"""Words by which the engine's last line tells that the kernel lacks or forbids something."""

STARTING = 60
"""Seconds that an engine may need to answer."""

NAMESPACES = ("unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--mount-proc")

# containerd keeps its sockets in /run/containerd, whatever folder it is given.
IN_NAMESPACES = 'mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd && exec dockerd "$@"'

KEEPER = """
folder=$1; process=$2
read -r _
while kill -0 "$process" 2>/dev/null; do sleep 0.1; done
for try in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$folder" 2>/dev/null && break; sleep 0.5; done
find /sys/fs/cgroup -depth -type d -path "*/${folder##*/}*" -exec rmdir {} + 2>/dev/null
rmdir /run/containerd 2>/dev/null
"""


class RefusedError(Exception):
    """This machine cannot run an engine of the tests' own, for a reason that is not the tests'."""


@cache
def find_obstacle() -> str | None:
    """Say what keeps this machine from running an engine of the tests' own; None where nothing does."""
    if sys.platform != "linux":
        return f"a Docker engine of the tests' own needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return f"only root can start a Docker engine, this is user {os.geteuid()}"
    for tool, package in (("dockerd", "docker.io"), ("unshare", "util-linux"), ("debootstrap", "debootstrap")):
        if shutil.which(tool, path=SYSTEM_PATH) is None:
            return f"no {tool} on PATH (Debian: apt install {package})"
    tried = subprocess.run(
        [*NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, check=False
    )
    return f"the kernel refuses namespaces and mounts: {tried.stderr.strip()}" if tried.returncode else None


class PrivateDaemon:
    """dockerd with data, sockets and control groups of its own, and without any network.

    Attributes
    ----------
    folder : Path
        Everything that it writes; removed by `stop`, and when this process ends in any way.
    host : str
        Address for DOCKER_HOST.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cdeep3m-docker-"))
        self.host = f"unix://{self.folder}/docker.sock"
        (self.folder / "daemon.json").write_text("{}")
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again on the same data; return when it answers.

        Raises
        ------
        RefusedError
            The system does not permit what the engine needs.
        RuntimeError
            It ended, or does not answer; with its last words.
        """
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        (self.folder / "docker.pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "PATH": SYSTEM_PATH},
            )  # fmt: skip
        self._replace_keeper()
        self._wait()

    def kill(self) -> None:
        """End it with all its containers at once, as a crash does; `start` starts it again."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it and remove its folder."""
        if self._process is not None:
            self.kill()
        if self._keeper is not None:
            self._keeper.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return what it wrote to its log."""
        return (self.folder / "log").read_text(errors="replace")

    def _command(self) -> list[str]:
        flags = [
            f"--config-file={self.folder}/daemon.json",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/docker.pid",
            f"--host={self.host}",
            f"--cgroup-parent=/{self.folder.name}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ]
        return ["setpriv", "--pdeathsig", "KILL", *NAMESPACES, "sh", "-c", IN_NAMESPACES, "dockerd", *flags]

    def _replace_keeper(self) -> None:
        old = self._keeper
        assert self._process is not None
        self._keeper = subprocess.Popen(
            ["sh", "-c", KEEPER, "keeper", str(self.folder), str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        if old is not None:
            old.kill()
            old.communicate()

    def _wait(self) -> None:
        assert self._process is not None
        end = time.monotonic() + STARTING
        while not answers(self.host):
            if self._process.poll() is not None or time.monotonic() > end:
                raise self._failure()
            time.sleep(0.1)

    def _failure(self) -> Exception:
        lines = self.log().strip().splitlines() or ["nothing in its log"]
        refused = any(word in lines[-1].lower() for word in REFUSALS)
        return (RefusedError if refused else RuntimeError)(f"dockerd does not answer: {lines[-1]}")


def answers(host: str) -> bool:
    """Whether a Docker engine answers at `host`."""
    if host.startswith("unix://"):
        return pings(host.removeprefix("unix://"))
    try:
        client = docker.DockerClient(base_url=host, timeout=5)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()


def pings(path: str) -> bool:
    """Whether an engine answers at the Unix socket `path`; the SDK leaves a socket open where none does yet."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False
