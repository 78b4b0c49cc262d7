"""What is on disk at every moment: work that stops at any step and goes on has the bytes of work that did not.

A marker that stands before what it vouches for, or after it has gone, is seen here and nowhere else.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from address_volumes import addresses
from cdeep3m.engines.base import TrainJob
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.prediction.over_files.postprocess import merge_packages
from cdeep3m.prediction.over_files.prepare import define_packages, preprocess_package
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.system.files import LEFT_TO_SYSTEM, write_text
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.info_file import write_tiling
from cdeep3m.tiling.variants import variants_for
from cdeep3m.volumes.png import write_plane
from on_the_disk import watched_disk
from stopping import killed_at, watching
from tiny_training import make_training

NETS = ("1fm", "3fm")
SHAPE = (3, 20, 24)
TIMED = ("readme.txt", ".log", ".jsonl", "events", "report.html", ".lock")
"""Parts of names of files that hold times."""


class FilesOnly:
    """The identity engine, over files alone."""

    name = "files"
    check = gpus = staticmethod(lambda: ())
    device = staticmethod(lambda gpu: "none")

    def predict(self, job, *, report=None):
        IdentityEngine().predict(job, report=report)


@pytest.fixture
def folder_(tmp_path):
    """A folder in memory where there is one: bringing files to a disk takes most of the time."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def request_(folder_):
    tmp_path = folder_
    (tmp_path / "images").mkdir()
    for z, plane in enumerate(addresses(SHAPE)):
        write_plane(tmp_path / "images" / f"{z:02d}.png", plane)
    for net in NETS:
        models = tmp_path / "trained" / net / "trainedmodel"
        models.mkdir(parents=True)
        (models / f"{net}_classifer_iter_2.caffemodel").write_bytes(b"weights")
        (models.parent / "deploy.prototxt").touch()
    return PredictRequest(
        trained=tmp_path / "trained", images=tmp_path / "images", out=tmp_path / "out", nets=NETS, aug_speed=10
    )


