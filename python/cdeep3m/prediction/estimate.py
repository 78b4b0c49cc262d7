"""How long a prediction will take, and how much memory and disk, from a short measurement on its own data."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.geometry import Roi
from cdeep3m.prediction.core import NetInUse, predict_boxes
from cdeep3m.tiling.variants import variants_for
from cdeep3m.volumes.png import write_plane

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdeep3m.engines.base import InProcessEngine, LoadedNet, TrainedModel
    from cdeep3m.prediction.run import PredictRequest
    from cdeep3m.tiling.grid import Tiling
    from cdeep3m.tiling.variants import Variant
    from cdeep3m.volumes.base import Volume

SECONDS = 12.0
"""So long each net is measured, once it is warm; at least a pass."""
MOST_PASSES = 64


@dataclass(frozen=True, kw_only=True)
class NetCost:
    """What one net costs.

    Attributes
    ----------
    net : str
    load : float
        Seconds to read the model and make the first pass.
    one_pass : float
        Seconds for one variant of one package's plane.
    passes : int
        How many of them the whole volume takes.
    """

    net: str
    load: float
    one_pass: float
    passes: int

    @property
    def seconds(self) -> float:
        """How long the whole volume takes."""
        return self.load + self.one_pass * self.passes


@dataclass(frozen=True, kw_only=True)
class PredictionCost:
    """What a prediction costs.

    Attributes
    ----------
    nets : tuple of NetCost
    files : float
        Seconds for reading images and writing maps, which mostly pass while nets compute; not counted in `seconds`.
    disk : int
        Bytes of all maps.
    voxels : int
    """

    nets: tuple[NetCost, ...]
    files: float
    disk: int
    voxels: int

    @property
    def seconds(self) -> float:
        """How long the whole run takes: the nets, or the files where those take longer."""
        return max(sum(net.seconds for net in self.nets), self.files)


def estimate_prediction(
    request: PredictRequest,
    engine: InProcessEngine,
    models: Mapping[str, TrainedModel],
    volume: Volume,
    tiling: Tiling,
    *,
    gpu: int,
    seconds: float = SECONDS,
) -> PredictionCost:
    """Measure a few passes of every net on the middle of the volume, and count how many the whole takes.

    Parameters
    ----------
    request : PredictRequest
        What would be predicted; its folder is not touched.
    engine : InProcessEngine
    models : mapping of str to TrainedModel
    volume : Volume
        The images.
    tiling : Tiling
    gpu : int
    seconds : float
        To measure each net for.

    Returns
    -------
    PredictionCost
    """
    box = _box_to_measure(volume, tiling)
    passes = tiling.tiles * volume.shape[0]
    costs, maps = [], []
    for net, model in models.items():
        begin = time.perf_counter()
        loaded = engine.load(model, gpu=gpu, precision=request.precision)
        variants = variants_for(net, request.aug_speed)
        maps.append(_predict(loaded, variants[:1], volume, box, tiling))
        load = time.perf_counter() - begin
        one = _measure(loaded, variants, volume, box, tiling, seconds)
        costs.append(NetCost(net=net, load=load, one_pass=one, passes=passes * len(variants)))
    each, written = _measure_files(volume, box, maps[0])
    share = float(np.prod(volume.shape, dtype=np.float64)) / float(np.prod(box.shape))
    folders = len(models) + (len(models) > 1)
    return PredictionCost(
        nets=tuple(costs),
        files=share * each * folders,
        disk=round(share * written * folders),
        voxels=int(np.prod(volume.shape, dtype=np.int64)),
    )


def _box_to_measure(volume: Volume, tiling: Tiling) -> Roi:
    """Return what one package is trusted for, of the middle plane."""
    z = volume.shape[0] // 2
    packages = tiling.packages_at(z)
    write = packages[len(packages) // 2].write
    return Roi((z, *write.begin[1:]), (z + 1, *write.end[1:]))


def _predict(net: LoadedNet, variants: Sequence[Variant], volume: Volume, box: Roi, tiling: Tiling) -> np.ndarray:
    plan = [(box, ("net",))]
    ((_, maps),) = predict_boxes(volume, plan, {"net": NetInUse(net, variants)}, tiling=tiling, rules=tiling.rules)
    return maps["net"][0]


def _measure(
    net: LoadedNet, variants: Sequence[Variant], volume: Volume, box: Roi, tiling: Tiling, seconds: float
) -> float:
    """Return the seconds of a pass, from as many as fit into the time; the first call tells how many do."""
    begin = time.perf_counter()
    _predict(net, variants[:1], volume, box, tiling)
    first = time.perf_counter() - begin
    rounds = max(1, min(MOST_PASSES, round(seconds / max(first, 1e-6))) // len(variants))
    fewer = variants[: max(1, min(len(variants), int(seconds / max(first, 1e-6))))]
    begin, done = time.perf_counter(), 0
    plan = [(box, ("net",))] * rounds
    for _ in predict_boxes(volume, plan, {"net": NetInUse(net, fewer)}, tiling=tiling, rules=tiling.rules):
        done += len(fewer)
    return (time.perf_counter() - begin) / done


def _measure_files(volume: Volume, box: Roi, plane: np.ndarray) -> tuple[float, int]:
    """Return the seconds to read images and write a map, and the bytes of the map."""
    with tempfile.TemporaryDirectory(prefix="cdeep3m-") as made:
        path = Path(made) / "plane.png"
        begin = time.perf_counter()
        volume.read(box)
        write_plane(path, plane)
        return time.perf_counter() - begin, path.stat().st_size
