"""A note in a folder of prepared data of what it was made of; what belongs to something else is left as it is."""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError, RunError, printable
from cdeep3m.system.files import small_text, write_text
from cdeep3m.volumes.address import Address
from cdeep3m.volumes.axes import Selection
from cdeep3m.volumes.identity import fingerprint

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Iterator, Mapping

logger = logging.getLogger(__name__)

NOTE = ".made_of.json"
"""File in a folder of prepared data."""
FILES = ("images", "labels", "maps", "reference")
"""Settings that hold what tells files from others, rather than words."""
STACKS = "stacks"
"""Setting: how many files a folder of training data holds."""
TRAINING_FILES = "training files"
"""Setting of a training: names, sizes and dates of what it reads."""


@dataclass(frozen=True)
class Kind:
    """A kind of prepared data, by the patterns of its files.

    Attributes
    ----------
    results : tuple of str
        Without any of these a folder belongs to nobody.
    beside : tuple of str
        What tells about them, and goes with them.
    """

    results: tuple[str, ...]
    beside: tuple[str, ...] = ()


PLANES = Kind(("*.png", "*.tif"))
"""A folder of planes, whatever wrote them."""


@dataclass(frozen=True, kw_only=True)
class MadeOf:
    """What a folder is asked to be made of.

    Attributes
    ----------
    kind : Kind
        What lies in such a folder.
    settings : mapping of str to str
        Images, labels and options; those that an earlier note lacks are not compared.
    overwrite : bool
        Remove what is of something else, and begin anew.
    refuse : bool
        Otherwise what is of something else is overwritten with a warning, and no note is left: the original has none.
    """

    kind: Kind
    settings: Mapping[str, str]
    overwrite: bool = False
    refuse: bool = True

    def demand(self, folder: str | os.PathLike[str]) -> None:
        """Make sure that what lies in `folder` is of nothing else, or may be overwritten.

        Raises
        ------
        RunError
            Says what differs.
        """
        differing = "" if self.overwrite else self._difference(Path(folder))
        if differing and self.refuse:
            raise RunError(f"{differing}: choose another folder, or make them anew with --overwrite")
        if differing:
            logger.warning("Warning: %s; they are overwritten", differing)

    def claim(self, folder: str | os.PathLike[str], *, writes: Collection[str] | None = None) -> None:
        """Note what `folder`, made when it is missing, is going to be made of.

        Files of nobody knows what that would be replaced go first: who is killed leaves no mixture.

        Parameters
        ----------
        folder : path
        writes : collection of str, optional
            All .h5 files that it will hold, where everything in it is used.

        Raises
        ------
        InputError
            It holds other .h5 files.
        """
        place = Path(folder)
        differing = self._difference(place)
        if self.overwrite and differing:
            _discard(place, self.kind)
        if writes and self.refuse and (differing or not read_note(place)):
            for name in writes:
                (place / name).unlink(missing_ok=True)
        others = (
            []
            if writes is None
            else sorted(path.name for path in place.glob("*.h5") if path.name not in writes and path.name[:1] != ".")
        )
        if others and self.refuse:
            raise InputError(
                f"{place} holds {others[0]}, which a training would use as well; expected a folder of these images "
                "alone. Choose another folder, or remove that file"
            )
        place.mkdir(parents=True, exist_ok=True)
        if self.refuse:
            write_text(place / NOTE, f"{json.dumps(dict(self.settings), sort_keys=True)}\n")
        else:
            (place / NOTE).unlink(missing_ok=True)

    def _difference(self, folder: Path) -> str:
        """Return in words what `folder` was made of that is not asked for; empty where there is nothing."""
        noted = read_note(folder)
        for key, wanted in self.settings.items():
            if noted.get(key, wanted) != wanted and any(True for _ in _found(folder, self.kind.results)):
                if key in FILES:
                    return f"{folder} holds files made of other {key} (names, sizes or dates differ)"
                was, now = (printable(text, longest=60) for text in (noted[key], wanted))
                return f"{folder} holds files made with {key} = {was}; this run says {now}"
        return ""


@contextmanager
def whole_planes(
    folder: str | os.PathLike[str], settings: Mapping[str, str], *, overwrite: bool, refuse: bool
) -> Iterator[None]:
    """Let the block write a folder of planes, all of them anew, and note then what they were made of.

    Parameters
    ----------
    folder : path
    settings : mapping of str to str
        As of `MadeOf`.
    overwrite, refuse : bool
        As of `MadeOf`; planes beyond those that are written stay.

    Raises
    ------
    RunError
        Planes are there, of something else.
    """
    made_of = MadeOf(kind=PLANES, settings=settings, overwrite=overwrite, refuse=refuse)
    made_of.demand(folder)
    place = Path(folder)
    if place.is_dir() and read_note(place) != dict(settings):
        (place / NOTE).unlink(missing_ok=True)
    yield
    if refuse and place.is_dir():
        write_text(place / NOTE, f"{json.dumps(dict(settings), sort_keys=True)}\n")


def files_of(*named: str | os.PathLike[str]) -> str:
    """Return what tells these volumes from others: names, sizes and dates of their files, and which part is meant."""
    told = []
    for address in map(Address.of, named):
        files = fingerprint(address) or str(address.absolute())
        part = "" if address.selection == Selection() else str(address.selection)
        told.append("::".join(filter(None, (files, address.dataset, part))))
    return "+".join(told)


def read_note(folder: Path) -> dict[str, str]:
    """Return the settings in a folder's note; none where it has no note that makes sense."""
    try:
        noted = json.loads(small_text(folder / NOTE))
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: value for key, value in noted.items() if isinstance(value, str)} if isinstance(noted, dict) else {}


def _found(folder: Path, patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in patterns:
        yield from (path for path in folder.glob(pattern) if path.parent == folder or not path.parent.is_symlink())


def _discard(folder: Path, kind: Kind) -> None:
    """Remove what lies in such a folder; links go, what they lead to stays."""
    for path in list(_found(folder, (*kind.results, *kind.beside))):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
