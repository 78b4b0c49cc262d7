"""What is counted of each object in a block, and how blocks add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.geometry import Coordinate

PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""The axes of each element of `scatter`: zz, yy, xx, zy, zx, yx."""
MEASURES = np.dtype(
    [
        ("voxels", "<i8"),
        ("first", "<i8"),  # number of the first voxel in the volume, x counting fastest
        ("begin", "<i8", 3),  # of the bounding box, half-open, (z, y, x)
        ("end", "<i8", 3),
        ("sum", "<i8", 3),  # of the coordinates
        ("scatter", "<f8", 6),  # products of coordinates about their mean, summed
        ("total", "<f8"),  # of the maps' values
        ("faces", "<i8", 3),  # of its voxels towards others, along each axis
    ]
)
"""One row an object. Faces at the end of a block are counted when it is joined with its neighbours."""


def measure(labels: np.ndarray, values: np.ndarray, count: int, *, begin: Coordinate, shape: Coordinate) -> np.ndarray:
    """Measure the objects of a block.

    Runs of voxels along x are counted instead of voxels.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
        Objects from 1 to `count`, 0 for background.
    values : ndarray, shape (z, y, x)
        The maps.
    count : int
        How many rows to return; an object without a voxel in this block has zeros.
    begin, shape : tuple of int
        Where the block begins in the volume, and the volume's size.

    Returns
    -------
    ndarray of MEASURES, shape (count,)
    """
    measured = np.zeros(count, MEASURES)
    starts, lengths, found = _runs(labels)
    if len(starts):
        order = np.argsort(found, kind="stable")
        totals = _totals(values[labels > 0], lengths)[order]
        place = np.stack(np.unravel_index(starts[order], labels.shape))
        rows, firsts = np.unique(found[order], return_index=True)
        measured[rows - 1] = _grouped(place, lengths[order], totals, firsts, labels.shape, begin, shape)
    for axis in (0, 1):
        measured["faces"][:, axis] = _faces_within(labels, axis, count)
    return measured


def combine(measured: np.ndarray, ids: np.ndarray, count: int) -> np.ndarray:
    """Add up rows that belong to one object.

    Parameters
    ----------
    measured : ndarray of MEASURES, shape (n,)
    ids : ndarray of int, shape (n,)
        The object of each row, from 0 to `count` - 1; each has a row or more.
    count : int

    Returns
    -------
    ndarray of MEASURES, shape (count,)
        Objects without a voxel have zeros.
    """
    combined = np.zeros(count, MEASURES)
    there = np.flatnonzero(measured["voxels"])
    there = there[np.argsort(ids[there], kind="stable")]
    rows = measured[there]
    if not len(rows):
        return combined
    objects, firsts = np.unique(ids[there], return_index=True)
    combined[objects] = _added(rows, firsts)
    mean = (combined["sum"] / np.maximum(combined["voxels"], 1)[:, None])[ids[there]]
    apart = rows["sum"] / rows["voxels"][:, None] - mean
    for k, (a, b) in enumerate(PAIRS):
        spread = rows["scatter"][:, k] + rows["voxels"] * apart[:, a] * apart[:, b]
        combined["scatter"][objects, k] = np.add.reduceat(spread, firsts)
    return combined


