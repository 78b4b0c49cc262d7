"""Where a volume lies: a path or an address of a store, and perhaps the name of a dataset inside."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from cdeep3m.errors import InputError
from cdeep3m.volumes.axes import Selection

INSIDE = "::"
"""Stands between a file or store and the dataset inside: `volume.h5::volumes/raw`."""
ANYTHING = Selection()
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")


@dataclass(frozen=True)
class Address:
    """What a user writes to name a volume.

    Attributes
    ----------
    location : str
        A path, or an address with a scheme such as `s3://bucket/cells.zarr`.
    dataset : str
        The dataset inside; empty where none is named.
    selection : Selection
        Which part of it is meant, and what its axes are where it does not say.

    Examples
    --------
    >>> str(Address.of("s3://lab/cells.zarr::0")), Address.of("s3://lab/cells.zarr::0").dataset
    ('s3://lab/cells.zarr::0', '0')
    >>> Address.of("images/raw.TIF").suffix, Address.of("s3://lab/cells.zarr").scheme
    ('.tif', 's3')
    """

    location: str
    dataset: str = ""
    selection: Selection = ANYTHING

    @classmethod
    def of(cls, named: str | os.PathLike[str] | Address) -> Address:
        """Read what a user wrote; a path that is there means itself, whatever its name holds."""
        if isinstance(named, Address):
            return named
        text = os.fspath(named)
        if INSIDE not in text or os.path.lexists(text):
            return cls(text)
        location, _, dataset = text.partition(INSIDE)
        return cls(location, dataset)

    @property
    def scheme(self) -> str:
        """What stands before `://`; empty for a path."""
        found = SCHEME.match(self.location)
        return found[1] if found else ""

    @property
    def path(self) -> Path:
        """The path of a local file or folder.

        Raises
        ------
        InputError
            The address has a scheme.
        """
        if self.scheme:
            raise InputError(f"found the address {self.location}; expected a path on this machine")
        return Path(self.location)

    @property
    def suffix(self) -> str:
        """The suffix of the last component, in lower case; empty where it has none."""
        return os.path.splitext(self.location.rstrip("/"))[1].lower()

    def absolute(self) -> Address:
        """Return the address with the path from the root, as `Path.absolute` does."""
        return self if self.scheme else replace(self, location=os.path.abspath(self.location))

    def __fspath__(self) -> str:
        """Return the location: what looks at the file or folder itself, such as at its date, takes addresses, too."""
        return self.location

    def __str__(self) -> str:
        return f"{self.location}{INSIDE}{self.dataset}" if self.dataset else self.location
