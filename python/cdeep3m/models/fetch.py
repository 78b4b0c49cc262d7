"""Bring a trained model here: its archive from a server or a disk, its folder once all of it has been checked."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cdeep3m import __version__
from cdeep3m.engines.base import Progress
from cdeep3m.engines.select import demand_torch
from cdeep3m.errors import CDeep3MError, DownloadError, FormatError, InputError, MissingFileError, NetError, RunError
from cdeep3m.models.archive import unpack
from cdeep3m.models.download import ATTEMPTS, PAUSE, download
from cdeep3m.models.published import PublishedModel, find, published_models
from cdeep3m.models.verify import NetReport, net_folders, verify
from cdeep3m.proto.foreign import PAGE, PROBED, TEXT, looks_like
from cdeep3m.system.files import flush_tree, scratch_folder, settle_folder, small_text, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SOURCE = "source.json"
"""File in a fetched folder that says where it came from."""

Report = Callable[[str, Progress], None]
"""Receives what is being done and how far it is."""


@dataclass(frozen=True, kw_only=True)
class FetchRequest:
    """What is to be fetched, and where to.

    Attributes
    ----------
    source : str
        Name or accession number of a published model, or the address or the file of an archive.
    out : Path
        The folder to make.
    address : str, optional
        Where the archives of published models are: an address with {name} or {accession} in it.
    sha256 : str, optional
        Hash that the archive must have; default: the one on the list, where there is one.
    attempts, pause
        Of `download`.
    """

    source: str
    out: Path
    address: str | None = None
    sha256: str | None = None
    attempts: int = ATTEMPTS
    pause: float = PAUSE

    def __post_init__(self) -> None:
        digits = self.sha256 is None or set(self.sha256.lower()) <= set("0123456789abcdef")
        if not digits or (self.sha256 is not None and len(self.sha256) != 64):
            raise InputError(f"--sha256 {self.sha256}: expected 64 hexadecimal digits")


def fetch(request: FetchRequest, *, report: Report | None = None) -> list[NetReport]:
    """Make `request.out`, a training folder whose every file has been checked, whole or not at all.

    Parameters
    ----------
    request : FetchRequest
        What to fetch. An interrupted download goes on when the same request is made again.
    report : callable, optional
        Told how far the download is, in megabytes.

    Returns
    -------
    list of NetReport
        What the folder holds.

    Raises
    ------
    RunError
        `out` is there already, or there is no room.
    EngineError
        The embedded engine, which checks the nets, cannot run here.
    MissingFileError, MissingModelError, InputError
        No such archive, or no address is known for it.
    DownloadError
        The server does not give it.
    FormatError
        The archive is damaged, has another size or hash, or holds what no archive of a model should.
    NetError
        A net in it is not whole.
    """
    if _was_fetched(request):
        return verify(request.out)
    if request.out.exists():
        raise RunError(
            f"{request.out} is there already: choose another folder, "
            f"or check this one with `cdeep3m models verify {request.out}`"
        )
    demand_torch()
    request.out.absolute().parent.mkdir(parents=True, exist_ok=True)
    model = find(request.source)
    with _archive(request, model, report) as archive:
        digest = _check_archive(archive, model, request.sha256)
        source = {"source": request.source, "sha256": digest, "model": asdict(model) if model else None}
        return _unpacked(archive, request.out, source)


def _was_fetched(request: FetchRequest) -> bool:
    """Return whether `out` is what the same request fetched before."""
    try:
        noted = json.loads(small_text(request.out / SOURCE))
        source, sha256 = str(noted["source"]), str(noted["sha256"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False
    return source == request.source and request.sha256 in (None, sha256)


@contextmanager
def _archive(request: FetchRequest, model: PublishedModel | None, report: Report | None) -> Iterator[Path]:
    """Yield the archive: a local file as it is, or a download, which is removed unless the machine is to blame."""
    local = Path(request.source)
    if model is None and "://" not in request.source:
        yield _local(local)
        return
    url = model.archive(request.address) if model else request.source
    target = request.out.with_name(f".{request.out.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}")
    by_doi = model if model and url == model.page else None
    found = url if target.exists() else _downloaded(url, target, request, report, by_doi)
    try:
        if by_doi and looks_like(_beginning(target)) in (PAGE, TEXT):
            raise DownloadError(f"{url} leads to a page, {found}, and not to an archive: {by_doi.by_hand}")
        yield target
    except RunError:
        raise
    except CDeep3MError as error:
        target.unlink()
        raise type(error)(str(error).replace(str(target), url)) from None
    target.unlink()


def _downloaded(
    url: str, target: Path, request: FetchRequest, report: Report | None, by_doi: PublishedModel | None
) -> str:
    """Download an archive, from wherever a DOI leads; return the address that it came from."""
    told = (lambda progress: report(f"{request.out.name}: download", progress)) if report else None
    try:
        return download(
            url,
            target,
            report=told,
            attempts=request.attempts,
            pause=request.pause,
            anywhere=by_doi is not None,
        )
    except DownloadError as error:
        if by_doi is None:
            raise
        raise DownloadError(f"{error} Or {by_doi.by_hand}") from None


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(PROBED)


def _local(path: Path) -> Path:
    if path.is_file():
        return path
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected an archive. Check it with `cdeep3m models verify {path}`")
    names = ", ".join(model.name for model in published_models())
    raise MissingFileError(f"{path} is neither a file, nor an address, nor the name of a published model ({names})")


def _check_archive(archive: Path, model: PublishedModel | None, sha256: str | None) -> str:
    """Return the hash of `archive`; raise FormatError where it, or the size, is not what it must be."""
    size = archive.stat().st_size
    if model and model.size is not None and size != model.size:
        raise FormatError(f"the archive of {model.name} has {size} bytes, expected {model.size}; fetch it again")
    digest = hashlib.sha256()
    with open(archive, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    expected = sha256 or (model.sha256 if model else None)
    if expected and digest.hexdigest() != expected.lower():
        raise FormatError(
            f"the archive has the SHA-256 {digest.hexdigest()}, expected {expected}: it is damaged, or another one"
        )
    return digest.hexdigest()


def _unpacked(archive: Path, out: Path, source: Mapping[str, object]) -> list[NetReport]:
    """Unpack and check beside `out`, then take its name."""
    with scratch_folder(out) as partial:
        unpack(archive, partial)
        folder = training_folder(partial, archive)
        reports = _checked(folder)
        note = {**source, "fetched": time.strftime("%Y-%m-%d %H:%M:%S"), "cdeep3m": __version__}
        write_text(folder / SOURCE, json.dumps(note, indent=1) + "\n")
        flush_tree(folder)
        settle_folder(folder, out)
    return [replace(each, weights=out / each.weights.relative_to(folder)) if each.weights else each for each in reports]


def _checked(folder: Path) -> list[NetReport]:
    """Return what `folder` holds; raise NetError unless all of it is whole."""
    reports = verify(folder)
    for each in reports:
        if each.problems:
            problem = each.problems[0].replace(f"{folder.absolute()}/", "").replace(f"{folder}/", "")
            more = f" (and {len(each.problems) - 1} more)" if len(each.problems) > 1 else ""
            raise NetError(f"the archive's {each.net} is not whole: {problem}{more}")
    return reports


def training_folder(unpacked: Path, archive: Path) -> Path:
    """Return the training folder of an archive that was unpacked to `unpacked`: its one top folder.

    Raises
    ------
    FormatError
        There is none.
    """
    tops = [unpacked, *(path for path in unpacked.iterdir() if path.is_dir())]
    found = [path for path in tops if net_folders(path)]
    if len(found) != 1:
        what = "no trained model" if not found else "more than one training"
        raise FormatError(f"{archive}: it holds {what}; expected one folder with 1fm/trainedmodel and the like")
    return found[0]


def default_folder(source: str) -> Path:
    """Return the folder for `source` where none is named: the model's name, or that of the archive.

    Examples
    --------
    >>> str(default_folder("50682")), str(default_folder("https://models.example/trained.tar.gz?v=2"))
    ('vesicles', 'trained')
    """
    model = find(source)
    if model:
        return Path(model.name)
    name = PurePosixPath(urlsplit(source).path if "://" in source else source).name
    return Path(name.split(".")[0] or "trainedmodel")
