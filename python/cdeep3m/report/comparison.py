"""How far the predictions of two engines agree, with the same trained model, on the same images."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from cdeep3m.engines.base import STACK_OUTPUT, PredictJob, Progress, plane_file
from cdeep3m.errors import EngineError, InputError
from cdeep3m.geometry import Roi, to_caffe_axes
from cdeep3m.maps.agreement import Agreement, agreement_of
from cdeep3m.prediction.over_files.postprocess import read_prediction
from cdeep3m.system.files import scratch_folder
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.volumes.hdf5 import write_datasets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from cdeep3m.engines.base import Engine, TrainedModel
    from cdeep3m.tiling.packages import Package
    from cdeep3m.volumes import Volume

AS_IT_IS = VARIANTS[0]


def compare_engines(
    engines: tuple[tuple[Engine, int], tuple[Engine, int]],
    model: TrainedModel,
    volume: Volume,
    *,
    planes: int | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Agreement:
    """Predict the same HDF5 stacks with two engines and compare the foreground, in the images' own voxels.

    The stacks are the packages of the volume, in one orientation and without padding along z; nets see zeros beyond
    their ends. They and the predictions lie in a temporary folder, a package at a time.

    Parameters
    ----------
    engines : two of (Engine, int)
        Each with the GPU number to use.
    model : TrainedModel
    volume : Volume
        The images.
    planes : int, optional
        Compare this many planes, from the middle of the volume; default: all.
    report : callable, optional
        Told how many of the packages have been compared.

    Returns
    -------
    Agreement

    Raises
    ------
    EngineError
        An engine failed, or left out a plane.
    CDeep3MError
        The images or the model cannot be read.
    """
    wanted = middle(volume.shape[0], planes)
    parts = [(package, both) for package in Tiling.of(volume.shape).packages if (both := overlap(package, wanted))]

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for done, (package, part) in enumerate(parts, start=1):
            yield from _predictions(engines, model, volume, package, part)
            if report:
                report(Progress(done, len(parts)))

    return agreement_of(pairs())


def middle(depth: int, planes: int | None) -> range:
    """Return so many planes from the middle of a volume, or all.

    Raises
    ------
    InputError
        When there are not so many.

    Examples
    --------
    >>> middle(10, 4), middle(10, None)
    (range(3, 7), range(0, 10))
    """
    count = depth if planes is None else planes
    if not 1 <= count <= depth:
        raise InputError(f"{count} planes to compare were asked for; the images have 1 to {depth}")
    begin = (depth - count) // 2
    return range(begin, begin + count)


def overlap(package: Package, planes: range) -> range:
    """Return which of `planes` belong to a package."""
    return range(max(package.planes.start, planes.start), min(package.planes.stop, planes.stop))


def _predictions(
    engines: tuple[tuple[Engine, int], tuple[Engine, int]],
    model: TrainedModel,
    volume: Volume,
    package: Package,
    planes: range,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what both engines make of some planes of a package, cut to what the package is trusted for."""
    with scratch_folder(Path(gettempdir()) / "cdeep3m-fidelity") as folder:
        stack = folder / "image_stacks_v1.h5"
        begin, end = package.read.begin, package.read.end
        box = Roi((planes.start, *begin[1:]), (planes.stop, *end[1:]))
        write_datasets(stack, {"data": to_caffe_axes(package.canvas(volume.read(box)))})
        outs = [_predict(engine, gpu, model, stack, folder / str(k)) for k, (engine, gpu) in enumerate(engines)]
        for k in range(len(planes)):
            one, other = (_read(engine, out, k, package) for (engine, _), out in zip(engines, outs, strict=True))
            yield one, other


def _predict(engine: Engine, gpu: int, model: TrainedModel, stack: Path, out: Path) -> Path:
    out.mkdir()
    job = PredictJob(model=model, stacks=[(stack, out / f"v{AS_IT_IS.index}")], gpu=gpu)
    engine.predict(job)
    return out


def _read(engine: Engine, out: Path, k: int, package: Package) -> np.ndarray:
    name = plane_file(STACK_OUTPUT, k)
    if not (out / f"v{AS_IT_IS.index}" / name).is_file():
        raise EngineError(
            f"the engine {engine.name} ended without an error but wrote no {name}: expected one file a plane. "
            "Look whether its tools are those of a Caffe that predicts with --shift_axis"
        )
    plane = read_prediction(out, AS_IT_IS, k)
    rows, columns = package.canvas_write
    if plane.shape[0] < rows.stop or plane.shape[1] < columns.stop:
        raise EngineError(
            f"the engine {engine.name} predicted planes of {plane.shape[1]} x {plane.shape[0]} pixels; expected "
            "1024 x 1024, the size of the input in deploy.prototxt"
        )
    return plane[package.canvas_write]
