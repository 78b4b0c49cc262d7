"""One container a job: what it sees of this machine, how its output is read, and that nothing of it is left."""

from __future__ import annotations

import codecs
import logging
import os
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, DockerException, NotFound
from docker.types import DeviceRequest, LogConfig, Mount

from cdeep3m.engines.base import ALL_GPUS, CPU
from cdeep3m.engines.docker.daemon import lost, talking
from cdeep3m.engines.tools import GLOG_FOLDER
from cdeep3m.errors import EngineError
from cdeep3m.system.interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cdeep3m.engines.docker.contents import Content
    from cdeep3m.engines.docker.daemon import Daemon
    from cdeep3m.engines.tools import ToolCall

logger = logging.getLogger(__name__)

OWNER = "cdeep3m.owner"
"""Label of our containers: host, process and the process's start, by which a later run knows whose they are."""

TOOL = "cdeep3m.tool"

PASSED_ON = ("OMP_NUM_THREADS", "CDEEP3M_EXACT")
"""Variables of our environment that the tools see, too."""

MOST_PROCESSES = 4096
"""Processes and threads of a container."""

ONLY_GPU = 0
"""The number of the one GPU that a container sees."""


def options_of(call: ToolCall, content: Content, daemon: Daemon, *, memory: str | None) -> dict[str, Any]:
    """Return what the container of `call` is made with, as the SDK's `containers.create` takes it."""
    security = ["no-new-privileges"] + ["label=disable"] * daemon.selinux
    return {
        "image": content.id,
        "entrypoint": [content.program(call.tool)],
        "command": call.command(call.gpu if call.gpu in (CPU, ALL_GPUS) else ONLY_GPU),
        "working_dir": os.path.abspath(call.folder),
        **_mounting(mounts_of(call), daemon),
        "network_mode": "none",
        "environment": _environment(call),
        "labels": {OWNER: owner(), TOOL: call.tool},
        "device_requests": [] if call.gpu == CPU else [gpu_request(call.gpu, daemon)],
        "security_opt": security,
        "cap_drop": ["ALL"],
        "pids_limit": MOST_PROCESSES,
        "read_only": True,
        "tmpfs": {"/tmp": ""},
        "stop_signal": call.stop_signal.name,
        "log_config": LogConfig(type="none"),
        **user_options(daemon),
        **({"mem_limit": memory, "memswap_limit": memory} if memory else {}),
    }


def _environment(call: ToolCall) -> dict[str, str]:
    logs = {GLOG_FOLDER: os.path.abspath(call.own_logs)} if call.own_logs else {}
    return {"HOME": "/tmp", **logs, **{name: os.environ[name] for name in PASSED_ON if name in os.environ}}


def user_options(daemon: Daemon) -> dict[str, Any]:
    """Return who the tools are in a container, so that what they write is the caller's outside."""
    if daemon.rootless:
        return {"user": "0:0"}
    groups = [str(group) for group in os.getgroups() if group != os.getgid()]
    options: dict[str, Any] = {"user": f"{os.getuid()}:{os.getgid()}", "group_add": groups}
    return {**options, "userns_mode": "host"} if daemon.remapped else options


def gpu_request(gpu: int, daemon: Daemon) -> DeviceRequest:
    """Return what makes GPU number `gpu` the only one in a container, or gives it all of them."""
    if gpu == ALL_GPUS:
        everything = {"driver": "cdi", "device_ids": ["nvidia.com/gpu=all"]} if daemon.podman else {"count": -1}
        return DeviceRequest(**everything, **({} if daemon.podman else {"capabilities": [["gpu"]]}))
    if daemon.podman:
        return DeviceRequest(driver="cdi", device_ids=[f"nvidia.com/gpu={gpu}"])
    return DeviceRequest(device_ids=[str(gpu)], capabilities=[["gpu"]])


def mounts_of(call: ToolCall) -> list[Mount]:
    """Return the mounts of a call: every file that it reads and folder that it writes, under its own name.

    What a name leads to through symbolic links is mounted where the name says, so the names in solvers and lists hold
    in the container. A file in a folder that is written is seen through that folder.
    """
    written = {os.path.abspath(folder): folder.resolve() for folder in call.writes}
    read = {os.path.abspath(path): path.resolve() for path in call.reads}
    seen = {name for name, path in read.items() if _is_in(Path(name), path, written)}
    return [
        *(Mount(name, str(path), type="bind", read_only=True) for name, path in read.items() if name not in seen),
        *(Mount(name, str(path), type="bind", read_only=False) for name, path in written.items()),
    ]


