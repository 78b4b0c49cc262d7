"""What `import cdeep3m` offers: volumes, trained models, predictions and trainings, from Python."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from cdeep3m.engines.base import CPU, InProcessEngine, Precision
from cdeep3m.engines.select import select_engine
from cdeep3m.errors import EngineError, InputError, RunError
from cdeep3m.evaluation.held_out import judge_for
from cdeep3m.maps.base import MapSpec
from cdeep3m.maps.open import open_maps
from cdeep3m.nets.prototxts import NETS
from cdeep3m.prediction.core import NetInUse, average_nets, predict_boxes
from cdeep3m.prediction.reading import sample_of
from cdeep3m.rules import SPEEDS
from cdeep3m.runs.gray_range import GrayRange, check_range, read_range
from cdeep3m.runs.provenance import keep_record, trained_on
from cdeep3m.runs.recipe import demand_same_recipe, keep_recipe
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.runs.validation import calibration_for
from cdeep3m.system.files import demand_apart
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.variants import variants_for
from cdeep3m.training.by_options import (
    ORIGINAL,
    RECIPES,
    as_planned,
    called_options,
    followed_by,
    full_request_of,
    hold_out_what_there_is,
    make_of,
    normalisation_of,
    plan_by,
    seconds_of,
    split_of,
)
from cdeep3m.training.data import fill_volumes, training_range, training_variants
from cdeep3m.training.folder import create_run, demand_nets
from cdeep3m.training.holding_out import training_planes
from cdeep3m.training.run import train as train_run
from cdeep3m.training.sources import Loaded, record_of
from cdeep3m.volumes.arrays import ArrayVolume
from cdeep3m.volumes.enhanced import enhanced
from cdeep3m.volumes.gray import demand_finite
from cdeep3m.volumes.open import open_volume
from cdeep3m.volumes.values import GrayVolume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import SimpleNamespace

    from numpy.typing import ArrayLike

    from cdeep3m.geometry import Roi
    from cdeep3m.volumes.base import Volume
    from cdeep3m.volumes.enhancement import Enhancement

    Address = str | os.PathLike[str]

GIVEN = "the images"
"""What images without a name are called in messages."""

__all__ = ["Model", "load_model", "open_volume", "predict", "train"]


@dataclass(frozen=True)
class Model:
    """Trained nets in memory.

    Attributes
    ----------
    nets : mapping of str to NetInUse
        By name, as in the folder of the training.
    enhancement : Enhancement, optional
        How the images of the training were enhanced, and those that are predicted will be.
    grays : GrayRange, optional
        Gray values of the images of the training, where they are known.
    """

    nets: Mapping[str, NetInUse]
    enhancement: Enhancement | None = None
    grays: GrayRange | None = None


def load_model(
    trained: Address,
    *,
    nets: Sequence[str] | None = None,
    aug_speed: int = 1,
    gpu: str | int = "all",
    precision: Precision = "float32",
    calibrated: bool = True,
    label: int = 1,
) -> Model:
    """Read the nets of a trained model and make them ready.

    Parameters
    ----------
    trained : path
        Folder of a training, or of a released model.
    nets : sequence of str, optional
        Which nets; default: those of 1fm, 3fm and 5fm that are trained, or the only other one.
    aug_speed : int
        1, 2, 4 or 10: how many of the test-time-augmentation variants are left out.
    gpu : "all" or int
        "all": the first GPU, or the CPU where there is none; -1: the CPU.
    precision : {"float32", "fast"}
        Caffe's numbers, or shorter ones.
    calibrated : bool
        Calibrate the maps of nets that have a calibration beside them.
    label : int
        Class whose probability the maps show, of a model of several.

    Returns
    -------
    Model

    Raises
    ------
    InputError
        `aug_speed` or `precision` is none of these.
    MissingModelError
        There is no such net, or none at all.
    NetError
        Weights and net do not fit.
    """
    if aug_speed not in SPEEDS:
        raise InputError(f"found aug_speed {aug_speed}; expected one of {', '.join(map(str, SPEEDS))}")
    if precision not in get_args(Precision):
        raise InputError(f"found precision {precision!r}; expected one of {', '.join(get_args(Precision))}")
    engine, gpus = select_engine("embedded", gpu=str(gpu))
    if not isinstance(engine, InProcessEngine):
        raise EngineError(f"the engine {engine.name} predicts files; expected one that predicts arrays")
    run = TrainedRun(Path(trained))
    record = trained_on(trained)
    wanted = _names(nets) or run.default_nets()
    return Model(
        {
            net: NetInUse(
                engine.load(model, gpu=gpus[0], precision=precision),
                variants_for(net, aug_speed),
                calibration_for(model.weights, label=label, say=True) if calibrated else None,
            )
            for net, model in ((net, replace(run.model(net), label=label)) for net in wanted)
        },
        enhancement=record.enhancement if record else None,
        grays=read_range(run.folder),
    )


def predict(
    images: ArrayLike | Volume | Address, model: Model | Address, out: Address | None = None, *, fit: bool = False
) -> np.ndarray | Path:
    """Predict the probability map of a volume: the average of the nets of a model.

    Parameters
    ----------
    images : array of shape (z, y, x), Volume, or address
        8- or 16-bit gray values, as the model was trained on, or floating point from 0 to 1, which are read as 16 bits.
        An array may be one of h5py, Zarr, Dask or PyTorch.
    model : Model or path
        What `load_model` returned, or the folder of a training.
    out : address, optional
        Gets the map, a box at a time; must not hold one yet. For a run that can be interrupted and goes on, with the
        maps of every net, use the command `cdeep3m predict`.
    fit : bool
        Show nets the smallest canvas that holds a tile, instead of 1024 x 1024: sooner on small images.

    Returns
    -------
    ndarray of uint8, shape (z, y, x), or Path
        The map, or `out` where it was given.

    Raises
    ------
    CDeep3MError
        Images or model cannot be read, images have other gray values than those of the training, or `out` holds
        something.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 40, 48), dtype=np.uint8)
    >>> with TemporaryDirectory() as folder:
    ...     trained = train(images, images > 127, folder, nets=["1fm"], iterations=1, width=32, patch_side=32)
    ...     predict(images, load_model(trained, aug_speed=10), fit=True).shape
    (2, 40, 48)
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    volume = _volume(images)
    if loaded.enhancement:
        volume = enhanced(volume, loaded.enhancement, name=GIVEN)
    else:
        check_range(GrayRange.of_parts(sample_of(volume)), loaded.grays, images=GIVEN)
    if out is not None:
        return _predict_to(out, volume, loaded, fit=fit)
    tiling = Tiling.of(volume.shape, fit=fit)
    whole = np.empty(volume.shape, np.uint8)
    for box, found in predict_boxes(volume, _plan(tiling.boxes(), loaded), loaded.nets, tiling=tiling):
        whole[box.slices] = average_nets(list(found.values()))
    return whole


