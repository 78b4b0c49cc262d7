"""The list of formats: which module reads or writes what an address names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cdeep3m.geometry import Coordinate
    from cdeep3m.volumes.address import Address


MAP = "Segmented"
"""What the map of a net is called: `Segmented.zarr`, `Segmented_0001.png`."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format, and how its addresses are told from others.

    Attributes
    ----------
    name : str
        One word, as `--format` takes it.
    what : str
        What messages call it: "a .tif or .tiff stack".
    module : str
        Full name of the module that reads or writes it; imported when an address needs it.
    suffixes : tuple of str
        Suffixes of its files or folders, in lower case, dots included.
    schemes : tuple of str
        Schemes that belong to this format alone.
    is_folder : bool, optional
        Whether a local one is a folder; None: either.
    holds : callable, optional
        Looks at what is on disk where a suffix does not tell.
    inside : str
        Suffix of an output that lies in a folder of its own, `Segmented.zarr`; empty where it is that folder.
    chunks : callable, optional
        Returns the chunks of an output of some shape; default: every voxel for itself.
    """

    name: str
    what: str
    module: str
    suffixes: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    is_folder: bool | None = None
    holds: Callable[[Path], bool] | None = None
    inside: str = ""
    chunks: Callable[[Coordinate], Coordinate] | None = None

    def named(self, address: Address) -> bool:
        """Return whether the name of an address says that it is of this format."""
        if address.scheme in self.schemes:
            return True
        return address.suffix in self.suffixes and (bool(address.scheme) or self._may_be(address.path))

    def found(self, address: Address) -> bool:
        """Return whether what is on disk says so, where the name says nothing."""
        return self.holds is not None and not address.scheme and self._may_be(address.path) and self.holds(address.path)

    def _may_be(self, path: Path) -> bool:
        return self.is_folder is None or not path.exists() or path.is_dir() == self.is_folder


def format_of(address: Address, formats: Sequence[Format]) -> Format | None:
    """Return the format that the name of an address tells, or else what is on disk, the last of `formats` first."""
    by_name = (one for one in formats if one.named(address))
    by_content = (one for one in reversed(formats) if one.found(address))
    return next(by_name, None) or next(by_content, None)


def expected(formats: Sequence[Format]) -> str:
    """Return in words what can be read or written.

    Examples
    --------
    >>> made = [Format(name=name, what=f"a .{name} file", module="") for name in ("a", "b", "c")]
    >>> expected(made)
    'a .a file, a .b file or a .c file'
    """
    *first, last = (one.what for one in formats)
    return f"{', '.join(first)} or {last}" if first else last
