from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from cdeep3m.engines.base import TrainedModel
from cdeep3m.errors import InputError, RunError, StoppedError
from cdeep3m.runs.prediction import PredictionRun, forget_errors, read_config

SETTINGS = {"trainedmodeldir": "/models/a%b", "imagedir": "/images", "models": "1fm", "augspeed": "1"}


@pytest.fixture
def run(tmp_path):
    return PredictionRun.create(tmp_path / "out")


@pytest.fixture
def model(tmp_path):
    weights = tmp_path / "1fm_classifer_iter_7.caffemodel"
    weights.write_bytes(b"weights")
    return TrainedModel(net="1fm", deploy=tmp_path / "deploy.prototxt", weights=weights)


def test_planes_count_from_one(run):
    assert run.net_folder("3fm").name == "3fm"


def test_config_holds_the_original_s_keys(run, model):
    run.begin(SETTINGS, {"1fm": model})
    config = read_config(run.folder / "predict.config")
    assert {key: config[key] for key in SETTINGS} == SETTINGS
    assert (run.folder / "predict.config").read_text().startswith("[default]\ntrainedmodeldir=")


def test_the_same_settings_go_on(run, model):
    run.begin(SETTINGS, {"1fm": model})
    (run.net_folder("1fm") / "Segmented_0001.png").touch()
    run.begin(SETTINGS, {"1fm": model})


@pytest.mark.parametrize("change", [{"augspeed": "10"}, {"imagedir": "/elsewhere"}])
def test_other_settings_are_refused_once_there_are_planes(run, model, change):
    run.begin(SETTINGS, {"1fm": model})
    run.begin(SETTINGS | change, {"1fm": model})
    (run.net_folder("1fm") / "Segmented_0001.png").touch()
    with pytest.raises(RunError, match="choose another folder"):
        run.begin(SETTINGS, {"1fm": model})


def test_another_model_is_refused_once_there_are_planes(run, model):
    run.begin(SETTINGS, {"1fm": model})
    (run.net_folder("1fm") / "Segmented_0001.png").touch()
    model.weights.write_bytes(b"trained further")
    with pytest.raises(RunError, match=r"model\.1fm"):
        run.begin(SETTINGS, {"1fm": model})


def test_an_error_is_kept_and_stops_the_next_run(run):
    failure = InputError("plane 3 is damaged")
    failure.exit_code = 10
    with pytest.raises(InputError), run.recording_errors():
        raise failure
    assert (run.folder / "ERROR").read_text() == "ERROR, plane 3 is damaged\n10\n"
    assert (run.folder / "KILL.REQUEST").read_text() == "ERROR, plane 3 is damaged\n"
    with pytest.raises(RunError, match="delete ERROR") as caught:
        run.demand_startable()
    assert caught.value.exit_code == 99
    forget_errors(run.folder)
    run.demand_startable()


def test_a_config_with_a_nul_is_refused(tmp_path):
    (tmp_path / "predict.config").write_bytes(b"[default]\nimagedir=/a\0b\n")
    with pytest.raises(RunError, match="holds a NUL") as caught:
        read_config(tmp_path / "predict.config")
    assert caught.value.exit_code == 2


def release_when_interrupted():
    try:
        raise KeyboardInterrupt
    finally:
        threading.RLock().release()


def test_a_lock_that_ctrl_c_has_released_twice_is_no_error(run):
    with pytest.raises(RuntimeError, match="un-acquired"), run.recording_errors():
        release_when_interrupted()
    assert not (run.folder / "ERROR").exists()


def test_a_request_to_stop_is_no_error(run):
    (run.folder / "KILL.REQUEST").touch()
    with pytest.raises(StoppedError) as caught, run.recording_errors():
        run.demand_no_kill()
    assert caught.value.exit_code == 11
    assert not (run.folder / "ERROR").exists()


HOLD_THE_LOCK = """
import sys, pathlib
from cdeep3m.runs.prediction import PredictionRun
with PredictionRun(pathlib.Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_is_gone(run):
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(run.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="another prediction is running"), run.locked():
            pass
        other.kill()
    with run.locked():
        pass


def test_of_several_that_find_all_planes_there_one_finishes_the_run(run):
    with run.finishing() as first, run.finishing() as second:
        assert (first, second) == (True, False)
    with run.finishing() as later:
        assert later


def test_a_foreign_config_is_told_with_status_2(tmp_path):
    path = tmp_path / "predict.config"
    path.write_text("nothing of the kind")
    with pytest.raises(RunError, match="default") as caught:
        read_config(path)
    assert caught.value.exit_code == 2


def test_out_that_cannot_be_made_is_status_3(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError) as caught:
        PredictionRun.create(tmp_path / "file" / "out")
    assert caught.value.exit_code == 3


def test_a_config_that_begins_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "predict.config"
    path.write_bytes(b"\xef\xbb\xbf[default]\r\nmodels=1fm\r\n")
    assert read_config(path)["models"] == "1fm"
