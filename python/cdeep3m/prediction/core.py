"""The core: voxels of a volume in, probability maps out. No folder, no lock, no log, no file name."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.prediction.reading import PackageReader
from cdeep3m.rules import CORRECTED, Rules
from cdeep3m.system.threads import ahead
from cdeep3m.tiling import stitching

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence

    from numpy.typing import DTypeLike

    from cdeep3m.engines.base import LoadedNet
    from cdeep3m.geometry import Roi
    from cdeep3m.maps.base import MapType
    from cdeep3m.runs.calibration import Calibration
    from cdeep3m.tiling.grid import Tiling
    from cdeep3m.tiling.packages import Package
    from cdeep3m.tiling.variants import Variant
    from cdeep3m.volumes.base import Volume


BOX_AXES = 3
WINDOWS_AHEAD = 3
"""Windows of a net that are read while others are predicted."""


@dataclass(frozen=True)
class NetInUse:
    """A net in memory and the variants that it predicts.

    Attributes
    ----------
    net : LoadedNet
    variants : sequence of Variant
        Test-time augmentation, in ascending order.
    calibration : Calibration, optional
        What becomes of the averaged probabilities.
    """

    net: LoadedNet
    variants: Sequence[Variant]
    calibration: Calibration | None = None

    def calibrated(self, mean: np.ndarray) -> np.ndarray:
        """Return the mean of the variants, calibrated where that is asked for.

        Parameters
        ----------
        mean : ndarray of float64 or uint16, shape (y, x)

        Returns
        -------
        ndarray, shape (y, x)
        """
        return mean if self.calibration is None else self.calibration.apply(mean)


def predict_box(
    volume: Volume, box: Roi, nets: Mapping[str, NetInUse], *, tiling: Tiling, rules: Rules = CORRECTED
) -> np.ndarray:
    """Predict any box of a volume with every net and average the nets.

    Parameters
    ----------
    volume : Volume
        The images.
    box : Roi
        What to predict; whole planes where the rules scale each plane by itself.
    nets : mapping of str to NetInUse
        One or more.
    tiling : Tiling
        How the volume is cut; boxes whose ends are those of tiles cost least.
    rules : Rules

    Returns
    -------
    ndarray of uint8, shape of `box`, axes (z, y, x)
        Probability map: the same bytes wherever, whenever and beside whichever other boxes it is computed.
    """
    ((_, maps),) = predict_boxes(volume, [(box, tuple(nets))], nets, tiling=tiling, rules=rules)
    return average_nets(list(maps.values()))


def average_nets(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Average the maps of several nets (EnsemblePredictions.m); that of one net is itself.

    Parameters
    ----------
    maps : sequence of ndarray of uint8, all of one shape

    Returns
    -------
    ndarray of uint8, of that shape
        Halves round up.
    """
    return maps[0] if len(maps) == 1 else _plane_by_plane(lambda *planes: stitching.ensemble(planes), maps, np.uint8)


