"""Download a file over HTTP, and go on where a connection was cut or a command interrupted.

::

    target              once it is whole
    .target.part        what has come so far
    .target.part.json   where that came from, and by what the server knows that it is still the same file
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.client import HTTPException
from ipaddress import ip_address
from typing import IO, TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from cdeep3m import __version__
from cdeep3m.engines.base import Progress
from cdeep3m.errors import DownloadError, InputError, RunError, describe
from cdeep3m.system.files import small_text, write_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPMessage
    from pathlib import Path

CHUNK = 1 << 18
MEGABYTE = 1_000_000

ATTEMPTS = 5
"""Connections in a row that bring nothing before a download is given up."""

PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""

MOST_BYTES = 50_000_000_000
MOST_SECONDS = 24 * 3600
"""A download that is larger, or takes longer, is none of a model."""

TIMEOUT = 60.0
"""Seconds of silence after which a connection counts as cut."""

CONTENT_RANGE = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<total>\d+|\*)")

FOR_ANOTHER_DAY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


@dataclass(frozen=True)
class Origin:
    """Where a part came from.

    Attributes
    ----------
    url : str
        Its address.
    validator : str or None
        The server's strong ETag or date of the file: what `If-Range` takes.
    total : int or None
        Bytes of the whole file.
    """

    url: str
    validator: str | None = None
    total: int | None = None


class _Cut(Exception):
    """A connection that failed, and may succeed when tried again."""


def download(
    url: str,
    target: Path,
    *,
    report: Callable[[Progress], None] | None = None,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE,
    anywhere: bool = False,
) -> str:
    """Download `url` to `target`, whole or not at all; return the address that it came from in the end.

    Parameters
    ----------
    url : str
        Address of http or https.
    target : Path
        The file to make. What an earlier, interrupted download of the same file left beside it is gone on from, where
        the server can say that the file is still the same; otherwise it starts anew.
    report : callable, optional
        Told how far it is, in megabytes; a total of 0 is not known.
    attempts : int
        Connections in a row that bring nothing before giving up.
    pause : float
        Seconds before the second attempt.
    anywhere : bool
        Whether a protected address may lead to one that is not, as the DOIs of old pages do.

    Raises
    ------
    InputError
        No address of http or https.
    DownloadError
        The server refuses, or the connection was cut again and again. What has come stays for the next call.
    RunError
        Another process downloads to `target`.
    """
    _check(url)
    part, note = (target.with_name(f".{target.name.lstrip('.')}{suffix}") for suffix in (".part", ".part.json"))
    with open(part, "a+b") as file:
        _lock(file, target)
        try:
            fetched = _Source(url, anywhere=anywhere)
            _persist(fetched, file, note, report or _silent, attempts=attempts, pause=pause)
        except DownloadError:
            if not _size(file):
                part.unlink()
            raise
        os.fsync(file.fileno())
        part.replace(target)
    note.unlink(missing_ok=True)
    return fetched.found


@dataclass
class _Source:
    """An address, whether it may lead from https to http, and where it led to."""

    url: str
    anywhere: bool
    found: str = ""


def _persist(
    source: _Source, file: IO[bytes], note: Path, report: Callable[[Progress], None], *, attempts: int, pause: float
) -> None:
    """Connect until `file` is whole; every connection that gets further than all before sets the count back."""
    furthest = failures = 0
    while True:
        try:
            _receive(source, file, note, report)
            return
        except _Cut as cut:
            reached = _size(file)
            failures = 0 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures >= attempts:
                kept = f"{reached} bytes have come and are kept: the same command goes on there."
                raise DownloadError(f"{source.url}: {cut}. {kept if reached else 'Check the address.'}") from None
        time.sleep(pause * 2 ** max(0, failures - 1))


def _receive(source: _Source, file: IO[bytes], note: Path, report: Callable[[Progress], None]) -> None:
    """Go on with `file` over one connection; raise _Cut when it ends early."""
    url = source.url
    begun, have = _read_note(note, url), _size(file)
    if begun.validator is None or not have > 0:
        have = 0
    elif have == begun.total:
        return
    with _connect(_request(url, have, begun.validator), anywhere=source.anywhere) as response:
        source.found = response.url
        begin = _begin(response, have, begun)
        if begin < 0:
            _forget(file, note)
            raise _Cut("the file has changed on the server")
        origin = Origin(url, _validator(response), _total(response, begin))
        write_text(note, json.dumps(asdict(origin)))
        file.seek(begin)
        file.truncate()
        _copy(response, file, origin.total, report)
    if origin.total is not None and _size(file) != origin.total:
        raise _Cut(f"the connection was cut after {_size(file)} of {origin.total} bytes")


def _copy(response: Any, file: IO[bytes], total: int | None, report: Callable[[Progress], None]) -> None:
    told, end = -1, time.monotonic() + MOST_SECONDS
    if total is not None and total > MOST_BYTES:
        raise DownloadError(f"the server offers {total} bytes; expected a trained model, {MOST_BYTES} bytes at most")
    while chunk := _read(response):
        if file.tell() + len(chunk) > MOST_BYTES:
            raise DownloadError(f"more than {MOST_BYTES} bytes have come; expected a trained model")
        if time.monotonic() > end:
            raise DownloadError(f"not whole after {MOST_SECONDS} s; the same command goes on where this one stopped")
        file.write(chunk)
        if (now := _megabytes(file.tell())) > told:
            told = now
            report(Progress(now, _megabytes(total or 0)))


def _megabytes(size: int) -> int:
    """Return `size` bytes in megabytes, begun ones as whole ones."""
    return -(-size // MEGABYTE)


def _read(response: Any) -> bytes:
    try:
        return bytes(response.read1(CHUNK))
    except (HTTPException, OSError) as error:
        raise _Cut(f"the connection was cut ({_reason(error)})") from None


def _request(url: str, have: int, validator: str | None) -> Request:
    headers = {"User-Agent": f"cdeep3m/{__version__}", "Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    return Request(url, headers=headers)


def _connect(request: Request, *, anywhere: bool) -> Any:
    url = request.full_url
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and request.has_header("Range"):
            return _connect(_request(url, 0, None), anywhere=anywhere)
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code in FOR_ANOTHER_DAY:
            raise _Cut(f"the server answers {error.code} {error.reason}") from None
        raise DownloadError(f"{url}: the server answers {error.code} {error.reason}. Check the address") from None
    except (URLError, HTTPException, OSError) as error:
        raise _Cut(f"no connection ({_reason(error)})") from None
    if request.type == "https" and not anywhere and not response.url.startswith("https:"):
        response.close()
        raise DownloadError(f"{url} leads to {response.url}, which is not protected. Give that address if you trust it")
    return response


def urlopen(request: Request, timeout: float = TIMEOUT) -> Any:
    """Open a connection; see `_Redirects`."""
    return build_opener(_Redirects).open(request, timeout=timeout)


class _Redirects(HTTPRedirectHandler):
    """Follows a server to other addresses of http and https, but from the outside to no machine of this network."""

    max_redirections = 5

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the request to the new address."""
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise DownloadError(f"{req.full_url} leads to {newurl}, which is no address of https:// or http://")
        if _is_inside(newurl) and not _is_inside(req.full_url):
            raise DownloadError(f"{req.full_url} leads to {newurl}, a machine of this network. Do not trust it")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_inside(url: str) -> bool:
    """Return whether an address names this machine, or one of a private network."""
    host = urlsplit(url).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".localhost", ".local", ".internal"))


