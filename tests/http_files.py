"""A web server on this machine whose connections can be made to fail as those of the world do."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Site:
    """What the server has, and how it behaves.

    Attributes
    ----------
    files : dict of str to bytes
        By path, "/model.tar".
    etag, date : str or None
        Sent with every file.
    ranges, if_range : bool
        Whether it sends parts of files, and whether it sends the whole file where If-Range names another state.
    says_which_part : bool
        Whether it says which part of a file it sends.
    lengths : bool
        Whether it says how long its answers are.
    cuts : list of int
        After how many bytes the next connections are cut, one after another.
    failures : list of int
        Statuses that the next requests get.
    moved : dict of str to str
        Paths that lead to other addresses.
    requests : list of (path, Range header, If-Range header)
        What was asked for.
    """

    files: dict[str, bytes]
    etag: str | None = '"one"'
    date: str | None = None
    ranges: bool = True
    if_range: bool = True
    says_which_part: bool = True
    lengths: bool = True
    cuts: list[int] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    address: str = ""


@contextmanager
def served(site: Site) -> Iterator[str]:
    """Serve `site`; yield the address of its root."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, site)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        site.address = f"http://127.0.0.1:{server.server_address[1]}"
        yield site.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, site: Site) -> None:
    wanted, unless = handler.headers["Range"], handler.headers["If-Range"]
    site.requests.append((handler.path, wanted, unless))
    if site.failures:
        return handler.send_error(site.failures.pop(0))
    if handler.path in site.moved:
        handler.send_response(302)
        handler.send_header("Location", site.moved[handler.path])
        return handler.end_headers()
    if handler.path not in site.files:
        return handler.send_error(404)
    content = site.files[handler.path]
    begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and site.ranges else 0
    if site.if_range and unless not in (site.etag, site.date):
        begin = 0
    if begin and begin >= len(content):
        return handler.send_error(416)
    return send(handler, site, content, begin)


def send(handler: BaseHTTPRequestHandler, site: Site, content: bytes, begin: int) -> None:
    handler.send_response(206 if begin else 200)
    headers = {"ETag": site.etag, "Last-Modified": site.date}
    if site.lengths:
        headers["Content-Length"] = str(len(content) - begin)
    if begin and site.says_which_part:
        headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
    for name, value in headers.items():
        if value:
            handler.send_header(name, value)
    handler.end_headers()
    end = begin + site.cuts.pop(0) if site.cuts else len(content)
    handler.wfile.write(content[begin:end])
    handler.close_connection = True
