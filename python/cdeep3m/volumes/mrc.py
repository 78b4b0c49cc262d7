"""MRC files (.mrc, .map, .rec, .st) as IMOD, SerialEM and EPU write them, read through a memory map."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from cdeep3m.errors import InputError, MissingFileError, needing
from cdeep3m.geometry import Placement, Roi
from cdeep3m.volumes.axes import Selection, layout_of, refuse_unused
from cdeep3m.volumes.damage import damaged, decoding
from cdeep3m.volumes.mapped import release
from cdeep3m.volumes.values import in_role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.base import Reading, Volume

logger = logging.getLogger(__name__)

UNIT = "angstrom"
HEADER_BYTES = 1024
TYPES = {0: "int8", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}
"""What is read, by mode."""
IMOD_STAMP = 1146047817
STAMP_AT, FLAGS_AT = 40, 44
"""Where IMOD's stamp and flags lie in the header's field `extra2`, which begins at byte 112."""
BYTES_ARE_SIGNED, ORIGIN_IS_STANDARD = 1, 4
VERSIONED = (20140, 20141)
"""MRC2014, in which bytes have a sign."""
LARGE = 2**24
"""Rows of planes of more voxels are read alone."""
OF_NUMBER = {1: "x", 2: "y", 3: "z"}


class MrcVolume:
    """An MRC file.

    Parameters
    ----------
    path : Path
    selection : Selection
        Its time is the number of a volume in a stack of volumes.

    Raises
    ------
    InputError
        The mode is not read, or the selection does not fit.
    FormatError
        The file is damaged or shorter than its header says.
    """

    is_folder = False

    def __init__(self, path: Path, selection: Selection | None = None) -> None:
        self._path = path
        header, offset = _header(path)
        stored, dtype = _stored(header, path, offset)
        unsigned = dtype.kind == "i" and dtype.itemsize == 1 and _bytes_are_unsigned(header)
        self._data = np.memmap(path, np.dtype(np.uint8) if unsigned else dtype, "r", offset, stored)
        self._layout = layout_of(stored, _axes(header, len(stored), path), selection or Selection(), name=str(path))
        self.shape = self._layout.shape
        self.dtype = np.dtype(np.float32) if dtype == np.float16 else self._data.dtype.newbyteorder("=")
        whole = stored[-2] * stored[-1] <= LARGE
        together = (*(1,) * (len(stored) - 2), stored[-2] if whole else 1, stored[-1])
        self.chunks = self._layout.in_space(together, missing=1)
        place = _place(header)
        self.placement = place

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi`, axes (z, y, x); 16-bit floating point comes as float32."""
        part = np.array(self._layout.arrange(self._data[self._layout.index(roi)]), self.dtype, order="C")
        release(self._data)
        return part

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume, some planes at a time."""
        depth, height, width = self.shape
        step = max(1, limit // (height * width * self.dtype.itemsize))
        for begin in range(0, depth, step):
            roi = Roi((begin, 0, 0), (min(begin + step, depth), height, width))
            yield roi, self.read(roi)

    def planes(self, roi: Roi) -> Iterator[np.ndarray]:
        """Yield the planes of `roi`, one at a time."""
        (z0, y0, x0), (z1, y1, x1) = roi.begin, roi.end
        return (self.read(Roi((z, y0, x0), (z + 1, y1, x1)))[0] for z in range(z0, z1))


def open_address(address: Address, reading: Reading) -> Volume:
    """Open an MRC file."""
    if address.dataset:
        raise MissingFileError(f"{address}: MRC files have no datasets; leave out ::{address.dataset}")
    refuse_unused(Selection(level=reading.selection.level), name=str(address), kind="an MRC file")
    return in_role(MrcVolume(address.path, reading.selection), reading.role, str(address))


def _header(path: Path) -> tuple[Any, int]:
    """Return the header, as mrcfile reads it, and where the voxels begin."""
    with needing("mrcfile", extra="mrc", module="mrcfile"):
        import mrcfile
    size = path.stat().st_size
    if size < HEADER_BYTES:
        raise damaged(path, "MRC", f"it has {size} bytes, the header alone has {HEADER_BYTES}")
    with decoding(path, "MRC"), warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        with mrcfile.open(path, permissive=True, header_only=True) as file:
            header = file.header.copy()
    if bytes(header.map.tobytes())[:3] != b"MAP":
        logger.warning("%s lacks the letters MAP in its header; it is read as an MRC file all the same", path)
    extended = int(header.nsymbt)
    if extended < 0:
        raise damaged(path, "MRC", f"its extended header has {extended} bytes")
    return header, HEADER_BYTES + extended


def _stored(header: Any, path: Path, offset: int) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and type of the voxels in the file, the slowest axis first."""
    mode = int(header.mode)
    if mode not in TYPES:
        listed = ", ".join(f"{number} ({name})" for number, name in TYPES.items())
        raise InputError(f"{path} has the MRC mode {mode}; expected one of {listed}. Convert it")
    dtype = np.dtype(TYPES[mode]).newbyteorder(header.mode.dtype.byteorder)
    sections, rows, columns = int(header.nz), int(header.ny), int(header.nx)
    if min(sections, rows, columns) < 1:
        raise damaged(path, "MRC", f"its header says {columns} x {rows} x {sections} voxels")
    expected = offset + sections * rows * columns * dtype.itemsize
    size = path.stat().st_size
    if size < expected:
        raise damaged(path, "MRC", f"it has {size} bytes, its header says {expected}")
    if size > expected:
        logger.warning("Warning: %s has %d bytes behind its voxels, which are not read", path, size - expected)
    depth = int(header.mz)
    if int(header.ispg) > 400 and depth > 0 and sections % depth == 0:
        return (sections // depth, depth, rows, columns), dtype
    return (sections, rows, columns), dtype


def _axes(header: Any, count: int, path: Path) -> str:
    """Return the letters of the axes, the slowest first; mapc, mapr and maps name them."""
    axes = _in_file(header)
    if sorted(axes) != ["x", "y", "z"]:
        found = [int(header[word]) for word in ("mapc", "mapr", "maps")]
        raise damaged(path, "MRC", f"its axes (mapc, mapr, maps) are {found}, expected 1, 2 and 3 in any order")
    return "t" * (count - 3) + axes


def _in_file(header: Any) -> str:
    """Return the letters of sections, rows and columns; of numbers that are no axes a question mark."""
    numbers = [int(header.maps), int(header.mapr), int(header.mapc)]
    return "zyx" if numbers == [0, 0, 0] else "".join(OF_NUMBER.get(number, "?") for number in numbers)


def _imod_flags(header: Any) -> int | None:
    """Return IMOD's flags; None where IMOD did not write the file."""
    extra = header.extra2.tobytes()
    order = header.mode.dtype.newbyteorder(header.mode.dtype.byteorder)
    stamp, flags = (int(np.frombuffer(extra, order, 1, at)[0]) for at in (STAMP_AT, FLAGS_AT))
    return flags if stamp == IMOD_STAMP else None


def _bytes_are_unsigned(header: Any) -> bool:
    """Return whether mode 0 means 0 to 255: IMOD says so by a flag; files older than MRC2014 by their range."""
    flags = _imod_flags(header)
    if flags is not None:
        return not flags & BYTES_ARE_SIGNED
    return int(header.nversion) not in VERSIONED and float(header.dmin) >= 0 and float(header.dmax) > 127


def _place(header: Any) -> Placement:
    """Return where the volume lies; of a single image microscopes give no depth: it is taken to be its width."""
    cells = [float(header.cella.z), float(header.cella.y), float(header.cella.x)]
    counts = [int(header.mz), int(header.my), int(header.mx)]
    if cells[0] == 0 and int(header.nz) == 1 and _in_file(header) == "zyx":
        cells[0], counts[0] = cells[2], counts[2]
    if min(cells) <= 0 or min(counts) <= 0:
        return Placement()
    z, y, x = (float(f"{cell / count:.7g}") for cell, count in zip(cells, counts, strict=True))
    return Placement(voxel_size=(z, y, x), unit=UNIT, offset=_offset(header, (z, y, x)))


def _offset(header: Any, sizes: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return where the first voxel lies: at the origin, or where that is 0, at nxstart, nystart, nzstart.

    The origin is that of x, y, z; the three starts are those of columns, rows and sections.
    """
    flags = _imod_flags(header)
    sign = 1.0 if flags is None or flags & ORIGIN_IS_STANDARD else -1.0
    origin = [sign * float(header.origin[axis]) for axis in "zyx"]
    if not any(origin):
        starts = {axis: float(header[f"n{stored}start"]) for axis, stored in zip(_in_file(header), "zyx", strict=True)}
        origin = [starts[axis] * size for axis, size in zip("zyx", sizes, strict=True)]
    z, y, x = (begin + 0.0 for begin in origin)
    return z, y, x
