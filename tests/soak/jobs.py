"""Every command once, as a small whole job: what it is called with, which files it reads, and what it writes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np
import tifffile
from PIL import Image

from cdeep3m.cli import main
from cdeep3m.cli.table import COMMANDS, OCTAVE
from soak.scenes import (
    CPU,
    QUICK,
    TINY_TRAINING,
    _maps,
    _prediction,
    _training,
    _workers,
    volume,
    write_images,
    write_trained,
)
from tiny_training import make_training

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONE_NET = (*CPU, "--fit", "--augspeed", "10", "--models", "1fm")


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes
    ----------
    make : callable
        Makes what it reads in a folder.
    words : tuple of str
        The command and its arguments.
    reads : tuple of str
        Files that it reads, one of each kind.
    writes : tuple of str
        Files or folders that it makes.
    random : bool
        Whether what it writes differs from one time to the next.
    in_place : bool
        Whether it writes to the folder that it reads, as the original does.
    once : bool
        Whether it refuses to do again what is finished.
    optional : tuple of str
        What of `reads` it can do without.
    small : bool
        Whether it is smaller here than as a program, which goes on in another folder.
    """

    make: Callable[[Path], None]
    words: tuple[str, ...]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    random: bool = False
    in_place: bool = False
    once: bool = False
    optional: tuple[str, ...] = ()
    small: bool = False

    @property
    def name(self) -> str:
        """The command, with that of `cdeep3m`."""
        words = self.words[: 3 if self.words[1:2] in (("models",), ("engines",), ("estimate",)) else 2]
        return " ".join(words) if words[0] == "cdeep3m" else words[0]

    @property
    def inputs(self) -> tuple[str, ...]:
        """What it reads, as it is named in `words`."""
        return tuple(
            dict.fromkeys(
                name
                for name in self.words
                if any(_is_below(read, name.removeprefix("precomputed://")) for read in self.reads)
            )
        )


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")


def _stacks(folder: Path) -> None:
    """16 training files."""
    (folder / "aug").mkdir(parents=True)
    images, labels = volume()
    for k in range(1, 17):
        with h5py.File(folder / "aug" / f"training_full_stacks_v{k}.h5", "w") as file:
            for name, values in (("data", images), ("label", labels)):
                whole = np.zeros((200, 200, 4), np.float32)
                whole[:44, :40, :3] = values.transpose(2, 1, 0)
                file[name] = whole


def _divided(folder: Path) -> None:
    from cdeep3m.prediction.over_files.prepare import define_packages

    _prediction(folder)
    define_packages(folder / "images", folder / "aug")


def _predicted(folder: Path) -> None:
    """A package that has been predicted, in two variants."""
    rng = np.random.default_rng(5)
    for k in (1, 2):
        (folder / "pkg" / f"v{k}").mkdir(parents=True)
        for plane in range(7):
            with h5py.File(folder / "pkg" / f"v{k}" / f"test.h5_shift_{plane}.h5", "w") as file:
                file["data"] = rng.random((1, 2, 1024, 1024), np.float32).round(2)


def _after(make: Callable[[Path], None], *commands: tuple[str, ...]) -> Callable[[Path], None]:
    """Return what makes a folder in which some commands have run."""
    from soak.trial import run

    def made(folder: Path) -> None:
        make(folder)
        for words in commands:
            ended = run(list(words), folder)
            assert ended.status == 0, ended.said

    return made


def _compared(folder: Path) -> None:
    """A model, images, and the tool of the embedded engine as a Caffe."""
    _prediction(folder)
    (folder / "caffe").mkdir()
    tool = folder / "caffe" / "predict_seg_new.bin"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cdeep3m.cli.predict_seg_new "$@"')
    tool.chmod(0o755)
    (folder / "caffe" / "caffe.bin").symlink_to(tool)


def _averaged(folder: Path) -> None:
    from cdeep3m.tiling.grid import Tiling
    from cdeep3m.tiling.info_file import write_tiling

    net = folder / "out" / "1fm"
    (net / "Pkg001_Z01").mkdir(parents=True)
    write_tiling(Tiling.of((3, 40, 44)), folder / "out")
    for z in range(3):
        plane = np.full((1024, 1024), 1000 * z + 7, np.uint16)
        Image.fromarray(plane).save(net / "Pkg001_Z01" / f"test.h5_shift__{z:04d}.png")