def _predict_to(out: Address, volume: Volume, model: Model, *, fit: bool) -> Path:
    """Predict to an address that holds nothing yet."""
    path = _place(out)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} is there already; expected a new or empty one. Delete it or choose another")
    maps = open_maps(out, MapSpec(shape=volume.shape, placement=volume.placement))
    tiling = Tiling.of(volume.shape, fit=fit, chunks=maps.chunks)
    boxes = maps.missing(tiling.boxes(chunks=maps.chunks))
    for box, found in predict_boxes(volume, _plan(boxes, model), model.nets, tiling=tiling):
        maps.write(box, average_nets(list(found.values())))
    maps.finish()
    return path


def _plan(boxes: Sequence[Roi], model: Model) -> list[tuple[Roi, tuple[str, ...]]]:
    return [(box, tuple(model.nets)) for box in boxes]


def _volume(images: ArrayLike | Volume | Address) -> Volume:
    """Open images as gray values: the same ones from memory as from a file."""
    if isinstance(images, str | os.PathLike):
        return open_volume(images)
    if hasattr(images, "read"):
        return cast("Volume", images)
    return GrayVolume(ArrayVolume(_array(images, GIVEN)), "the array of images")


def _labels(labels: ArrayLike | Address) -> Volume:
    """Open labels as 0 and 1."""
    if isinstance(labels, str | os.PathLike):
        return open_volume(labels, role="label")
    array = np.asarray(_array(labels, "the labels"))
    demand_finite(array, "the array of labels")
    values = np.unique(array)
    if len(values) > 2 or values[0] != 0:
        raise InputError(f"found labels of {', '.join(map(str, values[:8]))}; expected 0 and one other value")
    return ArrayVolume((array != 0).astype(np.uint8))


def _names(nets: Sequence[str] | None) -> Sequence[str]:
    return nets.split(",") if isinstance(nets, str) else nets or ()


def _place(out: Address) -> Path:
    if not os.fspath(out):
        raise InputError("found an empty name to write to; expected a file or folder")
    return Path(out)


def _digest(*arrays: np.ndarray) -> str:
    """Return what tells arrays from others."""
    found = hashlib.blake2b(digest_size=32)
    for array in arrays:
        found.update(repr((array.shape, array.dtype.str)).encode())
        for plane in array:
            found.update(np.ascontiguousarray(plane).data)
    return found.hexdigest()


def _array(values: Any, name: str) -> Any:
    """Return what is an array, of any library; one that is read in parts stays so."""
    if np.ma.is_masked(values):
        raise InputError(f"{name} are a masked array; expected a value for every voxel. Fill it, as with filled(0)")
    if isinstance(getattr(values, "dtype", None), np.dtype) and hasattr(values, "ndim"):
        return values
    if not hasattr(values, "__array__"):
        raise InputError(f"{name} are a {type(values).__name__}; expected an array of shape (z, y, x), or an address")
    return np.asarray(values)


