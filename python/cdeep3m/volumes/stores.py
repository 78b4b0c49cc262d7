"""Stores of chunked arrays: folders on disk, S3 buckets and web servers, as tensorstore reaches them.

S3 takes its endpoint, region and keys from where Amazon's own tools do: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID
and AWS_SECRET_ACCESS_KEY, AWS_PROFILE and ~/.aws, the machine's role; AWS_NO_SIGN_REQUEST=YES sends no keys.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cdeep3m.errors import (
    NESTED,
    CDeep3MError,
    DownloadError,
    FormatError,
    FullDiskError,
    InputError,
    MissingFileError,
    describe,
    needing,
)
from cdeep3m.system.files import LONGEST_NAME, MOST_TEXT, demand_file, whole_file
from cdeep3m.system.ledger import HEADER
from cdeep3m.system.memory import demand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import tensorstore

    from cdeep3m.volumes.address import Address

WEB = ("http", "https")
REMOTE = ("s3", *WEB)
RETRIES = {"max_retries": 7, "initial_delay": "250ms", "max_delay": "4s"}
"""A server that is away for some 15 seconds is waited for."""
PATIENCE = {"TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": "60", "TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES": "1"}
"""A server that says nothing for a minute counts as gone."""
LEDGER = ".ledger"
CACHE_BYTES = 2**24
"""So much of what was read is kept, decoded, for boxes that share chunks."""
THREADS_BYTES = 256 * 2**20
"""Memory that tensorstore's threads may need; it ends the process where they get none."""
Attributes = dict[str, Any]