def elongation(measured: np.ndarray, sampling: Sequence[float]) -> np.ndarray:
    """Return how many times the longest axis of each object is as long as the second one.

    Axes are those of the ellipsoid with the object's moments; a voxel is a cuboid, so a single one has 1 (where its
    sides are equal).

    Parameters
    ----------
    measured : ndarray of MEASURES, shape (n,)
        Each with a voxel or more.
    sampling : sequence of float
        Size of a voxel along (z, y, x).

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    matrices = np.empty((len(measured), 3, 3))
    for k, (a, b) in enumerate(PAIRS):
        own = 1 / 12 if a == b else 0
        matrices[:, a, b] = (measured["scatter"][:, k] / measured["voxels"] + own) * sampling[a] * sampling[b]
        matrices[:, b, a] = matrices[:, a, b]
    lengths = np.linalg.eigvalsh(matrices)
    return np.sqrt(lengths[:, 2] / lengths[:, 1])


def surface(measured: np.ndarray, sampling: Sequence[float]) -> np.ndarray:
    """Estimate the surface of each object from the faces of its voxels (Crofton's formula along the three axes).

    Right on average over all directions of a surface: the faces themselves add up to 3/2 of it. Where the volume ends,
    an object has no surface.

    Parameters
    ----------
    measured : ndarray of MEASURES, shape (n,)
    sampling : sequence of float
        Size of a voxel along (z, y, x).

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    z, y, x = sampling
    return 2 / 3 * (measured["faces"] @ np.array([y * x, z * x, z * y]))


def at_border(measured: np.ndarray, shape: Coordinate) -> np.ndarray:
    """Return which objects reach a face of the volume.

    Parameters
    ----------
    measured : structured ndarray, shape (objects,)
        Of type `MEASURES`.
    shape : tuple of int

    Returns
    -------
    ndarray of bool, shape (objects,)
    """
    return ((measured["begin"] == 0) | (measured["end"] == np.array(shape))).any(axis=1)


def with_contacts(measured: np.ndarray, ids: np.ndarray, contacts: np.ndarray) -> np.ndarray:
    """Count the faces between blocks on whose other side is another object, or none.

    Parameters
    ----------
    measured : ndarray of MEASURES, shape (count,)
        Of whole objects; changed in place and returned.
    ids : ndarray of int, shape (n,)
        The object of each label, from 0.
    contacts : ndarray of int64, shape (m, 4)
        Labels on both sides of a face, from 0 and -1 for background; the axis across it; how many such faces there are.
    """
    here, there, axis, counts = contacts.T
    known = np.append(ids, -1)
    differ = known[here] != known[there]
    for side in (here, there):
        kept = differ & (side >= 0)
        np.add.at(measured["faces"], (known[side[kept]], axis[kept]), counts[kept])
    return measured


def _runs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where runs of one label along x begin in the flat array, how long they are, and their label."""
    begins = np.ones(labels.shape, bool)
    np.not_equal(labels[..., 1:], labels[..., :-1], out=begins[..., 1:])
    starts = np.flatnonzero(begins)
    lengths, found = np.diff(starts, append=labels.size), labels.reshape(-1)[starts]
    inside = found > 0
    return starts[inside], lengths[inside], found[inside]


def _totals(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the sum of each run of values that follow each other."""
    starts = np.concatenate([[0], np.cumsum(lengths[:-1])])
    return np.add.reduceat(values, starts, dtype=np.float64 if values.dtype.kind == "f" else np.uint64)


def _grouped(
    place: np.ndarray,
    lengths: np.ndarray,
    totals: np.ndarray,
    firsts: np.ndarray,
    block: Coordinate,
    begin: Coordinate,
    shape: Coordinate,
) -> np.ndarray:
    """Return the measures of runs that are sorted by object, whose groups begin at `firsts`."""
    z, y, x = place
    made = np.zeros(len(firsts), MEASURES)
    ends = x + lengths
    made["voxels"] = np.add.reduceat(lengths, firsts)
    made["total"] = np.add.reduceat(totals, firsts)
    made["first"] = ((z + begin[0]) * shape[1] + y + begin[1])[firsts] * shape[2] + (x + begin[2])[firsts]
    for axis, (low, high) in enumerate(((z, z + 1), (y, y + 1), (x, ends))):
        made["begin"][:, axis] = np.minimum.reduceat(low, firsts) + begin[axis]
        made["end"][:, axis] = np.maximum.reduceat(high, firsts) + begin[axis]
    along = lengths * x + lengths * (lengths - 1) // 2
    squares = lengths * x * x + x * lengths * (lengths - 1) + (lengths - 1) * lengths * (2 * lengths - 1) // 6
    sums = np.stack([np.add.reduceat(part, firsts) for part in (lengths * z, lengths * y, along)], axis=1)
    products = (lengths * z * z, lengths * y * y, squares, lengths * z * y, z * along, y * along)
    for k, (a, b) in enumerate(PAIRS):
        made["scatter"][:, k] = np.add.reduceat(products[k], firsts) - sums[:, a] * (sums[:, b] / made["voxels"])
    made["sum"] = sums + made["voxels"][:, None] * np.array(begin)
    made["faces"][:, 2] = np.add.reduceat((x > 0).astype(np.int64) + (ends < block[2]), firsts)
    return made


def _faces_within(labels: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Count the faces along z or y within a block on whose other side is another object, or none."""
    here, there = (labels[:-1], labels[1:]) if axis == 0 else (labels[:, :-1], labels[:, 1:])
    differ = here != there
    counted = np.bincount(here[differ], minlength=count + 1) + np.bincount(there[differ], minlength=count + 1)
    return counted[1:]


def _added(rows: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    made = np.zeros(len(firsts), MEASURES)
    for name in ("voxels", "sum", "total", "faces"):
        made[name] = np.add.reduceat(rows[name], firsts)
    for name in ("first", "begin"):
        made[name] = np.minimum.reduceat(rows[name], firsts)
    made["end"] = np.maximum.reduceat(rows["end"], firsts)
    return made