def _reason(error: BaseException) -> str:
    """Return in words why a connection failed."""
    inner = getattr(error, "reason", None)
    return describe(inner if isinstance(inner, BaseException) else error)


def _begin(response: Any, have: int, begun: Origin) -> int:
    """Return at which byte the answer begins; 0 where the server sends the whole file, -1 where it is another file."""
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        return 0
    part = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if part is None or part["first"] != str(have) or part["total"] not in ("*", str(begun.total)):
        return -1
    return have if _validator(response) in (None, begun.validator) else -1


def _total(response: Any, begin: int) -> int | None:
    length = response.headers.get("Content-Length")
    return begin + int(length) if length and length.isdigit() else None


def _validator(response: Any) -> str | None:
    """Return what tells this state of a file from others: a strong ETag, or else its date."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    return response.headers.get("Last-Modified")


def _read_note(note: Path, url: str) -> Origin:
    """Return where the part came from; for a part of another address, and for none, nothing is known of it."""
    try:
        begun = Origin(**json.loads(small_text(note)))
    except (OSError, ValueError, TypeError):
        return Origin(url)
    return begun if begun.url == url else Origin(url)


def _forget(file: IO[bytes], note: Path) -> None:
    file.truncate(0)
    note.unlink(missing_ok=True)


def _size(file: IO[bytes]) -> int:
    file.flush()
    return os.fstat(file.fileno()).st_size


def _lock(file: IO[bytes], target: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(f"another process is downloading {target.name} to {target.parent}: wait for it") from None


def _check(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise InputError(f"{url} is no address that begins with https:// or http://")


def _silent(progress: Progress) -> None:
    del progress
