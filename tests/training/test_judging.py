"""Snapshots that are scored while a net is trained, kept where they are best, and calibrated."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

import pytest

from cdeep3m.errors import EngineError, InputError, RunError
from cdeep3m.nets.prototxts import NetMake
from cdeep3m.runs.calibration import Calibration
from cdeep3m.runs.recipe import Followed, keep_recipe
from cdeep3m.runs.trained import TrainedRun, iteration_of
from cdeep3m.runs.validation import Scored, validation_of
from cdeep3m.training.folder import create_run
from cdeep3m.training.judging import Judging
from cdeep3m.training.run import SolverSettings, TrainRequest, train
from fake_training_engine import FakeTrainingEngine, InProcess

F1 = {4: 0.3, 8: 0.7, 12: 0.6, 16: 0.7, 18: 0.5}


@dataclass
class FakeJudge:
    """Knows how each iteration does; remembers what it was asked."""

    f1: dict = field(default_factory=lambda: dict(F1))
    words: str = "planes 9 to 10 of 10, held out"
    labels: tuple = (1,)
    scored: list = field(default_factory=list)
    calibrated: list = field(default_factory=list)

    def score(self, model):
        iteration = iteration_of(model.weights)
        self.scored.append(iteration)
        one = self.f1[iteration]
        return Scored(weights=model.weights.name, iteration=iteration, f1=one, threshold=0.25, f1_at_half=one / 2)

    def calibrate(self, model):
        self.calibrated.append(iteration_of(model.weights))
        return Calibration(weights=model.weights.name, scale=2.0, offset=1.0, planes=self.words, label=model.label)


@pytest.fixture
def out(tmp_path):
    create_run(tmp_path / "out", make=NetMake(width=32))
    return tmp_path / "out"


def asks(out, **judging):
    return TrainRequest(
        out=out,
        nets=("1fm",),
        settings=SolverSettings(numiterations=18, snapshot_interval=4),
        judging=Judging(held_out=True, **judging),
    )


def test_every_snapshot_and_the_last_one_are_scored_and_the_best_predicts(out):
    judge = FakeJudge()
    train(asks(out, keep="best", calibrate=True), InProcess(), judge=judge)
    assert judge.scored == [4, 8, 12, 16, 18]
    assert {one.iteration: one.f1 for one in validation_of(out / "1fm").scored} == F1
    assert iteration_of(TrainedRun(out).model("1fm").weights) == 8
    assert judge.calibrated == [8]
    assert validation_of(out / "1fm").calibration.weights == "1fm_classifer_iter_8.caffemodel"


def test_the_last_snapshot_predicts_and_is_calibrated_where_it_is_kept(out):
    judge = FakeJudge()
    train(asks(out, calibrate=True), InProcess(), judge=judge)
    assert iteration_of(TrainedRun(out).model("1fm").weights) == 18
    assert judge.calibrated == [18]


def test_a_training_ends_when_nothing_improves_and_stays_ended(out, caplog):
    caplog.set_level(logging.INFO)
    judge, engine = FakeJudge(), InProcess()
    train(asks(out, keep="best", patience=2, calibrate=True), engine, judge=judge)
    assert judge.scored == [4, 8, 12, 16]
    assert TrainedRun(out).highest_iteration("1fm") == 16
    assert "no better for 2 scores: its training ends" in caplog.text
    train(asks(out, keep="best", patience=2, calibrate=True), engine, judge=judge)
    assert len(engine.jobs) == 1
    assert judge.scored == [4, 8, 12, 16]
    assert judge.calibrated == [8]
    assert "iteration 16 of 18, where nothing improved any more: nothing to do" in caplog.text


@pytest.mark.parametrize("stops_at", [3, 5, 9, 17])
def test_an_interrupted_training_ends_with_the_same_record(out, tmp_path, stops_at):
    request = asks(out, keep="best", patience=3, calibrate=True)
    with pytest.raises(EngineError):
        train(request, InProcess(stops_at=stops_at), judge=FakeJudge())
    train(request, InProcess(), judge=FakeJudge())
    create_run(tmp_path / "other", make=NetMake(width=32))
    train(replace(request, out=tmp_path / "other"), InProcess(), judge=FakeJudge())
    assert validation_of(out / "1fm") == validation_of(tmp_path / "other" / "1fm")


def test_a_snapshot_that_a_killed_training_left_unscored_is_scored_before_it_goes_on(out):
    train(replace(asks(out), judging=Judging()), InProcess())
    judge = FakeJudge()
    train(asks(out, keep="best"), InProcess(), judge=judge)
    assert judge.scored == [4, 8, 12, 16, 18]
    assert iteration_of(TrainedRun(out).model("1fm").weights) == 8


def test_scores_of_iterations_that_are_trained_anew_are_forgotten(out):
    judge = FakeJudge()
    train(asks(out, keep="best"), InProcess(), judge=judge)
    for path in (out / "1fm" / "trainedmodel").glob("*_iter_[81]*"):
        path.unlink()
    judge.f1 = {**F1, 8: 0.1, 12: 0.9}
    train(asks(out, keep="best"), InProcess(), judge=judge)
    assert judge.scored == [4, 8, 12, 16, 18, 8, 12, 16, 18]
    assert iteration_of(TrainedRun(out).model("1fm").weights) == 12


def test_a_calibration_that_a_killed_training_lacked_is_made_by_the_next_call(out):
    train(asks(out), InProcess(), judge=FakeJudge())
    judge = FakeJudge()
    train(asks(out, calibrate=True), InProcess(), judge=judge)
    assert judge.calibrated == [18]


def test_without_held_out_planes_maps_are_calibrated_and_nothing_is_scored(out):
    judge = FakeJudge(words="planes that were trained on")
    train(replace(asks(out), judging=Judging(calibrate=True)), InProcess(), judge=judge)
    assert judge.scored == []
    assert validation_of(out / "1fm").calibration.planes == "planes that were trained on"
    assert validation_of(out / "1fm").planes == ""


def test_maps_that_tell_nothing_apart_are_said_to_be_and_left(out, caplog):
    judge = FakeJudge()
    judge.calibrate = lambda model: None
    train(asks(out, calibrate=True), InProcess(), judge=judge)
    assert "they are not calibrated. Train for longer" in caplog.text
    assert validation_of(out / "1fm").calibration is None


def test_a_training_as_the_original_trains_leaves_no_record(out):
    train(TrainRequest(out=out, nets=("1fm",), settings=SolverSettings(numiterations=5)), InProcess())
    assert not (out / "1fm" / "validation.json").exists()


def test_engines_over_files_score_nothing(out):
    with pytest.raises(InputError, match="scores and calibrates no snapshots: leave --holdout"):
        train(asks(out), FakeTrainingEngine(), judge=FakeJudge())


def test_the_original_s_commands_do_not_go_on_with_a_training_by_a_recipe(out):
    keep_recipe(out, Followed(name="quick", version=1, options={}))
    with pytest.raises(RunError, match="by the recipe quick, version 1; this one asks for none"):
        train(TrainRequest(out=out, nets=("1fm",)), InProcess())
    train(TrainRequest(out=out, nets=("1fm",), settings=SolverSettings(numiterations=2), recipe=True), InProcess())


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"keep": "first"}, "expected last or best"),
        ({"patience": -1}, "expected a number of at least 0"),
        ({"keep": "best"}, "--keep best without held-out planes"),
        ({"patience": 2}, "--patience without held-out planes"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, words):
    with pytest.raises(InputError, match=words):
        Judging(**asked)


def test_every_class_is_calibrated_and_those_that_cannot_be_are_named(out, caplog):
    class Judge(FakeJudge):
        def calibrate(self, model):
            return None if model.label == 2 else super().calibrate(model)

    judge = Judge(labels=(1, 2, 3))
    train(asks(out, calibrate=True), InProcess(), judge=judge)
    record = validation_of(out / "1fm")
    assert [record.calibration_of(label) is not None for label in (1, 2, 3)] == [True, False, True]
    assert "1fm, class 2: no threshold of its maps does better" in caplog.text
    train(asks(out, calibrate=True), InProcess(), judge=judge)
    assert judge.calibrated == [18, 18], "what is calibrated is not calibrated again"
