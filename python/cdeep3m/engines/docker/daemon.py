"""The Docker daemon: how it is reached, what it can do, and what its errors mean."""

from __future__ import annotations

import os
import re
import shutil
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from docker.client import DockerClient
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env

from cdeep3m.engines.nvidia import Version, version
from cdeep3m.errors import EngineError, EngineFullDiskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_SOCKET = "/var/run/docker.sock"
PODMAN_WITH_GPUS = (5, 4)
"""The first Podman whose Docker-compatible interface gives GPUs to containers."""

FULL = "the disk is full"
GPU_HELPERS = ("nvidia-container-runtime-hook", "nvidia-container-toolkit", "nvidia-container-cli")
TOOLKIT = "install NVIDIA's container toolkit, `nvidia-ctk runtime configure --runtime=docker`, and restart Docker"


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """What a daemon says of itself.

    Attributes
    ----------
    version : str
        Its name and version.
    rootless : bool
        It runs as the caller: root in a container is the caller outside.
    remapped : bool
        It runs as root and gives containers other user numbers (userns-remap).
    selinux : bool
        It labels what containers may touch.
    podman : tuple of int, optional
        Version, where it is Podman.
    nvidia : bool
        It knows how to give containers NVIDIA's GPUs.
    """

    version: str
    rootless: bool = False
    remapped: bool = False
    selinux: bool = False
    podman: Version | None = None
    nvidia: bool = False

    def gpu_problem(self) -> str:
        """Return why containers get no GPU here, with the remedy; empty where they get one."""
        if self.podman and self.podman < PODMAN_WITH_GPUS:
            return f"{self.version} gives no GPU to containers through Docker's interface: Podman 5.4 or newer does"
        if not self.nvidia:
            return f"{self.version} has no NVIDIA runtime, so containers get no GPU: {TOOLKIT}"
        return ""


def address() -> str:
    """Return where the daemon is: DOCKER_HOST, or the first socket that exists of Docker's and Podman's usual ones."""
    if host := os.environ.get("DOCKER_HOST"):
        return host
    sockets = [Path(DEFAULT_SOCKET)]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        sockets += [Path(runtime) / "docker.sock", Path(runtime) / "podman" / "podman.sock"]
    sockets.append(Path("/run/podman/podman.sock"))
    return f"unix://{next((path for path in sockets if path.exists()), DEFAULT_SOCKET)}"


def connect() -> Any:
    """Return a client of the daemon.

    Raises
    ------
    EngineError
        There is none, or it may not be used; the message says which, and what to do.
    """
    host = address()
    try:
        _knock(host)
        client = DockerClient(base_url=host, tls=_tls(), version="auto", timeout=120)
        client.ping()
    except (DockerException, OSError, ValueError) as error:
        raise EngineError(why_unreachable(host, error)) from None
    return client


def _knock(host: str) -> None:
    """Connect to a socket and hang up: an OSError says more than the SDK's, which leaves a socket open after it."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as knock:
            knock.settimeout(10)
            knock.connect(host.removeprefix("unix://"))


def _tls() -> Any:
    """Return the certificates that DOCKER_CERT_PATH and DOCKER_TLS_VERIFY name, as Docker's own commands do."""
    return kwargs_from_env().get("tls", False)


def describe(client: Any) -> Daemon:
    """Ask the daemon what it is and what it can do."""
    with talking():
        info, about = client.info(), client.version()
    security = " ".join(info.get("SecurityOptions") or [])
    podman = _podman_version(about)
    return Daemon(
        version=f"{'Podman' if podman else 'Docker'} {about.get('Version', '')}".strip(),
        rootless="name=rootless" in security or info.get("Rootless") is True,
        remapped="name=userns" in security,
        selinux="name=selinux" in security,
        podman=podman,
        nvidia=bool(podman) or _knows_nvidia(info),
    )


def _podman_version(about: Mapping[str, Any]) -> Version | None:
    components = about.get("Components") or []
    return next((version(part.get("Version")) for part in components if "Podman" in part.get("Name", "")), None)


def _knows_nvidia(info: Mapping[str, Any]) -> bool:
    devices = [str(device.get("ID", "")) for device in info.get("DiscoveredDevices") or []]
    return (
        "nvidia" in (info.get("Runtimes") or {})
        or any(name.startswith("nvidia.com/gpu") for name in devices)
        or any(shutil.which(helper) for helper in GPU_HELPERS)
    )


def why_unreachable(host: str, error: BaseException) -> str:
    """Return in words why no daemon answers at `host`, with the remedy."""
    said = str(error)
    place = f"the Docker daemon at {host}"
    if re.search(r"Permission denied|PermissionError", said):
        return f"no permission to use {place}: join the group that owns its socket (usually docker) and log in anew"
    if re.search(r"No such file|FileNotFoundError", said):
        return f"no Docker daemon: there is no {host}; start Docker (`systemctl start docker`), or set DOCKER_HOST"
    if re.search(r"refused|ConnectionRefusedError", said):
        return f"{place} does not answer: start it (`systemctl start docker`), or set DOCKER_HOST"
    if re.search(r"timed? ?out", said, re.IGNORECASE):
        return f"{place} does not answer in time: is it overloaded or stopped?"
    return f"{place} cannot be used: {one_line(said)}"


def remote_problem(host: str) -> str:
    """Return why a daemon at `host` cannot see this machine's files; empty where it can.

    Examples
    --------
    >>> remote_problem("unix:///var/run/docker.sock"), remote_problem("tcp://127.0.0.1:2375")
    ('', '')
    >>> remote_problem("ssh://gpu.example.org")[:59]
    'DOCKER_HOST ssh://gpu.example.org is another machine, whose'
    """
    parts = urlsplit(host)
    if parts.scheme not in ("tcp", "http", "https", "ssh") or parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return ""
    return (
        f"DOCKER_HOST {host} is another machine, whose containers do not see the files of this one: "
        "run the command there, or unset DOCKER_HOST"
    )


@contextmanager
def talking(doing: str = "answering") -> Iterator[None]:
    """Turn what goes wrong while the daemon is asked for something into one line.

    Raises
    ------
    EngineError
        It refused, or is gone.
    """
    try:
        yield
    except APIError as error:
        said = words_of(error)
        raise (EngineFullDiskError if FULL in said else EngineError)(said) from error
    except (DockerException, OSError) as error:
        raise EngineError(lost(doing)) from error


def lost(doing: str) -> str:
    """Return what is to be said when the daemon is gone."""
    return (
        f"the Docker daemon at {address()} went away while {doing}: start it again, and the same command goes on; "
        "the container that may be left is removed then"
    )


def words_of(error: APIError) -> str:
    """Return in one line what the daemon refused, and what to do about it."""
    said = one_line(str(error.explanation or error))
    known = (
        (
            r"could not select device driver|unresolvable CDI devices|nvidia-container-cli",
            f"no GPU for containers: {TOOLKIT}",
        ),
        (
            r"executable file not found|no such file or directory.*(exec|unknown)|exec: ",
            "the image has no such program: see `tools` in images.toml",
        ),
        (r"bind source path does not exist", "the daemon does not see this machine's files"),
        (r"no space left on device", f"{FULL}: make room and run the same command again"),
        (r"minimum memory|memory limit", "use another --memory"),
    )
    remedy = next((text for pattern, text in known if re.search(pattern, said, re.IGNORECASE)), "")
    return f"Docker refused{f' ({remedy})' if remedy else ''}: {said}"


def one_line(text: str) -> str:
    """Return `text` as one line of a length that can be read."""
    line = " ".join(text.split())
    return line if len(line) <= 400 else f"{line[:400]}..."
