"""A whole prediction exactly as CDeep3M2's runprediction.sh does it."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cdeep3m.edition2.enhancement import CUT
from cdeep3m.engines.base import InProcessEngine, Progress
from cdeep3m.errors import InputError, RunError, StoppedError, failing_with
from cdeep3m.prediction import as_edition_2 as steps
from cdeep3m.runs.names import MAP_PLANE
from cdeep3m.volumes.as_edition_2 import open_as_edition_2
from cdeep3m.volumes.png import write_plane

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from cdeep3m.engines.base import Engine, LoadedNet, TrainedModel
    from cdeep3m.geometry import Roi
    from cdeep3m.runs.prediction import PredictionRun

ENHANCED, OVERLAY = "enhanced", "overlay"
OVERLAYS_FAILED = 12
"""Exit status of CDeep3M2 when anything after the enhancement fails: it goes on to the overlays (defect 25)."""


def demand_new(run: PredictionRun, nets: Iterable[str]) -> None:
    """Refuse a folder in which nets have predicted before, as CDeep3M2 does (defect 26).

    Raises
    ------
    RunError
        With the exit status of the overlays.
    """
    begun = [net for net in nets if run.net_folder(net).exists()]
    with failing_with(OVERLAYS_FAILED):
        if begun:
            raise RunError(
                f"{run.net_folder(begun[0])} is there, and CDeep3M2 never finishes a folder that it has begun. Name "
                "another one for the maps, or leave out --exact"
            )


def discard_overlays(run: PredictionRun) -> None:
    """Remove the overlays of an earlier run, and the folders that CDeep3M2 makes where they hold nothing else."""
    for path in (run.folder / OVERLAY).glob("overlay_*.png"):
        path.unlink()
    for folder in (run.folder / OVERLAY, run.ensemble_folder):
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _failing_as_edition_2() -> Iterator[None]:
    """Let whatever stops a net end with the status of the overlays."""
    try:
        with failing_with(OVERLAYS_FAILED):
            yield
    except StoppedError as stop:
        stop.exit_code = OVERLAYS_FAILED
        raise


def enhance_first(images: Path, out: Path, denoise: int | None) -> Path:
    """Enhance the images into `out`/enhanced, unless `denoise` is 0; return what the nets see, with status 4 on errors.

    Planes that an interrupted run has enhanced are made again.
    """
    cut = CUT if denoise is None else denoise
    if cut == 0:
        return images
    with failing_with(4):
        steps.write_enhanced(images, out / ENHANCED, cut)
    return out / ENHANCED


def predict_as_edition_2(
    run: PredictionRun,
    images: Path,
    models: Mapping[str, TrainedModel],
    engine: Engine,
    *,
    gpu: int,
    speed: int,
    report: Callable[[str, Progress], None],
) -> None:
    """Predict, merge, average and overlay as CDeep3M2 does.

    Parameters
    ----------
    run : PredictionRun
        Its folder, in which packages are defined.
    images : Path
        What the nets see, enhanced if they are to be.
    models : mapping of net to TrainedModel
    engine : Engine
        One that predicts arrays.
    gpu : int
    speed : int
        --augspeed.
    report : callable
        Told after every plane.

    Raises
    ------
    CDeep3MError
        With the exit status of the stage that failed, 12 for all after the images were read.
    """
    if not isinstance(engine, InProcessEngine):
        raise InputError(f"the engine {engine.name} works on files; --exact --edition 2 needs the embedded engine")
    with failing_with(4):
        volume = open_as_edition_2(images, purpose="prediction")
    run.log("preprocess", f"{images}: {volume.shape} voxels (z, y, x)")
    for name, model in models.items():
        with _failing_as_edition_2():
            _predict_net(run, volume.read, volume.shape, engine.load(model, gpu=gpu), name, speed, report)
    with failing_with(OVERLAYS_FAILED):
        _ensemble(run, list(models))
        count = steps.write_overlays(run.ensemble_folder, images, run.folder / OVERLAY)
    run.log("postprocess", f"{count} overlays written")


def _predict_net(
    run: PredictionRun,
    read: Callable[[Roi], np.ndarray],
    shape: tuple[int, int, int],
    net: LoadedNet,
    name: str,
    speed: int,
    report: Callable[[str, Progress], None],
) -> None:
    maps = steps.predicted_maps(read, shape, net, name, speed, before_pass=run.demand_no_kill)
    for z, plane in enumerate(maps):
        write_plane(run.net_folder(name) / MAP_PLANE.format(z + 1), plane)
        report(name, Progress(z + 1, shape[0]))
    run.mark_net_done(name)
    run.log("prediction", f"{name}: {shape[0]} planes predicted")


def _ensemble(run: PredictionRun, nets: Sequence[str]) -> None:
    folders: list[str | os.PathLike[str]] = [run.net_folder(net) for net in nets]
    if len(folders) == 1:
        run.link_ensemble(run.net_folder(nets[0]))
    else:
        steps.ensemble_folders(folders, run.ensemble_folder)
