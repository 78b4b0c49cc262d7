"""One rule for which weights belong to a solver state."""

from __future__ import annotations

import pytest

from cdeep3m.errors import MissingFileError
from cdeep3m.proto.caffe_pb2 import SolverState
from cdeep3m.proto.caffemodel import write_state
from cdeep3m.proto.learned_net import learned_net


def state_of(folder, recorded):
    folder.mkdir(exist_ok=True)
    write_state(folder / "x_iter_3.solverstate", SolverState(iter=3, learned_net=str(recorded)))
    return folder / "x_iter_3.solverstate"


@pytest.mark.parametrize("recorded", ["gone/x.caffemodel", "/other/machine/x.caffemodel", r"C:\\other\\x.caffemodel"])
def test_weights_of_another_machine_lie_beside_the_state(tmp_path, recorded):
    (tmp_path / "x.caffemodel").touch()
    assert learned_net(state_of(tmp_path, recorded), folder=tmp_path / "work") == tmp_path / "x.caffemodel"


def test_a_copied_run_goes_on_from_its_copy_while_the_original_is_still_there(tmp_path):
    (tmp_path / "original").mkdir()
    (tmp_path / "original" / "x.caffemodel").touch()
    state = state_of(tmp_path / "copy", tmp_path / "original" / "x.caffemodel")
    (tmp_path / "copy" / "x.caffemodel").touch()
    assert learned_net(state) == tmp_path / "copy" / "x.caffemodel"


def test_the_recorded_path_counts_where_nothing_lies_beside_the_state(tmp_path):
    (tmp_path / "work" / "here").mkdir(parents=True)
    (tmp_path / "work" / "here" / "x.caffemodel").touch()
    state = state_of(tmp_path / "states", "here/x.caffemodel")
    assert learned_net(state, folder=tmp_path / "work") == tmp_path / "work" / "here" / "x.caffemodel"


@pytest.mark.parametrize("recorded", ["", "gone/other.caffemodel"])
def test_the_state_s_own_name_is_the_last_resort(tmp_path, recorded):
    state = state_of(tmp_path, recorded)
    (tmp_path / "x_iter_3.caffemodel").touch()
    assert learned_net(state) == tmp_path / "x_iter_3.caffemodel"


def test_missing_weights_are_told(tmp_path):
    with pytest.raises(MissingFileError, match="x.caffemodel is not there; x_iter_3.solverstate goes on from it"):
        learned_net(state_of(tmp_path, "gone/x.caffemodel"))
