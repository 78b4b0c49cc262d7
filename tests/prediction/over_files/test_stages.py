"""The route over files gives what streaming gives, and can be taken by three processes."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from address_volumes import addresses, maps_of, read_folder
from cdeep3m.engines.base import Progress
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.errors import CDeep3MError, EngineError, InputError, RunError, StoppedError
from cdeep3m.prediction.over_files import prepare as preparing
from cdeep3m.prediction.over_files.stages import (
    FileRun,
    postprocess_worker,
    predict_stacks,
    predict_worker,
    preprocess_worker,
)
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.rules import CORRECTED, ORIGINAL
from cdeep3m.runs.prediction import forget_errors
from cdeep3m.runs.trained import TrainedRun
from cdeep3m.tiling.info_file import COUNTS, INFO
from cdeep3m.volumes.enhanced import open_enhanced
from cdeep3m.volumes.hdf5 import write_datasets
from cdeep3m.volumes.png import write_plane


class FileEngine:
    """The identity, over files alone; fails with stack number `fail_at`, after its planes were written."""

    name = "files"

    def __init__(self, *, fail_at: int | None = None) -> None:
        self.stacks: list[str] = []
        self.fail_at = fail_at
        self.identity = IdentityEngine()

    def check(self):
        return ()

    def gpus(self):
        return ()

    def device(self, gpu):
        return "none"

    def train(self, job, *, report=None):
        raise AssertionError("not asked for")

    def predict(self, job, *, report=None):
        for done, stack in enumerate(job.stacks, start=1):
            self.stacks.append(stack[0].name)
            self.identity.predict(replace(job, stacks=[stack]))
            if len(self.stacks) == self.fail_at:
                raise EngineError("the GPU fell off the bus")
            report(Progress(done, len(job.stacks)))


@pytest.fixture
def request_(tmp_path):
    (tmp_path / "images").mkdir()
    for z, plane in enumerate(addresses((3, 40, 1030))):
        write_plane(tmp_path / "images" / f"{z:02d}.png", plane)
    for net in ("1fm", "3fm"):
        models = tmp_path / "trained" / net / "trainedmodel"
        models.mkdir(parents=True)
        (models / f"{net}_classifer_iter_2.caffemodel").write_bytes(b"weights")
        (models.parent / "deploy.prototxt").touch()
    return PredictRequest(
        trained=tmp_path / "trained", images=tmp_path / "images", out=tmp_path / "out", nets=("1fm", "3fm"), aug_speed=4
    )


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("Segmented_*.png"))}


@pytest.mark.parametrize("rules", [CORRECTED, ORIGINAL])
def test_files_and_streams_give_the_same_bytes(request_, tmp_path, rules):
    over_files = PredictRequest(**{**vars(request_), "rules": rules})
    streamed = PredictRequest(**{**vars(over_files), "out": tmp_path / "streamed"})
    predict(over_files, FileEngine(), gpu=-1)
    predict(streamed, IdentityEngine(), gpu=-1)
    assert len(tree(over_files.out)) == 9
    assert tree(over_files.out) == tree(streamed.out)


def test_the_route_over_files_returns_the_input_and_leaves_no_files_of_its_stages(request_):
    predict(request_, FileEngine(), gpu=-1)
    assert_array_equal(read_folder(request_.out / "ensembled"), maps_of(addresses((3, 40, 1030))))
    assert {path.name for path in request_.out.iterdir() if path.is_dir()} == {
        *("1fm", "3fm", "augimages", "ensembled", "logs")
    }
    assert not list(request_.out.glob("*/Pkg*"))
    assert {path.name for path in (request_.out / "augimages").iterdir()} == {INFO, COUNTS}


def test_a_failed_engine_goes_on_with_the_variant_that_failed(request_):
    engine = FileEngine(fail_at=3)
    with pytest.raises(EngineError) as caught:
        predict(request_, engine, gpu=-1)
    assert caught.value.exit_code == 10
    assert (request_.out / "ERROR").exists()
    forget_errors(request_.out)
    again = FileEngine()
    predict(request_, again, gpu=-1)
    assert again.stacks[0] == engine.stacks[2]
    assert len(engine.stacks) + len(again.stacks) == 2 * 2 * 4 + 1
    assert_array_equal(read_folder(request_.out / "ensembled"), maps_of(addresses((3, 40, 1030))))


@pytest.fixture
def work(request_):
    """A run whose config and packages are there, as an interrupted runprediction.sh leaves it."""
    with pytest.raises(CDeep3MError):
        predict(request_, FileEngine(fail_at=1), gpu=-1)
    forget_errors(request_.out)
    return FileRun.open(request_.out)


def test_three_workers_hand_packages_over(work):
    stages = [
        threading.Thread(target=preprocess_worker, args=(work,), kwargs={"maxpackages": 1, "wait": 0.02}),
        threading.Thread(target=predict_worker, args=(work, FileEngine()), kwargs={"gpus": [-1], "wait": 0.02}),
        threading.Thread(target=postprocess_worker, args=(work,), kwargs={"wait": 0.02}),
    ]
    for stage in stages:
        stage.start()
    for stage in stages:
        stage.join(60)
    for net in ("1fm", "3fm"):
        assert (work.run.net_folder(net) / "DONE").exists()
        assert_array_equal(read_folder(work.run.net_folder(net)), maps_of(addresses((3, 40, 1030))))


def test_a_worker_stops_where_another_one_failed(work):
    (work.run.folder / "ERROR").write_text("the disk is full\n8\n")
    with pytest.raises(RunError, match="disk is full"):
        predict_worker(work, FileEngine(), gpus=[-1], wait=0.01)


@pytest.fixture
def small(request_, tmp_path):
    """A request of one net, one variant and one package."""
    (tmp_path / "small").mkdir()
    for z, plane in enumerate(addresses((1, 20, 24))):
        write_plane(tmp_path / "small" / f"{z}.png", plane)
    return replace(request_, images=tmp_path / "small", nets=("1fm",), aug_speed=10)


@pytest.fixture
def small_work(small):
    with pytest.raises(CDeep3MError):
        predict(small, FileEngine(fail_at=1), gpu=-1)
    forget_errors(small.out)
    return FileRun.open(small.out)


def test_a_second_process_of_a_stage_is_refused_and_the_run_goes_on(small_work):
    work = small_work

    class Nested(FileEngine):
        def predict(self, job, *, report=None):
            with pytest.raises(RunError, match="another predicting is running") as caught:
                predict_worker(work, FileEngine(), gpus=[-1])
            assert caught.value.exit_code == 4
            super().predict(job, report=report)

    preprocess_worker(work, maxpackages=100, wait=0.01)
    predict_worker(work, Nested(), gpus=[-1], wait=0.01)
    assert not (work.run.folder / "ERROR").exists()


def test_a_whole_run_and_a_worker_exclude_each_other(small_work, small):
    work = small_work
    with work.run.locked("predicting"), pytest.raises(RunError, match="another prediction is running"):
        predict(small, FileEngine(), gpu=-1)
    with work.run.locked(), pytest.raises(RunError, match="another preprocessing is running") as caught:
        preprocess_worker(work)
    assert caught.value.exit_code == 8
    with work.run.locked("predicting"), work.run.locked("postprocessing"):
        preprocess_worker(work, maxpackages=100, wait=0.01)


def test_what_ran_is_written_down(small):
    predict(small, FileEngine(), gpu=-1)
    assert "engine: files, none" in (small.out / "readme.txt").read_text()
    assert "engine: files, none" in (small.out / "logs" / "prediction.log").read_text()


def test_a_folder_without_packages_is_status_7(work):
    for place in (work.run.folder, work.run.folder / "augimages"):
        (place / COUNTS).unlink()
    with pytest.raises(RunError) as caught:
        FileRun.open(work.run.folder)
    assert caught.value.exit_code == 7


def test_a_folder_without_variants_is_status_6(request_, tmp_path):
    (tmp_path / "aug").mkdir()
    with pytest.raises(InputError, match="image_stacks_v") as caught:
        predict_stacks(None, tmp_path / "aug", tmp_path / "predicted", FileEngine(), gpus=[-1])
    assert caught.value.exit_code == 6


def test_images_are_opened_once_for_all_packages(request_, monkeypatch):
    opened = []

    def open_once(images, *arguments, **options):
        opened.append(images)
        return open_enhanced(images, *arguments, **options)

    monkeypatch.setattr(preparing, "open_enhanced", open_once)
    predict(request_, FileEngine(), gpu=-1)
    assert opened == [request_.images]


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_packages_are_prepared_ahead_than_asked_for(request_, most):
    with pytest.raises(CDeep3MError):
        predict(request_, FileEngine(fail_at=1), gpu=-1)
    forget_errors(request_.out)
    for prepared in (request_.out / "augimages").glob("*/Pkg*"):
        shutil.rmtree(prepared)
    work = FileRun.open(request_.out)
    ended = []

    def prepare():
        with pytest.raises(CDeep3MError) as caught:
            preprocess_worker(work, maxpackages=most, wait=0.01)
        ended.append(caught.value.exit_code)

    thread = threading.Thread(target=prepare)
    thread.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and waiting_packages(request_.out) < most:
        time.sleep(0.05)
    time.sleep(1)
    found = waiting_packages(request_.out)
    (request_.out / "KILL.REQUEST").touch()
    thread.join(20)
    assert found == most
    assert ended == [11]


class Counting(FileEngine):
    """Counts what lies prepared beside its first package, a second after there are as many as were asked for."""

    def __init__(self, out, most) -> None:
        super().__init__()
        self.out, self.most = out, most
        self.ahead: list[int] = []

    def predict(self, job, *, report=None):
        if not self.ahead:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and waiting_packages(self.out) - 1 < self.most:
                time.sleep(0.05)
            time.sleep(1)
            self.ahead.append(waiting_packages(self.out) - 1)
        super().predict(job, report=report)


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_packages_are_prepared_ahead_than_asked_for_in_one_process(request_, most):
    for z, plane in enumerate(addresses((3, 16, 4100))):  # five packages
        write_plane(request_.images / f"{z:02d}.png", plane)
    engine = Counting(request_.out, most)
    predict(replace(request_, max_packages=most, nets=("1fm",), aug_speed=10), engine, gpu=-1)
    assert engine.ahead == [most]


class Killing(FileEngine):
    """Asks the run to stop once its first variant is predicted."""

    def __init__(self, out) -> None:
        super().__init__()
        self.out = out

    def predict(self, job, *, report=None):
        def stopped(progress):
            (self.out / "KILL.REQUEST").touch()
            report(progress)

        super().predict(job, report=stopped)


def test_a_request_to_stop_is_seen_after_every_variant(request_):
    engine = Killing(request_.out)
    with pytest.raises(StoppedError):
        predict(request_, engine, gpu=-1)
    assert engine.stacks == ["image_stacks_v2.h5"]
    assert sorted(path.name for path in (request_.out / "1fm" / "Pkg001_Z01").glob("v*")) == ["v2"]


class Looking(FileEngine):
    """Looks which variants of packages that were predicted are left."""

    def __init__(self, out) -> None:
        super().__init__()
        self.out = out
        self.left: list[str] = []

    def predict(self, job, *, report=None):
        current = job.stacks[0][0].parent
        for done in self.out.glob("*/Pkg*/PREDICTDONE"):
            variants = self.out / "augimages" / done.parent.parent.name / done.parent.name
            self.left += [variants.name] if variants.exists() and variants != current else []
        super().predict(job, report=report)


def test_variants_of_a_package_go_as_soon_as_it_is_predicted(request_):
    engine = Looking(request_.out)
    predict(request_, engine, gpu=-1)
    assert len(engine.stacks) > 4
    assert not engine.left


def waiting_packages(out):
    """How many packages are prepared, and not yet predicted."""
    prepared = [path.parent for path in (out / "augimages").glob("*/Pkg*/DONE")]
    return sum(not (out / folder.parent.name / folder.name / "PREDICTDONE").exists() for folder in prepared)


def test_what_an_interrupted_variant_left_is_emptied(tmp_path, request_):
    aug, out = tmp_path / "aug", tmp_path / "variants"
    aug.mkdir()
    write_datasets(aug / "image_stacks_v1.h5", {"data": np.zeros((32, 32, 5), np.uint8)})
    (out / ".v1.partial").mkdir(parents=True)
    (out / ".v1.partial" / "test.h5_shift_77.h5").write_bytes(b"of another run")
    model = TrainedRun(request_.trained).model("1fm")
    assert predict_stacks(model, aug, out, FileEngine(), gpus=(-1,)) == 1
    assert sorted(path.name for path in (out / "v1").iterdir()) == [f"test.h5_shift_{z}.h5" for z in range(5)]
