"""Which planes predict_seg_new.bin writes, as measured with the fork's own tool."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cdeep3m.cli.predict_seg_new import main
from cdeep3m.proto.caffemodel import read_model, write_model
from cdeep3m.volumes.hdf5 import read_dataset
from engines.conformance import addresses, logistic_sum, make_model, make_stack


@pytest.fixture
def predict(tmp_path):
    """Run the tool on 7 planes along an axis; return its exit status and what it wrote, by number."""
    model = make_model(tmp_path / "trained")
    stack = make_stack(tmp_path / "stack.h5", addresses(7))

    def run(*flags: str) -> tuple[int, dict[int, np.ndarray]]:
        files = (f"--model={model.deploy}", f"--weights={model.weights}", f"--data={stack}")
        status = main([*files, f"--predict={tmp_path / 'out' / 'p'}", "--gpu=-1", *flags])
        found = (tmp_path / "out").glob("p_shift_*.h5")
        return status, {int(path.stem.removeprefix("p_shift_")): np.array(read_dataset(path)) for path in found}

    return run


@pytest.mark.parametrize(
    ("flags", "planes"),
    [
        ([], range(7)),
        (["--shift_num=0"], range(7)),
        (["--start_slice=2", "--shift_num=5"], range(2, 5)),
        (["--start_slice=5"], range(5, 7)),
        (["--shift_num=-1"], range(1)),
        (["--start_slice=3", "--shift_num=-4"], range(3, 4)),
        (["--start_slice=-3", "--shift_num=2"], range(2)),
        (["--start_slice=5", "--shift_num=9"], range(5, 9)),
        (["--shift_stride=2", "--shift_num=3"], range(3)),
        (["-shift_num", "3", "-shift_stride", "0"], range(3)),
    ],
)
def test_shift_num_is_where_the_planes_end(predict, flags, planes):
    status, found = predict("--shift_axis=2", *flags)
    assert (status, sorted(found)) == (0, list(planes))
    beyond = logistic_sum(np.concatenate([addresses(7), np.zeros((3, 16, 32), np.uint8)]))
    for z in planes:
        assert_allclose(found[z][0, 1].T, beyond[z], atol=1e-5)


@pytest.mark.parametrize("flags", [["--start_slice=4", "--shift_num=3"], ["--start_slice=7"]])
def test_an_end_before_the_start_is_one_line_and_writes_nothing(predict, flags, capsys):
    status, found = predict("--shift_axis=2", *flags)
    assert (status, found) == (1, {})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ERROR, {flags[0]} --shift_num=")


@pytest.mark.parametrize("flags", [[], ["--shift_axis=0"]])
def test_without_an_axis_the_planes_follow_x(predict, flags):
    status, found = predict("--shift_num=2", *flags)
    assert (status, sorted(found)) == (0, [0, 1])
    first = np.zeros((3, 16, 32))
    first[..., 16:] = addresses(7)[:3, :, :16]
    assert_allclose(found[0][0, 1].T, logistic_sum(first)[1], atol=1e-5)


def test_another_axis_is_one_line(predict, capsys):
    assert predict("--shift_axis=3") == (1, {})
    assert capsys.readouterr().err == "ERROR, --shift_axis=3: expected 0, 1 or 2 for x, y or z\n"


@pytest.mark.parametrize("odd", [np.nan, -np.inf])
def test_a_stack_of_what_is_no_number_is_refused(odd, tmp_path, capsys):
    model = make_model(tmp_path / "trained")
    values = addresses(7).astype(np.float32)
    values[3, 4, 5] = odd
    stack = make_stack(tmp_path / "stack.h5", values)
    files = (f"--model={model.deploy}", f"--weights={model.weights}", f"--data={stack}")
    assert main([*files, f"--predict={tmp_path / 'out' / 'p'}", "--gpu=-1"]) == 1
    assert "stack.h5 holds " in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(odd, tmp_path, capsys):
    model = make_model(tmp_path / "trained")
    message = read_model(model.weights)
    next(layer for layer in message.layer if layer.blobs).blobs[0].data[0] = odd
    write_model(model.weights, message)
    stack = make_stack(tmp_path / "stack.h5", addresses(7))
    files = (f"--model={model.deploy}", f"--weights={model.weights}", f"--data={stack}")
    assert main([*files, f"--predict={tmp_path / 'out' / 'p'}", "--gpu=-1"]) == 1
    assert "weights that are NaN or infinite" in capsys.readouterr().err
