from __future__ import annotations

import pytest

from cdeep3m.errors import MissingFileError, MissingModelError
from cdeep3m.runs.trained import MODEL_SUFFIX, TrainedRun, model_at, snapshots


@pytest.fixture
def run(tmp_path):
    """A run whose 1fm has four snapshots, whose 3fm has none, and whose 5fm lacks a deploy net."""
    for net in ("1fm", "3fm", "5fm"):
        (tmp_path / net / "trainedmodel").mkdir(parents=True)
    (tmp_path / "1fm" / "deploy.prototxt").touch()
    for iteration in (2000, 900, 10000, 30):
        for suffix in ("caffemodel", "solverstate"):
            (tmp_path / "1fm" / "trainedmodel" / f"1fm_classifer_iter_{iteration}.{suffix}").touch()
    (tmp_path / "1fm" / "trainedmodel" / ".1fm_classifer_iter_99999.partial-1.caffemodel").touch()
    (tmp_path / "1fm" / "trainedmodel" / "notes.caffemodel").touch()
    (tmp_path / "5fm" / "trainedmodel" / "5fm_classifer_iter_7.caffemodel").touch()
    return TrainedRun(tmp_path)


def test_the_highest_number_counts_not_the_last_name(run):
    assert run.model("1fm").weights.name == "1fm_classifer_iter_10000.caffemodel"
    assert run.model("1fm").deploy == run.folder / "1fm" / "deploy.prototxt"
    assert run.snapshot("1fm").name == "1fm_classifer_iter_10000.solverstate"
    assert run.highest_iteration("1fm") == 10000


def test_one_model_alone_needs_no_iteration_in_its_name(run):
    folder = run.models("3fm")
    (folder / "published.caffemodel").touch()
    (run.folder / "3fm" / "deploy.prototxt").touch()
    assert run.model("3fm").weights == model_at(folder).weights == folder / "published.caffemodel"
    assert run.nets() == ["1fm", "3fm", "5fm"]
    (folder / "another.caffemodel").touch()
    with pytest.raises(MissingModelError, match="no trained 3fm"):
        run.model("3fm")


def test_snapshots_are_sorted_by_iteration(run):
    names = [path.name for path in snapshots(run.models("1fm"), MODEL_SUFFIX)]
    assert names == [f"1fm_classifer_iter_{n}.caffemodel" for n in (30, 900, 2000, 10000)]


def test_only_nets_with_a_model_are_listed(run):
    assert run.nets() == ["1fm", "5fm"]
    assert TrainedRun(run.folder / "nowhere").nets() == []


def test_an_untrained_net_is_named_with_those_that_are_there(run):
    with pytest.raises(MissingModelError, match=r"no trained 3fm in .*; found 1fm, 5fm\. .*--models"):
        run.model("3fm")
    assert run.snapshot("3fm") is None
    assert run.highest_iteration("3fm") == 0


def test_a_model_without_its_net_is_refused(run):
    with pytest.raises(MissingFileError, match=r"5fm/deploy\.prototxt is not there"):
        run.model("5fm")


def test_a_model_is_found_by_file_and_by_folder(run):
    by_folder = model_at(run.models("1fm"))
    assert by_folder == model_at(run.models("1fm") / "1fm_classifer_iter_10000.caffemodel")
    assert by_folder.net == "1fm"


@pytest.mark.parametrize("name", ["3fm/trainedmodel", "nowhere", "1fm/deploy.prototxt"])
def test_a_place_without_a_model_is_refused(run, name):
    with pytest.raises(MissingModelError, match=r"no \.caffemodel file"):
        model_at(run.folder / name)


@pytest.mark.parametrize("inside", ["1fm", "1fm/trainedmodel"])
def test_a_folder_inside_a_training_is_told_as_such(run, inside):
    trained = TrainedRun(run.folder / inside)
    for find in (trained.default_nets, lambda: trained.model("1fm")):
        with pytest.raises(MissingModelError, match="lies inside a training; expected the folder that holds 1fm"):
            find()
