"""What a file that is not what was expected looks like, for error messages."""

from __future__ import annotations

SIGNATURES = (
    (b"\x89PNG", "a PNG image"),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file (a Caffe model saved with `snapshot_format: HDF5` has to be saved as BINARYPROTO)",
    ),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with `git lfs pull`"),
)
"""First bytes of formats that people take for another, and what to call them."""

PAGE_BEGINNINGS = (b"<!doctype html", b"<html", b"<?xml", b"<!--", b"<head")
"""How web pages begin, in small letters, after blanks."""

TEXT = "text"
PAGE = "a web page: the download did not give the file itself"
MODEL = "trained weights (.caffemodel)"
STATE = "a solver state (.solverstate)"

PROBED = 4096
BOM = b"\xef\xbb\xbf"


def looks_like(content: bytes) -> str:
    r"""Return in words what `content` looks like.

    Examples
    --------
    >>> looks_like(b"\x89PNG\r\n\x1a\n...")
    'a PNG image'
    >>> looks_like(b"name: 'net'")
    'text'
    >>> looks_like(b"\n<!doctype html><p>Trained models</p>") == PAGE
    True
    >>> looks_like(b"")
    'an empty file'
    """
    if not content:
        return "an empty file"
    for signature, name in SIGNATURES:
        if content.startswith(signature):
            return name
    if content[:PROBED].removeprefix(BOM).lstrip().lower().startswith(PAGE_BEGINNINGS):
        return PAGE
    if starts_as_model(content):
        return MODEL
    if starts_as_state(content):
        return STATE
    return TEXT if _is_text(content[:PROBED]) else "binary data of another kind, or damaged"


def starts_as_model(content: bytes) -> bool:
    """Return whether `content` begins as a .caffemodel: maybe its name (field 1), then a layer (field 100, once 2)."""
    layer, old_layer = b"\xa2\x06", b"\x12"
    if content[:1] != b"\x0a":
        return content.startswith(layer)
    after_name = content[2 + content[1] :] if len(content) > 1 else b""
    return layer in content[:PROBED] or after_name.startswith(old_layer)


def starts_as_state(content: bytes) -> bool:
    """Return whether `content` begins as a .solverstate: the iteration (field 1), then the model's name (field 2)."""
    return content[:1] == b"\x08" and b"\x12" in content[2:7]


def _is_text(start: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in start)
