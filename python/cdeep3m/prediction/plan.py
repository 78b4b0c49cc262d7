"""What a prediction will take, before anything is loaded: boxes, memory, disk, time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.engines.base import RehearsingEngine
from cdeep3m.errors import InputError
from cdeep3m.maps.open import chunks_of, format_called
from cdeep3m.maps.pyramid import level_sizes
from cdeep3m.matlab_ports.break_large_img import CANVAS
from cdeep3m.prediction.core import WINDOWS_AHEAD, goes_by_package
from cdeep3m.prediction.reading import planes_kept, slabs_of
from cdeep3m.prediction.streaming import waiting_for
from cdeep3m.system.memory import resident
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.packages import fitting_side
from cdeep3m.tiling.variants import variants_for
from cdeep3m.volumes.mapped import IN_MEMORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdeep3m.engines.base import InProcessEngine, Rehearsal, TrainedModel
    from cdeep3m.geometry import Coordinate, Roi
    from cdeep3m.prediction.run import PredictRequest
    from cdeep3m.volumes.base import Volume

USUAL_REACH = 76
"""How far nets look, where tiles are blended and it has not been measured yet."""
DECODING = 3
"""Planes of bytes that it takes to decode a whole one: what is packed, what is unpacked, and its gray values."""
PAGE = 4096
"""Bytes that the system keeps together."""
BYTES_OF_AN_ACCOUNT = 430
"""What is known of a box, whether it is done or not."""


@dataclass(frozen=True, kw_only=True)
class PredictionPlan:
    """What a prediction will take.

    Attributes
    ----------
    shape : tuple of int
        Voxels of the volume, (z, y, x).
    boxes : int
        What is predicted, written and resumed at a time.
    box : tuple of int
        Voxels of the largest one.
    tiles : int
        Tiles of a plane.
    passes : int
        Windows that the nets see, in all their variants.
    memory : dict of str to int
        Bytes, by what takes them; the most at once is about their sum.
    disk : int
        Bytes of all maps, without compression.
    disk_meanwhile : int
        Bytes of nameless files in the run's folder, which hold planes while their tiles are predicted.
    seconds : float
        That the nets compute.
    """

    shape: Coordinate
    boxes: int
    box: Coordinate
    tiles: int
    passes: int
    memory: Mapping[str, int]
    disk: int
    disk_meanwhile: int
    seconds: float

    @property
    def bytes_at_most(self) -> int:
        """Memory, all in all."""
        return sum(self.memory.values())


def plan_prediction(
    request: PredictRequest,
    engine: InProcessEngine,
    models: Mapping[str, TrainedModel],
    volume: Volume,
    *,
    gpu: int,
    reach: int | None = None,
) -> PredictionPlan:
    """Count what a run takes; only the nets' shapes and the volume's size are looked at.

    Parameters
    ----------
    request : PredictRequest
    engine : InProcessEngine
    models : mapping of str to TrainedModel
    volume : Volume
    gpu : int
    reach : int, optional
        How far the nets look, where tiles are blended.

    Raises
    ------
    InputError
        The engine cannot tell what nets cost.
    """
    if not isinstance(engine, RehearsingEngine):
        raise InputError(f"the engine {engine.name} cannot tell what nets cost: leave --plan out")
    chunks = chunks_of(request.format, volume.shape)
    tiling = Tiling.of(
        volume.shape,
        rules=request.rules,
        folder_input=volume.is_folder,
        fit=request.fit,
        fill=request.fill,
        chunks=chunks,
        reach=(USUAL_REACH if reach is None else reach) if request.blend else None,
    )
    program = resident()
    boxes = tiling.boxes(chunks=chunks)
    sides = _canvas(tiling)
    costs = {net: engine.rehearse(model, sides, gpu=gpu, precision=request.precision) for net, model in models.items()}
    windows = tiling.tiles * volume.shape[0]
    passes = {net: windows * len(variants_for(net, request.aug_speed)) for net in models}
    number_of_maps = len(models) + (len(models) > 1)
    frames = max(cost.frames for cost in costs.values())
    return PredictionPlan(
        shape=volume.shape,
        boxes=len(boxes),
        box=max((box.shape for box in boxes), key=math.prod),
        tiles=tiling.tiles,
        passes=sum(passes.values()),
        memory={"program": program} | _memory(request, volume, tiling, boxes, sides, list(costs.values())),
        disk=_disk(request, volume, maps=number_of_maps),
        disk_meanwhile=bytes_meanwhile(request, volume, tiling, boxes[0], frames=frames, maps=number_of_maps),
        seconds=sum(costs[net].seconds * passes[net] for net in models),
    )


def _canvas(tiling: Tiling) -> tuple[int, int]:
    """Return height and width of the largest canvas."""
    if not tiling.fit:
        return CANVAS, CANVAS
    y, x = (min(CANVAS, fitting_side(side, at_edge=True)) for side in tiling.largest_read)
    return y, x


def _memory(
    request: PredictRequest,
    volume: Volume,
    tiling: Tiling,
    boxes: Sequence[Roi],
    sides: tuple[int, int],
    nets: Sequence[Rehearsal],
) -> dict[str, int]:
    """Return what takes how many bytes beside the program."""
    frames = max(net.frames for net in nets)
    by_package = goes_by_package(boxes[0], tiling)
    slabs = slabs_of(volume, tiling, frames=frames, by_package=by_package)
    window = frames * math.prod(sides) * volume.dtype.itemsize
    cached = getattr(volume, "cache_bytes", 0)
    voxels = max(math.prod(box.shape) for box in boxes)
    held = min(slabs.kept, -(-volume.shape[0] // slabs.depth)) * slabs.bytes_of_one
    bytes_of_plane = math.prod(volume.shape[1:]) * volume.dtype.itemsize
    whole = planes_kept(volume, tiling, frames=frames, chunks=chunks_of(request.format, volume.shape))
    decoded = DECODING * bytes_of_plane if whole else 0
    return {
        "nets": max(net.memory for net in nets) + sum(net.weights for net in nets),
        "images": held + cached + decoded + (WINDOWS_AHEAD + 2) * window,
        "account": BYTES_OF_AN_ACCOUNT * len(boxes),
        "maps": _bytes_of_boxes(request, voxels, nets=len(nets), waiting=waiting_for(boxes, request.dtype != "uint8"))
        + _gathered(request, volume, boxes, maps=len(nets) + (len(nets) > 1)),
    }


def _gathered(request: PredictRequest, volume: Volume, boxes: Sequence[Roi], *, maps: int) -> int:
    """Return the bytes of planes whose images are written only when all of their tiles are there.

    Of a plane that is gathered in a file, a tile's pages are in memory.
    """
    if boxes[0].shape[1:] == volume.shape[1:] or request.format != "png":
        return 0
    plane = math.prod(volume.shape[1:])
    _, rows, columns = boxes[0].shape
    return maps * (plane if plane <= IN_MEMORY else rows * (columns + PAGE))


def bytes_meanwhile(
    request: PredictRequest, volume: Volume, tiling: Tiling, box: Roi, *, frames: int, maps: int
) -> int:
    """Return the bytes on disk of planes whose tiles are being predicted: images decoded whole, and PNG maps gathered.

    Parameters
    ----------
    request : PredictRequest
    volume : Volume
        The images.
    tiling : Tiling
    box : Roi
        What is predicted at a time.
    frames : int
        Planes that the deepest net sees at once.
    maps : int
        Of all nets, and their average.
    """
    chunks = chunks_of(request.format, volume.shape)
    plane = math.prod(volume.shape[1:])
    decoded = planes_kept(volume, tiling, frames=frames, chunks=chunks) * plane * volume.dtype.itemsize
    gathered = request.format == "png" and box.shape[1:] != volume.shape[1:] and plane > IN_MEMORY
    return decoded + (maps * plane if gathered else 0)


def _bytes_of_boxes(request: PredictRequest, voxels: int, *, nets: int, waiting: int) -> int:
    """Return the bytes of the boxes that are in memory at once: one is predicted, others are written."""
    size = np.dtype(request.dtype).itemsize
    made = 4 if request.dtype != "uint8" else 1
    predicted = voxels * (nets * made + (0 if made == 4 else 2))
    # Of whole numbers of 16 bits there are a copy, and about half of one that is being packed.
    converted = 0 if request.dtype in ("uint8", "float32") else 3 * nets * voxels * size // 2
    written = voxels * nets * waiting * made + converted + voxels * size * (nets > 1)
    blended = 8 * voxels if request.blend and voxels <= CANVAS**2 else 0
    return predicted + written + blended


def _disk(request: PredictRequest, volume: Volume, *, maps: int) -> int:
    """Return the bytes of all maps, pyramids included, as they are before they are compressed."""
    chunked = format_called(request.format).chunks is not None
    levels = level_sizes(volume.shape, volume.placement.voxel_size) if chunked else []
    voxels = sum(math.prod(level.shape) for level in levels) or math.prod(volume.shape)
    return maps * voxels * np.dtype(request.dtype).itemsize
