"""Layers that join, part, cut and rename blobs, and those that make them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cdeep3m.errors import NetError
from one_layer import addresses, make, run

BLOB = np.arange(24).reshape(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("text", "axis"), [("", 1), ("axis: 2", 2), ("axis: -1", 3), ("concat_dim: 3", 3), ("axis: 0", 0)]
)
def test_concat_joins_along_its_axis(text, axis):
    (top,) = run(f'type: "Concat" concat_param {{ {text} }}', BLOB, BLOB + 100)
    assert_array_equal(top, np.concatenate([BLOB, BLOB + 100], axis))


def test_concat_of_other_sides_names_them_and_the_remedy():
    with pytest.raises(
        NetError, match="expected bottoms that differ on axis 1 only, found b0 1x2x3x4, b1 1x2x3x5; .*multiples of 16"
    ):
        make('type: "Concat"', (1, 2, 3, 4), (1, 2, 3, 5)).top_shapes((1, 2, 3, 4), (1, 2, 3, 5))


@pytest.mark.parametrize(
    ("text", "tops", "expected"),
    [
        ("", 2, [BLOB[:, :1], BLOB[:, 1:]]),
        ("axis: 3 slice_point: 1 slice_point: 2", 3, [BLOB[..., :1], BLOB[..., 1:2], BLOB[..., 2:]]),
        ("slice_dim: 2 slice_point: 2", 2, [BLOB[:, :, :2], BLOB[:, :, 2:]]),
        ("axis: -1", 4, [BLOB[..., i : i + 1] for i in range(4)]),
    ],
)
def test_slice_parts_at_its_points_or_equally(text, tops, expected):
    found = run(f'type: "Slice" slice_param {{ {text} }}', BLOB, tops=tops)
    assert len(found) == len(expected)
    for top, values in zip(found, expected, strict=True):
        assert_array_equal(top, values)


@pytest.mark.parametrize(("text", "tops"), [("axis: 2", 2), ("axis: 2 slice_point: 1", 3), ("slice_point: 2", 2)])
def test_slice_that_does_not_fit_is_refused(text, tops):
    with pytest.raises(NetError, match="tops cannot be cut from 1x2x3x4"):
        make(f'type: "Slice" slice_param {{ {text} }}', BLOB.shape, tops=tops).top_shapes(BLOB.shape)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", BLOB[:, :, :2, :3]),
        ("offset: 1", BLOB[:, :, 1:3, 1:4]),
        ("offset: 1 offset: 0", BLOB[:, :, 1:3, :3]),
        ("axis: 3 offset: 1", BLOB[..., 1:4]),
        ("axis: -1", BLOB[..., :3]),
    ],
)
def test_crop_cuts_to_the_second_bottom(text, expected):
    assert_array_equal(run(f'type: "Crop" crop_param {{ {text} }}', BLOB, np.zeros((1, 9, 2, 3)))[0], expected)


@pytest.mark.parametrize(
    ("text", "shape", "problem"),
    [
        ("offset: 2", (1, 2, 2, 3), "outside"),
        ("offset: 0 offset: 0 offset: 0", (1, 2, 2, 3), "3 offsets"),
        ("", (1, 2), "as many axes"),
    ],
)
def test_crop_that_does_not_fit_is_refused(text, shape, problem):
    with pytest.raises(NetError, match=problem):
        make(f'type: "Crop" crop_param {{ {text} }}', BLOB.shape, shape).top_shapes(BLOB.shape, shape)


@pytest.mark.parametrize(
    ("text", "shape", "expected"),
    [
        ("shape { dim: 0 dim: 0 dim: 0 dim: 0 }", (1, 2, 3, 4, 1), (1, 2, 3, 4)),
        ("shape { dim: 0 dim: -1 }", (1, 2, 3, 4), (1, 24)),
        ("shape { dim: 5 dim: 0 dim: 0 dim: 1 }", (1, 2, 3, 4), None),
        ("shape { dim: 4 dim: 6 }", (1, 2, 3, 4), (4, 6)),
        ("shape { dim: 6 } axis: 1 num_axes: 2", (1, 2, 3, 4), (1, 6, 4)),
        ("shape { dim: 1 } axis: -1 num_axes: 0", (2, 3), (2, 3, 1)),
        ("shape { dim: 5 }", (2, 3), None),
        ("shape { dim: 0 dim: 0 dim: 0 }", (2, 3), None),
    ],
)
def test_reshape_keeps_the_values_in_order(text, shape, expected):
    layer = make(f'type: "Reshape" reshape_param {{ {text} }}', shape)
    if expected is None:
        with pytest.raises(NetError, match="cannot become|do not fit"):
            layer.top_shapes(shape)
        return
    bottom = addresses(*shape)
    (top,) = run(f'type: "Reshape" reshape_param {{ {text} }}', bottom)
    assert_array_equal(top, bottom.reshape(expected).astype(np.float32))


@pytest.mark.parametrize(
    ("text", "shape"), [("", (1, 24)), ("axis: 2", (1, 2, 12)), ("axis: 0 end_axis: 1", (2, 3, 4))]
)
def test_flatten_makes_neighbouring_axes_one(text, shape):
    assert_array_equal(run(f'type: "Flatten" flatten_param {{ {text} }}', BLOB)[0], BLOB.reshape(shape))


def test_split_gives_the_same_blob_under_every_name():
    for top in run('type: "Split"', BLOB, tops=3):
        assert_array_equal(top, BLOB)


def test_silence_gives_nothing():
    assert run('type: "Silence"', BLOB, BLOB, tops=0) == []


def test_dummy_data_has_a_shape_and_a_filler_for_each_top():
    text = """type: "DummyData" dummy_data_param {
        shape { dim: 2 dim: 3 } shape { dim: 4 } data_filler { value: 5 } data_filler { type: "uniform" min: 7 max: 8 }
    }"""
    first, second = run(text, tops=2)
    assert_array_equal(first, np.full((2, 3), 5))
    assert second.shape == (4,)
    assert ((second >= 7) & (second < 8)).all()


def test_dummy_data_reads_the_old_shapes():
    text = 'type: "DummyData" dummy_data_param { num: 1 channels: 2 height: 3 width: 4 }'
    assert_array_equal(run(text, tops=1)[0], np.zeros((1, 2, 3, 4)))


def test_input_needs_values_of_the_caller():
    layer = make('type: "Input" input_param { shape { dim: 1 dim: 2 } }', tops=2)
    assert layer.top_shapes() == ((1, 2), (1, 2))
    with pytest.raises(NetError, match="no values were given for t0, t1"):
        layer.forward()