def _looked_at(folder: Path) -> None:
    _maps(folder)
    write_images(folder / "images", volume()[0])


def _log(folder: Path) -> None:
    head = "I0101 00:00:0{}.000000 1 solver.cpp:218] Iteration {} (0 iter/s, 0s/20 iters), loss = {}\n"
    text = "".join(head.format(k, 20 * k, 1 - k / 10) for k in range(1, 5))
    lines = "I0101 00:00:01.000000 1 solver.cpp:237]     Train net output #0: loss = 0.5 (* 1 = 0.5 loss)\n"
    rate = "I0101 00:00:01.000000 1 sgd_solver.cpp:105] Iteration 20, lr = 0.01\n"
    (folder / "log").mkdir()
    (folder / "log" / "out.log").write_text(f"{text}{lines}{rate}")
    table = "NumIters,Seconds,LearningRate,loss\n0,1,0.01,0.6\n20,2,0.01,0.5\n"
    (folder / "a.csv").write_text(table)
    (folder / "b.csv").write_text(table.replace("loss", "accuracy"))


def _solver(folder: Path) -> None:
    make_training(folder / "t", snapshot_prefix="t/snap/tiny", net="t/train_val.prototxt")
    for name in ("train", "valid"):
        (folder / f"{name}_file.txt").write_text(f"t/{name}.h5\n")


def _package(folder: Path) -> None:
    write_trained(folder / "trained")
    (folder / "aug").mkdir()
    stack = np.zeros((64, 64, 5), np.float32)
    stack[:44, :40, :3] = volume()[0].transpose(2, 1, 0)
    for k in (1, 2):
        with h5py.File(folder / "aug" / f"image_stacks_v{k}.h5", "w") as file:
            file["data"] = stack


def _archive(folder: Path) -> None:
    write_trained(folder / "made")
    shutil.make_archive(str(folder / "m"), "gztar", folder / "made", ".")
    shutil.rmtree(folder / "made")


def _volumes(folder: Path) -> None:
    """The images once in each format.

    By another process: one that tensorstore has worked in cannot be forked from.
    """
    process = os.fork()
    if process == 0:
        status = 1
        try:
            _write_volumes(folder)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(process, 0)
    assert status == 0, "the volumes cannot be written"


def _write_volumes(folder: Path) -> None:
    import mrcfile
    import tensorstore

    images = volume()[0]
    write_images(folder / "images", images)
    tifffile.imwrite(folder / "v.tif", images, photometric="minisblack", metadata=None)
    with h5py.File(folder / "v.h5", "w") as file:
        file["data"] = images.transpose(2, 1, 0)
    with mrcfile.new(folder / "v.mrc") as file:
        file.set_data(images.astype(np.uint16))
    chunk = [2, 20, 22]
    grid = {"name": "regular", "configuration": {"chunk_shape": chunk}}
    for driver, name, values, spec in (
        ("zarr", "v2.zarr", images, {"metadata": {"chunks": chunk, "compressor": {"id": "zlib", "level": 1}}}),
        (
            "zarr3",
            "v3.zarr",
            images,
            {"metadata": {"chunk_grid": grid, "codecs": [{"name": "bytes"}, {"name": "gzip"}]}},
        ),
        ("n5", "v.n5", images.T, {"metadata": {"blockSize": chunk[::-1]}}),
    ):
        kvstore = {"driver": "file", "path": f"{folder / name}/"}
        made = tensorstore.open(
            {"driver": driver, "kvstore": kvstore, **spec}, create=True, dtype=values.dtype, shape=values.shape
        ).result()
        made[...] = values
    scale = {"size": [44, 40, 3], "encoding": "raw", "chunk_size": [22, 20, 2], "resolution": [8, 8, 30]}
    made = tensorstore.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{folder / 'v.precomputed'}/"},
            "multiscale_metadata": {"type": "image", "num_channels": 1},
            "scale_metadata": scale,
        },
        create=True,
        dtype=images.dtype,
    ).result()
    made[...] = images.T[..., np.newaxis]


