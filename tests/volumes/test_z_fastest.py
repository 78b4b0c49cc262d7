"""Stacks with z fastest in memory."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cdeep3m.geometry import from_caffe_axes, to_caffe_axes
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.volumes import mapped
from cdeep3m.volumes import z_fastest as layout
from cdeep3m.volumes.z_fastest import copy_stack, for_each_variant, repeat_planes

ADDRESSES = np.arange(5 * 70 * 40, dtype=np.uint16).reshape(5, 70, 40)


def z_fastest(stack):
    return from_caffe_axes(np.ascontiguousarray(to_caffe_axes(stack)))


@pytest.mark.parametrize("gathered", [1, 10 * 7, 10 * 40, 10**6])
@pytest.mark.parametrize("lay_out", [np.ascontiguousarray, z_fastest])
def test_copies_have_every_voxel_in_its_place(lay_out, gathered, monkeypatch):
    monkeypatch.setattr(layout, "GATHERED_BYTES", gathered)
    target = lay_out(np.zeros((9, 70, 40), np.uint16))
    copy_stack(z_fastest(ADDRESSES), target[2:7])
    assert_array_equal(target[2:7], ADDRESSES)
    assert not target[[0, 1, 7, 8]].any()


def test_a_copy_takes_the_type_of_its_target():
    target = np.zeros(ADDRESSES.shape, np.float32)
    copy_stack(ADDRESSES, target)
    assert_array_equal(target, ADDRESSES)


def test_planes_are_repeated_within_a_stack():
    stack = z_fastest(ADDRESSES)
    repeat_planes(stack, {0: 2, 4: 3})
    assert_array_equal(stack, ADDRESSES[[2, 1, 2, 3, 3]])


@pytest.mark.parametrize("at_once", [True, False])
def test_every_variant_sees_its_planes_in_its_direction(at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    stack, other = (
        from_caffe_axes(mapped.zeros((40, 70, 5), np.dtype(np.uint16), folder=tmp_path)),
        z_fastest(ADDRESSES),
    )
    copy_stack(ADDRESSES, stack)
    shown = {}

    def show(variant):
        shown[variant] = variant.turn(stack).copy(), variant.turn(other).copy()

    for_each_variant(show, VARIANTS[::-1], stack, other, at_once=at_once)
    assert shown.keys() == set(VARIANTS)
    for variant, seen in shown.items():
        assert_array_equal(seen, [variant.apply(ADDRESSES)] * 2)
    assert_array_equal(stack, ADDRESSES)


def test_stacks_that_nobody_needs_any_more_are_not_put_back():
    stack, shown = z_fastest(ADDRESSES), {}
    for_each_variant(
        lambda variant: shown.update({variant: variant.turn(stack).copy()}), VARIANTS, stack, put_back=False
    )
    for variant, seen in shown.items():
        assert_array_equal(seen, variant.apply(ADDRESSES))
    assert_array_equal(stack, ADDRESSES[::-1])


def test_planes_are_put_back_after_an_error():
    stack = z_fastest(ADDRESSES)

    def fail(variant):
        raise OSError(variant.index)

    with pytest.raises(OSError, match="9"):
        for_each_variant(fail, VARIANTS[8:9], stack)
    assert_array_equal(stack, ADDRESSES)
