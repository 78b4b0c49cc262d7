"""Images are told from others by the names, sizes and dates of their files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cdeep3m.volumes.identity import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def later(path: Path) -> None:
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))


CHANGES: dict[str, Callable[[Path], object]] = {
    "another date": lambda images: later(images / "2.png"),
    "another size": lambda images: (images / "2.png").write_bytes(b"longer"),
    "another name": lambda images: (images / "2.png").rename(images / "3.png"),
    "one more": lambda images: (images / "3.png").write_bytes(b"three"),
    "one less": lambda images: (images / "2.png").unlink(),
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("1.png", "2.png", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_images_that_change_are_others(change: Callable[[Path], object], images: Path) -> None:
    before = fingerprint(images)
    change(images)
    assert fingerprint(images) != before


def test_what_is_no_image_does_not_count(images: Path) -> None:
    before = fingerprint(images)
    later(images / "notes.txt")
    (images / "more.txt").touch()
    assert fingerprint(images) == before