def content(folder):
    """Bytes of every file below `folder` that holds no times, hidden ones too."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not any(part in path.name for part in TIMED)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def demand_truth(out):
    """Whatever is marked as done is there, whole."""
    for net in (*NETS, "ensembled"):
        if (out / net / "DONE").exists() or (out / "DONE").exists():
            for z in range(SHAPE[0]):
                assert np.asarray(Image.open(out / net / f"Segmented_{z + 1:04d}.png")).shape == SHAPE[1:]


def stopped_everywhere(work, folder, *, fresh, check=lambda: None):
    """Stop `work` at each of its steps in turn, look at what is there, and let it go on; return the steps."""
    with watching(folder) as watch:
        work()
    whole, steps = content(folder), watch.done
    assert steps
    for step in range(len(steps)):
        fresh()
        killed_at(step, work, folder)
        check()
        work()
        assert content(folder) == whole, f"differs after a stop at step {step}: {steps[step]}"
    return steps


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(IdentityEngine(), id="streaming"),
        pytest.param(FilesOnly(), id="over files", marks=pytest.mark.heavy),
    ],
)
def test_a_prediction_that_stops_anywhere_goes_on_to_the_same_bytes(request_, engine):
    steps = stopped_everywhere(
        lambda: predict(request_, engine, gpu=-1),
        request_.out,
        fresh=lambda: shutil.rmtree(request_.out, ignore_errors=True),
        check=lambda: demand_truth(request_.out),
    )
    names = [path for event, path in steps if event == "os.rename"]
    assert names.index("DONE") > max(names.index(f"ensembled/Segmented_{z + 1:04d}.png") for z in range(SHAPE[0]))
    assert not list(request_.out.rglob("v[0-9]*")), "variants were left on disk"


@pytest.mark.parametrize("nets", [NETS, NETS[:1]], ids=["two nets", "one net"])
@pytest.mark.parametrize("engine", [IdentityEngine(), FilesOnly()], ids=["streaming", "over files"])
def test_markers_come_after_all_that_they_vouch_for(request_, engine, nets):
    with watching(request_.out) as watch:
        predict(replace(request_, nets=nets), engine, gpu=-1)
    made = [path for event, path in watch.done if event in ("os.rename", "os.symlink")]
    assert made[-1] == "DONE"
    ensemble = [path for path in made if path.startswith("ensembled")]
    assert len(ensemble) == (SHAPE[0] if len(nets) > 1 else 1)
    for net in nets:
        planes = [f"{net}/Segmented_{z + 1:04d}.png" for z in range(SHAPE[0])]
        assert max(map(made.index, planes)) < made.index(f"{net}/DONE") < made.index("DONE")


def test_a_variant_is_only_named_when_it_is_whole(request_):
    with watching(request_.out) as watch:
        predict(request_, FilesOnly(), gpu=-1)
    made = [path for event, path in watch.done if event == "os.rename"]
    package = "1fm/Pkg001_Z01"
    order = ["v1", "PREDICTDONE", "test.h5_shift__0000.png", "DONE"]
    assert [made.index(f"{package}/{name}") for name in order] == sorted(made.index(f"{package}/{n}") for n in order)
    assert made.index("augimages/1fm/Pkg001_Z01/DONE") < made.index(f"{package}/v1")
    assert made.index(f"{package}/.averaged") > made.index(f"{package}/test.h5_shift__0002.png")
    done = watch.done.index(("os.rename", f"{package}/DONE"))
    assert done < watch.done.index(("os.remove", f"{package}/PREDICTDONE")), "one of the two markers is always there"


@pytest.mark.parametrize("engine", [IdentityEngine(), FilesOnly()], ids=["streaming", "over files"])
def test_all_that_a_marker_vouches_for_is_on_the_disk_before_it(request_, engine):
    with watched_disk(request_.out.parent) as disk:
        predict(request_, engine, gpu=-1)
    assert not disk.early
    assert {"out/DONE", *(f"out/{net}/DONE" for net in NETS)} <= set(disk.lasting())
    if isinstance(engine, FilesOnly):
        package = "out/augimages/1fm/Pkg001_Z01/DONE", "out/1fm/Pkg001_Z01/v1", "out/1fm/Pkg001_Z01/.averaged"
        assert set(package) <= set(disk.markers)


def test_a_package_is_on_the_disk_before_its_done_and_loses_it_first(request_):
    aug = request_.out.parent / "aug"
    define_packages(request_.images, aug)
    with watched_disk(aug) as disk:
        folder = preprocess_package(request_.images, aug, 1, 1, "3fm", 4)
        names = sorted(path.name for path in folder.iterdir())
        preprocess_package(request_.images, aug, 1, 1, "3fm", 10)
    assert set(names) == {"DONE", *(f"image_stacks_v{each.index}.h5" for each in variants_for("3fm", 4))}
    assert disk.lasting() == ["3fm/Pkg001_Z01/DONE"] * 2
    assert not disk.early


def test_a_package_stopped_anywhere_is_not_marked_before_it_is_whole(request_):
    aug = request_.out.parent / "aug"

    def work():
        preprocess_package(request_.images, aug, 1, 1, "3fm", 4)

    def fresh():
        shutil.rmtree(aug, ignore_errors=True)
        define_packages(request_.images, aug)

    def check():
        folder = aug / "3fm" / "Pkg001_Z01"
        if (folder / "DONE").exists():
            assert len(list(folder.glob("image_stacks_v*.h5"))) == len(variants_for("3fm", 4))

    fresh()
    steps = stopped_everywhere(work, aug, fresh=fresh, check=check)
    assert [path for event, path in steps if event == "os.rename"][-1] == "3fm/Pkg001_Z01/DONE"


def test_what_comes_too_early_is_noticed(tmp_path):
    with watched_disk(tmp_path) as disk:
        write_plane(tmp_path / "a.png", addresses(SHAPE)[0], naming=LEFT_TO_SYSTEM)
        write_text(tmp_path / "DONE", "0")
    assert disk.early == ["a.png behind DONE", "the name a.png behind DONE"]


def test_a_prediction_in_exact_mode_streams_what_it_makes_over_files(request_):
    from cdeep3m.rules import ORIGINAL

    exact = replace(request_, rules=ORIGINAL)
    predict(exact, IdentityEngine(), gpu=-1)
    streamed = content(request_.out)
    predict(replace(exact, out=request_.out.with_name("files")), FilesOnly(), gpu=-1)
    maps = {name for name in streamed if name.endswith(".png")}
    assert len(maps) == 3 * SHAPE[0]
    made = content(request_.out.with_name("files"))
    assert {name: made[name] for name in maps} == {name: streamed[name] for name in maps}
    levels = {int(np.asarray(Image.open(request_.out / name)).max()) for name in maps if "ensembled" not in name}
    assert levels == {255}, "exact mode scales every plane by its own maximum"


def test_merging_again_takes_done_away_first(tmp_path):
    net = tmp_path / "out" / "1fm"
    (net / "Pkg001_Z01").mkdir(parents=True)
    write_tiling(Tiling.of(SHAPE), net.parent)
    for z in range(SHAPE[0]):
        write_plane(net / "Pkg001_Z01" / f"test.h5_shift__{z:04d}.png", np.full((1024, 1024), z, np.uint16))
    (net / "DONE").write_text("0\n")
    with watching(net) as watch:
        merge_packages(net)
    assert watch.done[0] == ("os.remove", "DONE"), "DONE goes before anything else changes"
    assert [path for event, path in watch.done if event == "os.rename"][-1] == "DONE"


def test_weights_come_before_the_state_that_names_them(tmp_path):
    make_training(tmp_path)
    with watching(tmp_path) as watch:
        EmbeddedEngine().train(TrainJob(solver=tmp_path / "solver.prototxt", folder=tmp_path))
    written = [path for event, path in watch.done if event == "os.rename"]
    weights = [path for path in written if path.endswith(".caffemodel")]
    assert weights
    for path in weights:
        assert written.index(path) < written.index(path.replace(".caffemodel", ".solverstate"))