@dataclass(frozen=True)
class Store:
    """A place that holds values by keys, such as chunks by their numbers.

    Attributes
    ----------
    url : str
        A path, or an address that begins with s3://, http:// or https://; no slash at the end.
    """

    url: str

    @classmethod
    def at(cls, url: str | os.PathLike[str]) -> Store:
        """Return the store of an address.

        Raises
        ------
        InputError
            The address has no bucket or host, or is of another scheme.
        """
        text = os.fspath(url)
        scheme = scheme_of(text)
        if scheme is None:
            return cls(text.rstrip("/") or "/")
        parts = urlsplit(text)
        if scheme not in REMOTE or not parts.netloc:
            raise InputError(f"{text}: expected a path, s3://BUCKET/KEY, http://HOST/PATH or https://HOST/PATH")
        return cls(text.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether it is a folder on disk."""
        return scheme_of(self.url) is None

    def child(self, path: str) -> Store:
        """Return the store of what is below `path`."""
        return Store(f"{self.url}/{path.strip('/')}") if path.strip("/") else self

    def kvstore(self) -> Attributes:
        """Return how tensorstore names it."""
        scheme, parts = scheme_of(self.url), urlsplit(self.url)
        if scheme is None:
            return {"driver": "file", "path": f"{_in_utf_8(os.path.abspath(self.url))}/"}
        if scheme in WEB:
            query = {"path": f"{parts.path}/"}
            return {"driver": "http", "base_url": f"{scheme}://{parts.netloc}", **query}
        return {"driver": "s3", "bucket": parts.netloc, "path": f"{parts.path.strip('/')}/".lstrip("/"), **s3_options()}

    def read(self, key: str) -> bytes | None:
        """Return a value; None where there is none.

        Raises
        ------
        InputError, DownloadError
            The store cannot be read.
        """
        if self.is_local:
            try:
                path = Path(self.url) / key
                if path.is_dir():
                    return None
                demand_file(path, most=MOST_TEXT)
            except (FileNotFoundError, NotADirectoryError):
                return None
            return path.read_bytes()
        with reaching(self.url):
            found = self._keys().read(key).result()
        return found.value if found.state == "value" else None

    def read_json(self, key: str) -> Attributes | None:
        """Return a JSON object; None where there is none.

        Raises
        ------
        FormatError
            It is none.
        """
        text = self.read(key)
        if text is None:
            return None
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = NESTED if isinstance(error, RecursionError) else error
            raise FormatError(f"{self.url}/{key} is no JSON ({reason}). Copy or export it again") from error
        if not isinstance(found, dict):
            raise FormatError(f"{self.url}/{key} holds a JSON {type(found).__name__}; expected an object")
        return found

    def write(self, key: str, value: bytes) -> None:
        """Store a value, whole or not at all.

        Raises
        ------
        InputError, DownloadError
            The store cannot be written to.
        """
        if self.is_local:
            Path(self.url).mkdir(parents=True, exist_ok=True)
            with whole_file(Path(self.url) / key) as partial:
                partial.write_bytes(value)
            return
        with reaching(self.url):
            self._keys().write(key, value).result()

    def write_json(self, key: str, value: Mapping[str, Any]) -> None:
        """Store a JSON object."""
        self.write(key, json.dumps(value, indent=2).encode())

    def names(self) -> list[str]:
        """Return the names of what is directly below, sorted; web servers do not tell."""
        if self.is_local:
            return sorted(entry.name for entry in os.scandir(self.url)) if Path(self.url).is_dir() else []
        if scheme_of(self.url) in WEB:
            return []
        with reaching(self.url):
            keys = self._keys().list().result()
        return sorted({key.decode().split("/")[0] for key in keys})

    def remove_all(self) -> None:
        """Remove all that is stored there."""
        if self.is_local:
            if os.path.isdir(self.url) and not os.path.islink(self.url):
                shutil.rmtree(self.url, ignore_errors=True)
            else:
                Path(self.url).unlink(missing_ok=True)
            return
        ts = tensorstore_module()
        with reaching(self.url):
            self._keys().delete_range(ts.KvStore.KeyRange()).result()

    def is_empty(self) -> bool:
        """Return whether nothing is stored there, nor a file of that name."""
        return not self.names() and not (self.is_local and os.path.lexists(self.url) and not os.path.isdir(self.url))

    def open_array(self, driver: str, *, name: str = "", **spec: Any) -> tensorstore.TensorStore:
        """Open an array that is there.

        Parameters
        ----------
        driver : str
            zarr, zarr3, n5 or neuroglancer_precomputed.
        name : str
            What a user calls it, for messages.
        spec
            Further members of tensorstore's specification; its `metadata` stands for the array's own.

        Raises
        ------
        MissingFileError
            There is no such array.
        InputError, DownloadError
            It cannot be read.
        """
        ts = tensorstore_module()
        full = {"driver": driver, "kvstore": self.kvstore(), **spec}
        how = {"assume_metadata": True} if "metadata" in spec else {}
        with reaching(name or self.url):
            return ts.open(full, context=context(), open=True, read=True, write=False, **how).result()

    def create_array(self, driver: str, **spec: Any) -> tensorstore.TensorStore:
        """Make an array, or open the one that is there where it is the same.

        Chunks of zeros are stored like others: a missing one means that it has not been written.

        Raises
        ------
        InputError, DownloadError
            It cannot be made, or one of another kind is there.
        """
        ts = tensorstore_module()
        full = {
            "driver": driver,
            "kvstore": self.kvstore(),
            "store_data_equal_to_fill_value": True,
            **spec,
        }
        with reaching(self.url):
            return ts.open(full, context=writing_context(), create=True, open=True).result()

    def _keys(self) -> Any:
        ts = tensorstore_module()
        return ts.KvStore.open(self.kvstore(), context=context()).result()


def ledger_beside(url: str) -> Store:
    """Return where the ledger of what is written to a store, or a file, lies until that is whole."""
    home, _, name = url.rpartition("/")
    if len(os.fsencode(name)) + len(LEDGER) > LONGEST_NAME:
        kept = os.fsdecode(os.fsencode(name)[: LONGEST_NAME - len(LEDGER) - 8])
        name = f"{kept}{zlib.crc32(os.fsencode(name)):08x}"
    return Store(f"{home}/{name}{LEDGER}" if home or url.startswith("/") else f"{name}{LEDGER}")


def whole_store(url: str) -> Store:
    """Return the store of an address to read from.

    Raises
    ------
    InputError
        A run is writing to it, or was stopped while it did: a ledger lies beside it.
    """
    store = Store.at(url)
    if ledger_beside(store.url).read(HEADER) is not None:
        raise InputError(f"{store.url} is not whole yet; run the command that writes it to its end")
    return store


def scheme_of(url: str) -> str | None:
    """Return the scheme of an address; None for a path.

    Examples
    --------
    >>> scheme_of("s3://bucket/key"), scheme_of("/data/volume.zarr"), scheme_of("C:/volume.zarr")
    ('s3', None, None)
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", url)
    return found[1].lower() if found else None


def s3_options() -> Attributes:
    """Return endpoint, region and credentials of S3, as the environment has them."""
    environ = os.environ
    options: Attributes = {}
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if endpoint:
        options["endpoint"] = endpoint.rstrip("/")
    if region or endpoint:
        options["aws_region"] = region or "us-east-1"
    if environ.get("AWS_NO_SIGN_REQUEST", "").lower() in ("yes", "true", "1"):
        options["aws_credentials"] = {"type": "anonymous"}
    elif environ.get("AWS_ACCESS_KEY_ID"):
        options["aws_credentials"] = {"type": "environment"}
    elif environ.get("AWS_PROFILE"):
        options["aws_credentials"] = {"type": "profile", "profile": environ["AWS_PROFILE"]}
    return options


def tensorstore_module() -> Any:
    """Import tensorstore, where there is memory for its threads.

    Raises
    ------
    MissingExtraError, OutOfMemoryError
        It is not installed, or this process may not take enough memory.
    """
    demand(THREADS_BYTES, what="chunked files")
    with needing("tensorstore", extra="zarr", module="tensorstore"):
        import tensorstore

    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    return tensorstore


@lru_cache(maxsize=1)
def context() -> Any:
    """Return what all reads share: the cache of decoded chunks, and how often requests are tried."""
    return tensorstore_module().Context(
        {
            "cache_pool": {"total_bytes_limit": CACHE_BYTES},
            "s3_request_retries": RETRIES,
            "http_request_retries": RETRIES,
        }
    )


@lru_cache(maxsize=1)
def writing_context() -> Any:
    """Return what all writes share; nothing is kept in memory, as a chunk is written once."""
    return tensorstore_module().Context(
        {"cache_pool": {"total_bytes_limit": 0}, "s3_request_retries": RETRIES, "http_request_retries": RETRIES}
    )


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """Say in one line what tensorstore raises over a store.

    Raises
    ------
    MissingFileError, InputError, FormatError, DownloadError
        By the kind of what was raised.
    """
    try:
        yield
    except (CDeep3MError, MemoryError):
        raise
    except Exception as error:
        raise _failure(name, error) from error


@lru_cache(maxsize=64)
def _in_utf_8(folder: str) -> str:
    """Return a folder's path as tensorstore takes it; one that is not UTF-8 is held open, and called by its number."""
    try:
        folder.encode()
    except UnicodeEncodeError:
        os.makedirs(folder, exist_ok=True)
        return f"/proc/self/fd/{os.open(folder, os.O_PATH | os.O_DIRECTORY)}"
    return folder


NUMBERS = {"EDQUOT": errno.EDQUOT, "EFBIG": errno.EFBIG, "File too large": errno.EFBIG}


def _failure(name: str, error: Exception) -> CDeep3MError:
    text = " ".join(str(error).split())
    status, _, rest = text.partition(": ")
    words = re.split(r" \[(?:source locations|tensorstore_spec|curl_code|http_response_code)", rest or text)[0]
    denied = status == "PERMISSION_DENIED" or re.search(r"\b(401|403)\b|AccessDenied|SignatureDoesNotMatch", text)
    if denied and scheme_of(name) is not None:
        return InputError(
            f"{name} is not open to these credentials ({words[:300]}). Check AWS_ACCESS_KEY_ID, AWS_PROFILE, or "
            "AWS_NO_SIGN_REQUEST=YES for public data"
        )
    full = re.search(r"\b(ENOSPC|EDQUOT|EFBIG)\b|[Nn]o space left|[Qq]uota exceeded|File too large", text)
    if full:
        return FullDiskError(describe(OSError(NUMBERS.get(full[0], errno.ENOSPC), "", name)))
    if status == "NOT_FOUND":
        return MissingFileError(f"{name} is not there, or is no such array ({words[:300]})")
    if status in ("ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNKNOWN"):
        return DownloadError(f"{name} cannot be reached ({words[:300]}). Run the same command again")
    return FormatError(f"{name} cannot be read or written ({words[:300]})")


def demand_outside(target: Address, source: Address) -> None:
    """Refuse to write into a folder that is read: the next one who reads it would find more in it.

    Raises
    ------
    InputError
        `target` lies in `source`; both are local.
    """
    place, read = (Store.at(re.sub(r"^(zarr|n5|precomputed)://", "", each.location)) for each in (target, source))
    if not (place.is_local and read.is_local and os.path.isdir(read.url)):
        return
    if Path(os.path.realpath(read.url)) in Path(os.path.realpath(place.url)).parents:
        raise InputError(f"{target} lies in {source}, which is read; expected another place to write to")