def train(
    images: ArrayLike | Address,
    labels: ArrayLike | Address,
    out: Address,
    *,
    recipe: str = RECIPES[0],
    nets: Sequence[str] | None = None,
    iterations: int | None = None,
    time: str | float | None = None,
    width: int | None = None,
    patch_side: int | None = None,
    holdout: str | float | None = None,
    keep: Literal["last", "best"] | None = None,
    seed: int | None = None,
    gpu: str | int = "all",
) -> Path:
    """Train nets on a volume and its labels; the same call goes on where an interrupted one stopped.

    Parameters
    ----------
    images : array of shape (z, y, x), or address
        8- or 16-bit gray values, or floating point from 0 to 1.
    labels : array of shape (z, y, x), or address
        0 for background and one other value.
    out : path
        Folder of the training.
    recipe : {"original", "quick", "best"}
        A set of options, as of `cdeep3m train --recipe`; what is given beside it counts more.
    nets : sequence of str, optional
        Default: those of the recipe; of the original, 1fm, 3fm and 5fm, or on a single plane 1fm alone.
    iterations : int, optional
        Of each net. Default: those of the recipe; 30000 of the original.
    time : str or float, optional
        How long the whole training may take, as in "30m", or in seconds: plans the iterations from a measurement.
    width : int, optional
        Divisor of the nets' numbers of features: 8 makes nets that a laptop can train. Default: the recipe's; 1.
    patch_side : int, optional
        Side of the training patches, a multiple of 16. Default: the recipe's; 320.
    holdout : str or float, optional
        Part of the planes, as in "10%" or 0.1, that is not trained on: snapshots are scored on it. Default: the
        recipe's; 0, none.
    keep : {"last", "best"}, optional
        The snapshot that predicts: the last one, or the one that does best on the held-out planes. Default: the
        recipe's; "last".
    seed : int, optional
        Makes the training repeatable.
    gpu : "all" or int
        As in `load_model`.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    CDeep3MError
        Images and labels cannot be read or do not fit each other, options cannot be together, or `out` is one of them,
        or holds models of other images, of other nets or of another recipe.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> z, y, x = np.indices((6, 40, 48))
    >>> images = ((z * 13 + y * 5 + x * 3) % 200).astype(np.uint8)
    >>> how = {"recipe": "quick", "iterations": 2, "width": 32, "patch_side": 32, "seed": 1}
    >>> with TemporaryDirectory() as folder:
    ...     trained = train(images, images > 120, folder, **how, holdout=0.2, keep="best")
    ...     predict(images, load_model(trained, aug_speed=10), fit=True).shape
    (6, 40, 48)
    """
    given = {
        "models": None if nets is None else ",".join(_names(nets)),
        "numiterations": iterations,
        "training_time": seconds_of(time) if isinstance(time, str) else time,
        "width": width,
        "patch_side": patch_side,
        "holdout": None if holdout is None else str(holdout),
        "keep": keep,
        "seed": seed,
    }
    begun = monotonic()
    options = called_options(recipe, {name: value for name, value in given.items() if value is not None})
    folder = _place(out)
    options.out = folder
    demand_nets(folder, full_request_of(options, planes=0).nets)  # tells of wrong settings before images are read
    demand_apart(folder, [path for path in (images, labels) if isinstance(path, str | os.PathLike)], below=NETS)
    loaded = _loaded(options, images, labels)
    request = full_request_of(options, planes=loaded.training[0].data.shape[-1])
    wanted = followed_by(options)
    earlier = demand_same_recipe(folder, wanted, usual=ORIGINAL)
    engine, gpus = select_engine("embedded", gpu=str(gpu))
    create_run(folder, make=make_of(options), images=loaded.images)
    keep_record(folder, record_of(loaded, enhancement=normalisation_of(options), augmentation=request.augmentation))
    request = replace(request, gpus=tuple(gpus) or (CPU,))
    judge = judge_for(request, engine, request.gpus[0], loaded.known)
    how: dict[str, Any] = {
        "training": loaded.training,
        "validation": loaded.tested_on(held_out=request.judging.held_out),
        "judge": judge,
    }
    if wanted and options.training_time:
        planned = dict(earlier.iterations) if earlier else {}
        if not planned:
            costs = plan_by(options, request, engine, begun=begun, **how)
            planned = {cost.net: cost.iterations for cost in costs}
        wanted, request = replace(wanted, iterations=planned), as_planned(options, request, planned)
    if wanted:
        keep_recipe(folder, wanted)
    train_run(request, engine, **how)
    return folder


def _loaded(options: SimpleNamespace, images: ArrayLike | Address, labels: ArrayLike | Address) -> Loaded:
    """Read a volume into memory; hold planes out and normalise as the options say."""
    volume, nets = _volume(images), full_request_of(options, planes=0).nets
    hold_out_what_there_is(options, nets, volume.shape[0])
    normalisation = normalisation_of(options)
    if normalisation:
        volume = enhanced(volume, normalisation, name=GIVEN)
    data, label = fill_volumes(volume, _labels(labels))
    if isinstance(images, str | os.PathLike) and isinstance(labels, str | os.PathLike):
        noted = training_range(images, labels, data)
    else:
        noted = GrayRange.of(data, source=_digest(data, label))
    split, known = split_of(options, nets), training_planes(data, label)
    if split:
        data, label, known = split.of(data, label)
    return Loaded(
        training=training_variants(data, label, orientations=options.orientations),
        known=[known],
        images=noted,
        voxel_size=volume.placement.voxel_size,
        volumes=1,
    )
