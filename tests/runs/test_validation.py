"""The record of a net's snapshots: scores, the one that predicts, the calibration."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cdeep3m.errors import FormatError
from cdeep3m.runs.calibration import Calibration
from cdeep3m.runs.trained import TrainedRun, chosen_weights, predicting_weights
from cdeep3m.runs.validation import RECORD, Scored, Validation, calibration_for, validation_of

CALIBRATION = Calibration(weights="1fm_iter_20.caffemodel", scale=2.0, offset=0.5, planes="planes 9 to 10 of 10")


def scored(iteration, f1):
    return Scored(
        weights=f"1fm_iter_{iteration}.caffemodel", iteration=iteration, f1=f1, threshold=0.25, f1_at_half=f1 / 2
    )


RECORDED = Validation(
    keep="best",
    planes="planes 9 to 10 of 10",
    scored=tuple(scored(10 * k, f1) for k, f1 in ((1, 0.2), (2, 0.6), (3, 0.5))),
)


@pytest.fixture
def net(tmp_path):
    models = tmp_path / "run" / "1fm" / "trainedmodel"
    models.mkdir(parents=True)
    (models.parent / "deploy.prototxt").touch()
    for iteration in (10, 20, 30):
        (models / f"1fm_iter_{iteration}.caffemodel").touch()
    return models.parent


def test_a_record_reads_as_it_was_written(net):
    assert validation_of(net) is None
    for record in (RECORDED, replace(RECORDED, calibration=CALIBRATION), Validation()):
        record.write(net)
        assert validation_of(net) == record


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"scored": [{}]}', '{"scored": [], "calibration": {"scale": 0}}'])
def test_a_damaged_record_is_refused_with_what_to_do(net, content):
    (net / RECORD).write_text(content)
    with pytest.raises(FormatError, match="Delete it"):
        validation_of(net)


def test_the_last_weights_predict_unless_the_best_are_kept(net):
    assert chosen_weights(net / "trainedmodel").name == "1fm_iter_30.caffemodel"
    replace(RECORDED, keep="last").write(net)
    assert chosen_weights(net / "trainedmodel").name == "1fm_iter_30.caffemodel"
    RECORDED.write(net)
    assert chosen_weights(net / "trainedmodel").name == "1fm_iter_20.caffemodel"
    assert predicting_weights(net / "trainedmodel").name == "1fm_iter_20.caffemodel"
    assert TrainedRun(net.parent).model("1fm").weights.name == "1fm_iter_20.caffemodel"


def test_best_weights_that_are_gone_are_said_to_be(net, caplog):
    RECORDED.write(net)
    (net / "trainedmodel" / "1fm_iter_20.caffemodel").unlink()
    assert chosen_weights(net / "trainedmodel").name == "1fm_iter_30.caffemodel"
    assert "lacks 1fm_iter_20.caffemodel, which scored best" in caplog.text


def test_of_equal_scores_the_earliest_counts_and_a_later_score_replaces_its_own():
    record = Validation(scored=(scored(10, 0.5), scored(20, 0.5), scored(30, float("nan"))))
    assert record.best == scored(10, 0.5)
    assert record.with_score(scored(20, 0.9)).best == scored(20, 0.9)
    assert [one.iteration for one in record.with_score(scored(15, 0.1)).scored] == [10, 15, 20, 30]


def test_the_calibration_of_other_weights_is_left_out_and_said_to_be(net, caplog):
    replace(RECORDED, calibration=CALIBRATION).write(net)
    assert calibration_for(net / "trainedmodel" / "1fm_iter_20.caffemodel") == CALIBRATION
    assert not caplog.text
    assert calibration_for(net / "trainedmodel" / "1fm_iter_30.caffemodel") is None
    assert not caplog.text
    assert calibration_for(net / "trainedmodel" / "1fm_iter_30.caffemodel", say=True) is None
    assert "belongs to 1fm_iter_20.caffemodel" in caplog.text


def test_calibrations_of_several_classes_are_kept_apart(net):
    second = replace(CALIBRATION, label=2, scale=3.0)
    record = replace(RECORDED, scored=(replace(scored(10, 0.5), classes=(0.4, None)),))
    for calibration in (replace(second, offset=9.0), CALIBRATION, second):
        record = record.with_calibration(calibration)
    record.write(net)
    assert validation_of(net) == record
    weights = net / "trainedmodel" / "1fm_iter_20.caffemodel"
    assert [calibration_for(weights, label=label) for label in (0, 1, 2, 3)] == [None, CALIBRATION, second, None]
    assert validation_of(net).scored[0].words == "mean F1 0.500 (class 1 0.400, class 2 not there), 0.250 at 0.5"


def test_a_record_of_before_reads_as_of_two_classes(net):
    RECORDED.write(net)
    content = json.loads((net / RECORD).read_text())
    del content["further"]
    for one in content["scored"]:
        del one["classes"]
    (net / RECORD).write_text(json.dumps(content))
    assert validation_of(net) == RECORDED