def _finished(folder: Path) -> None:
    """A prediction that is finished, without what made it."""
    _maps(folder)
    write_images(folder / "images", volume()[0])
    run = folder / "out"
    (run / "1fm").mkdir(parents=True)
    (run / "logs").mkdir()
    for z in (1, 2, 3):
        shutil.copy(folder / "a" / f"Segmented_{z:04d}.png", run / "1fm")
    (run / "ensembled").symlink_to("1fm")
    (run / "1fm" / "DONE").write_text("0\n")
    (run / "DONE").write_text("success\n0\n")
    config = {"trainedmodeldir": folder / "trained", "imagedir": folder / "images", "models": "1fm", "augspeed": "10"}
    lines = "".join(f"{key}={value}\n" for key, value in config.items())
    (run / "predict.config").write_text(f"[default]\n{lines}")
    (run / "logs" / "events.jsonl").write_text(json.dumps({"event": "begin", "time": 1.0}) + "\n")


def _converted(source: str, read: str) -> Job:
    axes = ("--axes", "zyx") if source.endswith(".zarr") else ()
    return Job(_volumes, ("cdeep3m", "convert", *axes, source, "out"), (read,), ("out",))


def _to(out: str) -> Job:
    return Job(_volumes, ("cdeep3m", "convert", "images", out), ("images/i_2.png",), (out,))


PREPROCESS = ("preprocessworker.sh", "--waitinterval", "0.01", "out")
PREDICT = ("predictworker.sh", *CPU, "--waitinterval", "0.01", "out")
POSTPROCESS = ("postprocessworker.sh", "--waitinterval", "0.01", "out")
CREATE = ("CreateTrainJob", "--width", "16", "--patch_side", "96", "aug", "out", "aug")
PACKAGE = "out/augimages/1fm/Pkg001_Z01/image_stacks_v1.h5"
WHAT_TRAINS = (
    "out/train_file.txt",
    "out/1fm/solver.prototxt",
    "out/1fm/train_val.prototxt",
    "aug/training_full_stacks_v3.h5",
)
"""Files that a training from a folder reads."""
TRAINED_QUICKLY = (
    *("--numiterations", "2", "--snapshot_interval", "1", "--base_learn", "0.001", "--iter_size", "1"),
    *("--seed", "7"),
)
MODEL = "trained/1fm/deploy.prototxt"
WEIGHTS = "trained/1fm/trainedmodel/1fm_classifer_iter_2.caffemodel"
IMAGE = "images/i_2.png"
LABEL = "labels/i_2.png"
PREDICTIONS = (IMAGE, MODEL, WEIGHTS)