def _mounting(mounts: Sequence[Mount], daemon: Daemon) -> dict[str, Any]:
    """Return mounts as the SDK's `containers.create` takes them.

    Podman takes apart at commas what describes a mount, and at colons its older form.

    Raises
    ------
    EngineError
        A path has both, and the daemon is Podman.
    """
    odd = [mount for mount in mounts if daemon.podman and "," in mount["Source"] + mount["Target"]]
    for mount in odd:
        if ":" in mount["Source"] + mount["Target"]:
            raise EngineError(
                f"{mount['Target']}: {daemon.version} shows containers no path with a comma and a colon; rename it"
            )
    rights = {True: "ro", False: "rw"}
    binds = [f"{mount['Source']}:{mount['Target']}:{rights[mount['ReadOnly']]}" for mount in odd]
    return {"mounts": [mount for mount in mounts if mount not in odd], **({"volumes": binds} if binds else {})}


def _is_in(name: Path, path: Path, folders: dict[str, Path]) -> bool:
    return any(name.is_relative_to(folder) and path.is_relative_to(target) for folder, target in folders.items())


@contextmanager
def container(client: Any, name: str, options: dict[str, Any], *, grace: float) -> Iterator[Any]:
    """Make a container, and remove it after the block, however that ends; an interrupted one is asked to stop first.

    An interrupt waits until the daemon has answered: one that is still at work would make the container afterwards.

    Raises
    ------
    EngineError
        The daemon refused, or is gone.
    """
    try:
        with uninterrupted(), talking("making a container"):
            made = client.containers.create(name=name, **options)
        yield made
    except BaseException:
        with uninterrupted():
            _stop(client, name, grace)
        raise
    finally:
        with uninterrupted():
            _remove(client, name)


def _stop(client: Any, name: str, grace: float) -> None:
    """Ask a container to stop and kill it when it does not; one that does not run, or never was, is left as it is."""
    try:
        running = client.containers.get(name)
        if running.status == "running":
            running.stop(timeout=int(grace))
    except (DockerException, OSError) as error:
        logger.debug("container %s was not stopped: %s", name, error)


def _remove(client: Any, name: str) -> None:
    try:
        client.containers.get(name).remove(force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:  # its removal is in progress already
            logger.warning("container %s could not be removed (%s): `docker rm -f %s`", name, error.explanation, name)
    except (DockerException, OSError):
        logger.debug("container %s could not be removed: the daemon is gone", name)


def lines_of(chunks: Iterable[bytes]) -> Iterator[str]:
    r"""Yield the lines in a container's output, which comes in pieces of any size.

    Raises
    ------
    EngineError
        The daemon is gone.

    Examples
    --------
    >>> list(lines_of([b"one\ntw", b"o\nthr\xc3", b"\xa9e"]))
    ['one', 'two', 'thrée']
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    for chunk in _pieces(chunks):
        *lines, rest = (rest + decoder.decode(chunk)).replace("\r\n", "\n").split("\n")
        yield from lines
    if rest := rest + decoder.decode(b"", final=True):
        yield rest


def close_stream(output: Any) -> None:
    """Close the connection behind an attached stream, whose own `close` leaves the socket to the garbage collector."""
    response = getattr(output, "_response", None)
    if response is not None:
        response.close()


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield `chunks`; whatever goes wrong in the SDK's streams, whose errors have no common base, is a lost daemon."""
    pieces = iter(chunks)
    while True:
        try:
            piece = next(pieces)
        except StopIteration:
            return
        except Exception as error:
            raise EngineError(lost("a container ran")) from error
        yield piece


def owner() -> str:
    """Return who this process is: host, number and start, which no later process shares."""
    return f"{socket.gethostname()} {os.getpid()} {_start_of(os.getpid())}"


def remove_orphans(client: Any) -> int:
    """Remove the containers of processes of this host that were killed; return how many there were."""
    with talking("looking for containers of earlier runs"):
        ours = client.containers.list(all=True, filters={"label": OWNER}, ignore_removed=True)
    orphans = [one for one in ours if _is_orphaned(one.labels.get(OWNER, ""))]
    for one in orphans:
        logger.info("removing container %s, which a killed run left", one.name)
        _remove(client, one.name)
    return len(orphans)


def _is_orphaned(label: str) -> bool:
    parts: Sequence[str] = label.split(" ")
    if len(parts) != 3 or parts[0] != socket.gethostname() or not parts[1].isdigit():
        return False
    return _start_of(int(parts[1])) != parts[2]


def _start_of(process: int) -> str:
    """Return when a process started, in the kernel's ticks; empty when it is gone, or /proc is not there."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