def average_unrounded(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Average the probabilities of several nets.

    Parameters
    ----------
    probabilities : sequence of ndarray of float32, all of one shape

    Returns
    -------
    ndarray of float32, of that shape
    """
    if len(probabilities) == 1:
        return probabilities[0]
    return _plane_by_plane(_mean, probabilities, np.float32)


def _mean(*probabilities: np.ndarray) -> np.ndarray:
    total = np.zeros(probabilities[0].shape)
    for one in probabilities:
        total += one
    return total / len(probabilities)


def _plane_by_plane(function: Callable[..., np.ndarray], boxes: Sequence[np.ndarray], dtype: DTypeLike) -> np.ndarray:
    """Return what a function makes of the planes of boxes: what it takes meanwhile is that of a plane."""
    if boxes[0].ndim < BOX_AXES:
        return function(*boxes).astype(dtype)
    made = np.empty(boxes[0].shape, dtype)
    for into, *planes in zip(made, *boxes, strict=True):
        into[:] = function(*planes)
    return made


def to_map_type(probability: np.ndarray, dtype: MapType) -> np.ndarray:
    """Return probabilities as a map of a type: times 65535 or 255 and rounded, or as they are.

    Parameters
    ----------
    probability : ndarray of float32, any shape
        In [0, 1]; NaN becomes 0 in whole numbers.

    Returns
    -------
    ndarray of `dtype`, that shape

    Examples
    --------
    >>> to_map_type(np.float32([0, 0.5, 1]), "uint16").tolist()
    [0, 32768, 65535]
    """
    if dtype == "float32":
        return probability
    most = np.iinfo(dtype).max

    def scaled(plane: np.ndarray) -> np.ndarray:
        return np.clip(np.floor(np.nan_to_num(plane.astype(np.float64)) * most + 0.5), 0, most)

    return _plane_by_plane(scaled, [probability], dtype)


def predict_boxes(
    volume: Volume,
    plan: Sequence[tuple[Roi, Collection[str]]],
    nets: Mapping[str, NetInUse],
    *,
    tiling: Tiling,
    rules: Rules = CORRECTED,
    unrounded: bool = False,
    before_pass: Callable[[], None] | None = None,
) -> Iterator[tuple[Roi, dict[str, np.ndarray]]]:
    """Predict boxes one after another, each with the nets that it names; images are read once for all of them.

    Parameters
    ----------
    volume : Volume
        The images.
    plan : sequence of (Roi, collection of str)
        Boxes, best in the order of `boxes_of`, and which nets predict them.
    nets : mapping of str to NetInUse
    tiling : Tiling
        How the volume is cut.
    rules : Rules
    unrounded : bool
        Yield probabilities as they are, in [0, 1], instead of maps.
    before_pass : callable, optional
        Called before each box, and before each batch of a window's variants; what it raises ends the prediction.

    Yields
    ------
    Roi, dict of str to ndarray of uint8, shape of the box
        A box and its probability map by each of its nets; float32 where `unrounded`.
    """
    frames = max(one.net.frames for one in nets.values())
    by_package = any(goes_by_package(box, tiling) for box, _ in plan[:1])
    reader = PackageReader(volume, tiling, frames=frames, by_package=by_package)
    with ExitStack() as stack:
        streams = {
            name: stack.enter_context(
                closing(
                    _stream(one, [box for box, names in plan if name in names], reader, tiling, unrounded, before_pass)
                )
            )
            for name, one in nets.items()
        }
        for box, names in plan:
            if before_pass:
                before_pass()
            yield box, {name: _made(streams[name], rules, unrounded) for name in nets if name in names}


@dataclass(frozen=True, kw_only=True)
class BoxPredictor:
    """Predicts boxes with nets that are in memory: `predict_boxes`, but for the plan.

    Attributes
    ----------
    volume : Volume
    nets : mapping of str to NetInUse
    tiling : Tiling
    rules : Rules
    unrounded : bool
        Whether boxes come as probabilities instead of maps.
    """

    volume: Volume
    nets: Mapping[str, NetInUse]
    tiling: Tiling
    rules: Rules
    unrounded: bool = False

    def predict(
        self, plan: Sequence[tuple[Roi, Collection[str]]], *, before_pass: Callable[[], None] | None = None
    ) -> Iterator[tuple[Roi, dict[str, np.ndarray]]]:
        """Yield every box of `plan`, in its order, with the maps of its nets; see `predict_boxes`."""
        return predict_boxes(
            self.volume,
            plan,
            self.nets,
            tiling=self.tiling,
            rules=self.rules,
            unrounded=self.unrounded,
            before_pass=before_pass,
        )


def _stream(
    one: NetInUse,
    boxes: Sequence[Roi],
    reader: PackageReader,
    tiling: Tiling,
    unrounded: bool,
    before_pass: Callable[[], None] | None,
) -> Generator[np.ndarray, None, None]:
    """Yield what one net makes of each box: 16-bit probabilities, as packages are stored in, or unrounded ones."""

    def parts() -> Iterator[tuple[Package, int]]:
        return ((package, z) for box in boxes for z, package in _parts(box, tiling))

    windows = (reader.window(package, z, one.net.frames) for package, z in parts())
    with closing(ahead(windows, depth=WINDOWS_AHEAD)) as made:
        means = one.net.averaged(made, one.variants, unrounded=unrounded, before_batch=before_pass)
        for box in boxes:
            yield _filled(box, map(one.calibrated, means), tiling, unrounded)


def _made(stream: Iterator[np.ndarray], rules: Rules, unrounded: bool) -> np.ndarray:
    """Return a net's next box as it is kept; 16-bit values are gone before another net's come."""
    return next(stream) if unrounded else _to_maps(next(stream), rules)


def goes_by_package(box: Roi, tiling: Tiling) -> bool:
    """Return whether all planes of a package are predicted before the next one: what lies deep on disk is read once.

    Where packages are averaged, they come plane by plane: their sums are those of one plane.
    """
    return box.shape[0] > 1 and not tiling.blend


def _parts(box: Roi, tiling: Tiling) -> Iterator[tuple[int, Package]]:
    """Yield the planes of packages that a box is made of, in the order in which they are predicted."""
    if not goes_by_package(box, tiling):
        yield from ((z, package) for z in planes_of(box) for package in tiling.packages_meeting(box, z))
        return
    tiles: dict[int, list[tuple[int, Package]]] = {}
    for z in planes_of(box):
        for package in tiling.packages_meeting(box, z):
            tiles.setdefault(package.tile, []).append((z, package))
    for tile in sorted(tiles):
        yield from tiles[tile]


def _filled(box: Roi, means: Iterator[np.ndarray], tiling: Tiling, unrounded: bool) -> np.ndarray:
    """Return what a net makes of a box."""
    values = np.zeros(box.shape, dtype=np.float32 if unrounded else np.uint16)
    begin = box.begin[1:]
    if not tiling.blend:
        for z, package in _parts(box, tiling):
            stitching.paste(values[z - box.begin[0]], package, next(means), begin=begin)
        return values
    for z, plane in zip(planes_of(box), values, strict=True):
        sums = np.zeros(plane.shape)
        for package in tiling.packages_meeting(box, z):
            stitching.blend(sums, package, next(means), tiling.weights(package), begin=begin)
        plane[:] = stitching.rounded(sums, plane.dtype)
    return values


def planes_of(box: Roi) -> range:
    """Return the z of the planes of a box."""
    return range(box.begin[0], box.end[0])


def _to_maps(values: np.ndarray, rules: Rules) -> np.ndarray:
    """Scale 16-bit probabilities to 8 bits, plane by plane."""
    maps = np.empty(values.shape, np.uint8)
    for into, plane in zip(maps, values, strict=True):
        into[:] = stitching.to_probability_map(plane, rules=rules)
    return maps