JOBS = (
    Job(_training, ("PreprocessTrainingData", "images", "labels", "aug"), (IMAGE, LABEL), ("aug",)),
    Job(_training, ("PreprocessTrainingData", "images", "labels", "3", "2", "aug"), (IMAGE, LABEL), ("aug",)),
    Job(_training, ("PreprocessValidation", "images", "labels", "val"), (IMAGE, LABEL), ("val",)),
    Job(
        _stacks,
        ("CreateTrainJob", "--width", "16", "aug", "trained", "aug"),
        ("aug/training_full_stacks_v3.h5",),
        ("trained",),
        random=True,
        optional=("aug/training_full_stacks_v3.h5",),
    ),
    Job(_prediction, ("PreprocessImageData", "images", "aug"), (IMAGE,), ("aug",)),
    Job(_prediction, ("DefDataPackages", "images", "aug"), (IMAGE,), ("aug",)),
    Job(
        _divided,
        ("PreprocessPackage", "images", "aug", "1", "1", "1fm", "10"),
        (IMAGE, "aug/de_augmentation_info.mat"),
        ("aug/1fm",),
        in_place=True,
    ),
    Job(_predicted, ("StartPostprocessing", "pkg"), ("pkg/v1/test.h5_shift_3.h5",), ("pkg",), in_place=True, once=True),
    Job(
        _averaged,
        ("Merge_LargeData", "out/1fm"),
        ("out/1fm/Pkg001_Z01/test.h5_shift__0001.png", "out/de_augmentation_info.mat"),
        ("out/1fm",),
        in_place=True,
    ),
    Job(
        _maps,
        ("EnsemblePredictions", "a", "b", "out"),
        ("a/Segmented_0002.png", "b/Segmented_0002.png"),
        ("out",),
    ),
    Job(
        _maps,
        ("Histmatch", "a", "b", "out"),
        ("a/Segmented_0002.png", "b/Segmented_0002.png"),
        ("out",),
    ),
    Job(
        _looked_at,
        ("Apply3DWatershed", "a", "images", "out"),
        ("a/Segmented_0002.png", IMAGE),
        ("out",),
    ),
    Job(_looked_at, ("overlay.py", "images", "a", "out"), (IMAGE, "a/Segmented_0002.png"), ("out",)),
    Job(_looked_at, ("Create_overlays", "a", "images", "out"), ("a/Segmented_0002.png", IMAGE), ("out",)),
    Job(_prediction, ("enhance_stack", "images", "out"), (IMAGE,), ("out",)),
    Job(
        _maps,
        ("SNEMI3D_metrics", "labels", "labels"),
        ("labels/Segmented_0002.png",),
    ),
    Job(_log, ("PlotValidation", "a.csv", "b.csv", "out"), ("a.csv", "b.csv"), ("out",)),
    Job(_log, ("runvalidation.sh", "log/out.log", "out"), ("log/out.log",), ("out",)),
    Job(lambda folder: None, ("augconfig.py",), (), ("augcfg.ini",)),
    Job(
        _solver,
        ("caffe", "train", "--solver=t/solver.prototxt", "--gpu=-1"),
        ("t/solver.prototxt", "t/train_val.prototxt", "t/train.h5", "train_file.txt"),
        ("t/snap",),
        in_place=True,
    ),
    Job(
        _package,
        (
            *("predict_seg_new.bin", f"--model={MODEL}", f"--weights={WEIGHTS}"),
            *("--data=aug/image_stacks_v1.h5", "--predict=out.h5", "--gpu=-1"),
        ),
        (MODEL, WEIGHTS, "aug/image_stacks_v1.h5"),
        ("out.h5_shift_2.h5",),
    ),
    Job(
        _package,
        ("caffepredict.sh", *CPU, "trained/1fm/trainedmodel", "aug", "out"),
        (MODEL, WEIGHTS, "aug/image_stacks_v1.h5"),
        ("out",),
    ),
    Job(_prediction, ("cdeep3m", "predict", *QUICK, "trained", "images", "out"), PREDICTIONS, ("out",)),
    Job(_prediction, ("runprediction.sh", *QUICK, "trained", "images", "out"), PREDICTIONS, ("out",)),
    Job(
        _prediction,
        ("cdeep3m", "predict", *ONE_NET, "--format", "ome-zarr", "--no-report", "trained", "images", "out"),
        PREDICTIONS,
        ("out",),
    ),
    Job(
        _prediction,
        ("cdeep3m", "predict", *ONE_NET, "--format", "tif", "--dtype", "float32", "trained", "images", "out"),
        PREDICTIONS,
        ("out",),
    ),
    Job(
        _workers,
        ("preprocessworker.sh", "--waitinterval", "0.01", "out"),
        (IMAGE, "out/predict.config"),
        ("out",),
        in_place=True,
    ),
    Job(
        _after(_workers, PREPROCESS), PREDICT, ("out/predict.config", WEIGHTS, MODEL, PACKAGE), ("out",), in_place=True
    ),
    Job(
        _after(_workers, PREPROCESS, PREDICT),
        POSTPROCESS,
        ("out/predict.config", "out/augimages/de_augmentation_info.mat"),
        ("out",),
        in_place=True,
    ),
    Job(
        _training,
        ("cdeep3m", "train", *CPU, *TINY_TRAINING, "--base_learn", "0.001", "--seed", "7", "images", "labels", "out"),
        (IMAGE, LABEL),
        ("out",),
    ),
    Job(
        _stacks,
        ("runtraining.sh", *CPU, *TINY_TRAINING, "--base_learn", "0.001", "--seed", "7", "aug", "out"),
        ("aug/training_full_stacks_v3.h5",),
        ("out",),
    ),
    Job(
        _after(_stacks, CREATE),
        ("trainworker.sh", *CPU, "--models", "1fm", *TRAINED_QUICKLY, "out"),
        WHAT_TRAINS,
        ("out",),
        in_place=True,
    ),
    Job(
        _after(_stacks, CREATE),
        ("caffetrain.sh", *CPU, *TRAINED_QUICKLY, "1fm", "out"),
        WHAT_TRAINS,
        ("out",),
        in_place=True,
    ),
    *(
        _converted(*each)
        for each in (
            ("images", IMAGE),
            ("v.tif", "v.tif"),
            ("v.h5", "v.h5"),
            ("v.mrc", "v.mrc"),
            ("v2.zarr", "v2.zarr/.zarray"),
            ("v2.zarr", "v2.zarr/1.0.1"),
            ("v3.zarr", "v3.zarr/zarr.json"),
            ("v3.zarr", "v3.zarr/c/1/0/1"),
            ("v.n5", "v.n5/attributes.json"),
            ("v.n5", "v.n5/1/0/1"),
            ("precomputed://v.precomputed", "v.precomputed/info"),
            ("precomputed://v.precomputed", "v.precomputed/8_8_30/22-44_0-20_2-3"),
        )
    ),
    *map(_to, ("o.tif", "o.h5", "o.mrc", "o.zarr", "o.n5", "o.precomputed")),
    Job(_maps, ("cdeep3m", "objects", "a", "out"), ("a/Segmented_0002.png",), ("out",), once=True),
    Job(
        _maps,
        ("cdeep3m", "score", "--csv", "s.csv", "a", "labels"),
        ("a/Segmented_0002.png", "labels/Segmented_0002.png"),
        ("s.csv",),
    ),
    Job(
        _finished,
        ("cdeep3m", "report", "--labels", "labels", "--out", "page.html", "out"),
        ("out/1fm/Segmented_0002.png", "labels/Segmented_0002.png", "out/predict.config"),
        ("page.html",),
        random=True,
        optional=("out/predict.config",),
    ),
    Job(
        _prediction,
        ("cdeep3m", "estimate", "predict", *ONE_NET, "--seconds", "0.1", "trained", "images"),
        PREDICTIONS,
    ),
    Job(
        _training,
        ("cdeep3m", "estimate", "train", *CPU, *TINY_TRAINING, "--seconds", "0.1", "images", "labels"),
        (IMAGE, LABEL),
    ),
    Job(_training, ("cdeep3m", "preprocess", "images", "labels", "aug"), (IMAGE, LABEL), ("aug",)),
    Job(_maps, ("cdeep3m", "ensemble", "a", "b", "out"), ("a/Segmented_0002.png", "b/Segmented_0002.png"), ("out",)),
    Job(_log, ("cdeep3m", "validate", "log/out.log", "out"), ("log/out.log",), ("out",)),
    Job(
        _compared,
        ("cdeep3m", "fidelity", *CPU, "--models", "1fm", "--caffe", "caffe", "trained", "images"),
        PREDICTIONS,
    ),
    Job(lambda folder: None, ("cdeep3m", "engines", "check"), ()),
    Job(_prediction, ("cdeep3m", "models", "verify", "trained"), (MODEL, WEIGHTS)),
    *(
        Job(
            lambda folder: None,
            (*words, "--numiterations", "2", *last),
            (),
            ("out",),
            random=True,
            small=True,
        )
        for words, last in (
            (("rundemo",), ("out",)),
            (("rundemo2",), ("out",)),
            (("cdeep3m", "demo"), ("--out", "out")),
        )
    ),
    Job(_finished, ("cdeep3m", "status", "out"), ()),
    Job(_prediction, ("cdeep3m", "models", "info", MODEL), (MODEL,)),
    Job(_prediction, ("cdeep3m", "models", "info", WEIGHTS), (WEIGHTS,)),
    Job(_archive, ("cdeep3m", "models", "fetch", "m.tar.gz", "got"), ("m.tar.gz",), ("got",)),
    Job(lambda folder: None, ("cdeep3m", "engines", "list"), ()),
    Job(lambda folder: None, ("cdeep3m", "models", "list"), ()),
)
"""All commands, some of them in several ways; the workers, which wait for each other, are a scene as well."""


def commands_without_a_job() -> set[str]:
    """Return the commands, one of each module, that nothing here runs, with those of `cdeep3m`."""
    called = {COMMANDS.get(job.words[0]) for job in JOBS}
    ours = {f"cdeep3m {name}" for name in main.COMMANDS} - {" ".join(job.words[:2]) for job in JOBS}
    return (
        ours
        | {name for name, module in COMMANDS.items() if module not in called and name.split(".")[0] not in OCTAVE}
        | {name for name, module in OCTAVE.items() if module not in called}
    )
