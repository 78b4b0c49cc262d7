"""The engine that runs a pinned image's Caffe: a container for each call of a tool."""

from __future__ import annotations

import logging
import re
import threading
import uuid
from typing import TYPE_CHECKING, Any

from docker.errors import DockerException

from cdeep3m.engines.base import ALL_GPUS, CPU
from cdeep3m.engines.docker import daemon as docker_daemon
from cdeep3m.engines.docker.containers import close_stream, container, lines_of, options_of, remove_orphans
from cdeep3m.engines.docker.contents import demand
from cdeep3m.engines.docker.daemon import describe, remote_problem, talking
from cdeep3m.engines.images import Lock
from cdeep3m.engines.nvidia import list_gpus
from cdeep3m.engines.tools import KILLED, NO_TOOL, STOPPED, ToolEngine, ToolFailure
from cdeep3m.errors import EngineError, InputError
from cdeep3m.system.interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from cdeep3m.engines.docker.contents import Content
    from cdeep3m.engines.docker.daemon import Daemon
    from cdeep3m.engines.images import Image
    from cdeep3m.engines.nvidia import Gpu
    from cdeep3m.engines.tools import ToolCall

logger = logging.getLogger(__name__)

MEMORY = re.compile(r"[1-9]\d*[bkmgBKMG]?")


class DockerCaffe(ToolEngine):
    """Runs the tools of an image: inputs read-only, no network, as the caller, one GPU at most.

    Parameters
    ----------
    image : Image
        Whose tools.
    memory : str, optional
        Most memory of a container ("16g").
    lock : Lock, optional
        Which content of the image is demanded.
    connect : callable, optional
        Returns a client of the daemon.

    Raises
    ------
    InputError
        `memory` is no amount.
    """

    name = "docker"

    def __init__(
        self,
        image: Image,
        *,
        memory: str | None = None,
        lock: Lock | None = None,
        connect: Callable[[], Any] | None = None,
    ) -> None:
        if memory is not None and not MEMORY.fullmatch(memory):
            raise InputError(f"--memory {memory}: expected a number of bytes, or one with k, m or g, such as 16g")
        self.image = image
        self._memory, self._lock, self._connect = memory, lock or Lock(), connect or docker_daemon.connect
        self._client: Any = None
        self._content: Content | None = None
        self._daemon: Daemon | None = None
        self._running: dict[str, Any] = {}
        self._stopped = False
        self._guard = threading.RLock()

    def check(self) -> Sequence[str]:
        """Return why no container can run here."""
        if problem := remote_problem(docker_daemon.address()):
            return [problem]
        try:
            self._connected()
        except EngineError as error:
            return [str(error)]
        return ()

    def gpus(self) -> Sequence[int]:
        """Return the GPUs that containers can have; a warning says why there are none, where the machine has some."""
        _, daemon = self._connected()
        gpus = list_gpus()
        if gpus and (problem := daemon.gpu_problem()):
            logger.warning("%s; running on the CPU", problem)
            return ()
        return [gpu.index for gpu in gpus]

    def device(self, gpu: int) -> str:
        """Return image, content and device in words; finds or pulls the image."""
        content = self.content()
        return f"image {self.image.name} ({content.digest}), {self._place(gpu)}"

    def content(self) -> Content:
        """Return the content of the image that runs use: found, or pulled, and pinned."""
        with self._guard:
            if self._content is None:
                client, _ = self._connected()
                self._content = demand(client, self.image, self._lock)
            return self._content

    def run(self, call: ToolCall) -> Generator[str]:
        """Run the tool in a container of its own."""
        client, daemon = self._connected()
        if call.gpu != CPU:
            self._given(call.gpu)
        content = self.content()
        name = f"cdeep3m-{uuid.uuid4().hex[:12]}"
        options = options_of(call, content, daemon, memory=self._memory)
        with container(client, name, options, grace=call.grace) as made:
            yield from self._output(made)
            with talking("a container ran"):
                status = int(made.wait()["StatusCode"])
                made.reload()
            if status:
                raise ToolFailure(f"{call.tool} of {self.image.name}", status, self._hint(status, made))

    def stop(self) -> None:
        """Ask all containers to stop, and start no others."""
        with self._guard:
            self._stopped = True
            running = list(self._running.values())
        for made in running:
            try:
                made.kill(signal="SIGINT")
            except (DockerException, OSError) as error:
                logger.debug("container %s was not stopped: %s", made.name, error)

    def _output(self, made: Any) -> Iterator[str]:
        """Start a container and yield the lines of its output, to its end."""
        with talking("starting a container"):
            output = made.attach(stdout=True, stderr=True, stream=True, logs=False)
        try:
            with uninterrupted(), self._guard, talking("starting a container"):
                if self._stopped:
                    raise EngineError(f"{made.name} was not started {STOPPED}")
                made.start()
                self._running[made.name] = made
            yield from lines_of(output)
        finally:
            close_stream(output)
            with self._guard:
                self._running.pop(made.name, None)

    def _connected(self) -> tuple[Any, Daemon]:
        """Return the client and what its daemon is; the first call also removes what killed runs left."""
        with self._guard:
            if self._client is None or self._daemon is None:
                client = self._connect()
                self._daemon = describe(client)
                remove_orphans(client)
                self._client = client
            return self._client, self._daemon

    def _place(self, gpu: int) -> str:
        return "CPU" if gpu == CPU else ", ".join(map(str, self._given(gpu)))

    def _given(self, gpu: int) -> list[Gpu]:
        """Return the GPUs that `gpu` means; raise EngineError when a container cannot have them."""
        return [self._gpu(one) for one in (self.gpus() if gpu == ALL_GPUS else [gpu])]

    def _gpu(self, number: int) -> Gpu:
        """Return GPU `number`; raise EngineError when a container cannot have it, or the image cannot use it."""
        _, daemon = self._connected()
        gpus = {gpu.index: gpu for gpu in list_gpus()}
        if number not in gpus:
            raise EngineError(f"--gpu {number}: nvidia-smi lists {', '.join(map(str, gpus)) or 'no GPU here'}")
        if problem := daemon.gpu_problem() or self.image.stops(gpus[number]):
            raise EngineError(problem)
        return gpus[number]

    def _hint(self, status: int, made: Any) -> str:
        """Return what the container's end says beside the tool's own words."""
        if self._stopped:
            return STOPPED
        if made.attrs.get("State", {}).get("OOMKilled"):
            limit = (
                f"its memory limit of {self._memory}: give --memory more" if self._memory else "this machine's memory"
            )
            return f"it ran out of {limit}"
        if status == KILLED:
            return "by somebody, or because this machine ran out of memory"
        if status in NO_TOOL:
            return f"the image has no such program: see `tools` of {self.image.name} in images.toml"
        return ""
