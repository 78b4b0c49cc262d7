"""A Docker daemon that honours what the engine uses of the SDK; its containers are processes of this machine.

What a real daemon enforces, it demands: a container sees the files that are mounted and no others, so the arguments of
its program must lie in mounts, and mounted sources must be there.
"""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from docker.errors import APIError, ImageNotFound, NotFound
from requests.exceptions import ConnectionError as DaemonGone

SCRIPTS = Path(__file__).parents[1] / "scripts"
TOOLS = ("caffe.bin", "predict_seg_new.bin")


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


class Response:
    """What an APIError asks of a response."""

    def __init__(self, status_code: int) -> None:
        self.status_code, self.reason, self.url = status_code, "", ""


def refusal(status_code: int, explanation: str) -> APIError:
    return APIError(explanation, response=Response(status_code), explanation=explanation)


@dataclass
class FakeImage:
    """An image; `programs` are the commands that stand for its files and what is on its PATH."""

    id: str
    tags: list[str]
    digests: list[str] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    tools: Path = SCRIPTS
    programs: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self):
        self.programs = self.programs or {name: [str(self.tools / name)] for name in TOOLS}

    @property
    def attrs(self):
        return {"RepoDigests": self.digests, "Config": {"Env": self.env}}

    def names(self) -> set[str]:
        return {self.id, *self.tags, *self.digests}


class FakeContainer:
    def __init__(self, client: FakeDocker, name: str, image: str, options: dict) -> None:
        self.client, self.name, self.image = client, name, client.images.get(image)
        self.options = options
        self.process: subprocess.Popen | None = None
        self.oom = False
        self.forced_status: int | None = None
        self.stopped_with: list[str] = []

    @property
    def labels(self):
        return self.options["labels"]

    @property
    def status(self):
        self.client.alive()
        return "running" if self.process and self.process.poll() is None else "exited" if self.process else "created"

    @property
    def attrs(self):
        return {"State": {"OOMKilled": self.oom}}

    def attach(self, *, stdout, stderr, stream, logs):
        assert stdout
        assert stderr
        assert stream
        assert not logs, "a container without a log driver has none"
        return self._output()

    def _output(self):
        for chunk in iter(lambda: os.read(self.process.stdout.fileno(), 61), b""):
            self.client.on_output(self)
            if self.client.dead:
                return
            yield chunk

    def start(self):
        self.client.alive()
        if self.client.start_error:
            raise self.client.start_error
        program = self.image.programs.get(self.options["entrypoint"][0])
        if program is None:
            raise refusal(400, f'exec: "{self.options["entrypoint"][0]}": executable file not found in $PATH: unknown')
        self._demand_mounts()
        self.process = subprocess.Popen(
            [*program, *self.options["command"]],
            cwd=self.options["working_dir"],
            env={**os.environ, **self.options["environment"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _demand_mounts(self):
        mounts = [Path(mount["Target"]) for mount in self.options["mounts"]]
        assert all(Path(mount["Source"]).exists() for mount in self.options["mounts"])
        values = [argument.split("=", 1)[-1] for argument in self.options["command"]]
        for path in (Path(value) for value in values if value.startswith("/")):
            assert any(path.is_relative_to(mount) for mount in mounts), f"{path} is not mounted"

    def wait(self):
        self.client.alive()
        status = self.process.wait()
        self.process.stdout.close()
        status = status if status >= 0 else 128 - status
        return {"StatusCode": status if self.forced_status is None else self.forced_status}

    def reload(self):
        self.client.alive()

    def stop(self, *, timeout):
        self.client.alive()
        self.stopped_with.append(self.options["stop_signal"])
        self.process.send_signal(signal.Signals[self.options["stop_signal"]])
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def kill(self, *, signal="SIGKILL"):
        self.client.alive()
        self.stopped_with.append(signal)
        self.process.send_signal(getattr(__import__("signal"), signal))

    def remove(self, *, force, v):
        self.client.alive()
        assert force
        assert v
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()
        del self.client.containers.by_name[self.name]


class FakeContainers:
    def __init__(self, client: FakeDocker) -> None:
        self.client = client
        self.by_name: dict[str, FakeContainer] = {}
        self.made: list[FakeContainer] = []

    def create(self, image, *, name, **options):
        self.client.alive()
        if self.client.create_error:
            raise self.client.create_error
        made = FakeContainer(self.client, name, image, options)
        self.by_name[name] = made
        self.made.append(made)
        self.client.on_create(made)
        return made

    def get(self, name):
        self.client.alive()
        if name not in self.by_name:
            raise NotFound(f"no container {name}", response=Response(404))
        return self.by_name[name]

    def list(self, *, all, filters, ignore_removed):
        self.client.alive()
        assert all
        assert ignore_removed
        return [one for one in self.by_name.values() if filters["label"] in one.labels]


class FakeImages:
    def __init__(self, client: FakeDocker, images: list[FakeImage]) -> None:
        self.client, self.here = client, images

    def get(self, name):
        self.client.alive()
        for image in self.here:
            if name in image.names():
                return image
        raise ImageNotFound(f"no such image: {name}", response=Response(404))


class FakeApi:
    def __init__(self, client: FakeDocker) -> None:
        self.client = client
        self.pulled: list[tuple[str, str]] = []

    def pull(self, repository, *, tag, stream, decode):
        self.client.alive()
        assert stream
        assert decode
        self.pulled.append((repository, tag))
        name = f"{repository}@{tag}" if tag.startswith("sha256:") else f"{repository}:{tag}"
        image = next((image for image in self.client.registry if name in image.names()), None)
        yield {"status": f"Pulling from {repository}", "id": tag}
        if image is None:
            yield {"error": f"manifest for {name} not found: manifest unknown"}
            return
        for current in (10_000_000, 40_000_000):
            yield {"status": "Downloading", "id": "a1", "progressDetail": {"current": current, "total": 40_000_000}}
        self.client.images.here.append(image)


class FakeDocker:
    """A client, and the daemon behind it.

    Attributes
    ----------
    dead : bool
        Whether the daemon is gone: whatever is asked fails then.
    registry : list of FakeImage
        What can be pulled.
    on_create, on_output : callables
        Called with a container once it is made, and with every piece of its output.
    """

    def __init__(self, *images: FakeImage, registry=(), info=None, version=None) -> None:
        self.dead = False
        self.images = FakeImages(self, list(images))
        self.containers = FakeContainers(self)
        self.api = FakeApi(self)
        self.registry = list(registry)
        self.create_error = self.start_error = None
        self.on_create = self.on_output = lambda container: None
        self._info = info or {"SecurityOptions": ["name=seccomp,profile=builtin"], "Runtimes": {"runc": {}}}
        self._version = version or {"Version": "28.2.2", "Components": [{"Name": "Engine", "Version": "28.2.2"}]}

    def alive(self):
        if self.dead:
            raise DaemonGone("Connection aborted.")

    def ping(self):
        self.alive()

    def info(self):
        self.alive()
        return self._info

    def version(self):
        self.alive()
        return self._version
