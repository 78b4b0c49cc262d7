"""The programs of docker/cloud as modules, and what a machine in the cloud talks to."""

from __future__ import annotations

import json
import runpy
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOUD = Path(__file__).parents[2] / "docker" / "cloud"


def load(name: str, **replaced: object) -> SimpleNamespace:
    """Return the names of a program, some of them replaced, without running it."""
    names = runpy.run_path(str(CLOUD / f"{name}.py"))
    functions = [one for one in names.values() if hasattr(one, "__globals__")]
    next(iter(functions)).__globals__.update(replaced)
    return SimpleNamespace(**{**names, **replaced})


class Provider:
    """A web server with what a machine is told: files, and the notice that it is taken away.

    Attributes
    ----------
    address : str
        Its address.
    files : dict
        Content of each path.
    signals : list
        What was put to /signal, in order, with the type of its content.
    notice : str
        What a spot machine is told; nothing while it may stay.
    failures : int
        How many of the next requests fail.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.signals: list[tuple[dict[str, str], str]] = []
        self.notice = ""
        self.failures = 0
        self.asked: list[str] = []
        self.address = ""

    def answer(self, path: str, token: str | None) -> tuple[int, bytes]:
        self.asked.append(path)
        if self.failures:
            self.failures -= 1
            return 503, b""
        if path == "/latest/meta-data/spot/instance-action":
            return (401, b"") if token != "token" else (200, self.notice.encode()) if self.notice else (404, b"")
        return (200, self.files[path]) if path in self.files else (404, b"")


@contextmanager
def serve() -> Iterator[Provider]:
    """Run a provider on this machine."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(*provider.answer(self.path, self.headers.get("X-aws-ec2-metadata-token")))

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/latest/api/token":
                self._send(200, b"token")
            elif provider.failures:
                provider.failures -= 1
                self._send(503, b"")
            else:
                provider.signals.append((json.loads(content), self.headers["Content-Type"]))
                self._send(200, b"")

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    provider.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
