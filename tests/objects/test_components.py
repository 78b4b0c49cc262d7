"""Labels of a block get the numbers of their objects, each voxel that of its own label."""

from __future__ import annotations

import numpy as np
import pytest

from cdeep3m.errors import RunError
from cdeep3m.objects.components import renumbered


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32])
def test_every_voxel_gets_the_number_of_its_label(dtype: type) -> None:
    labels = np.random.default_rng(0).integers(0, 7, (5, 6, 7)).astype(dtype)[:, ::2]
    numbers = np.array([0, 90, 2**32 + 5, 7, 7, 0, 1], np.uint64)
    assert np.array_equal(renumbered(labels, numbers), numbers[labels])
    assert renumbered(labels, numbers).dtype == np.uint64


def test_a_label_that_was_not_there_before_is_refused() -> None:
    with pytest.raises(RunError, match="expected 2 objects in a block, found 3"):
        renumbered(np.array([[[0, 3]]], np.uint16), np.zeros(3, np.uint32))
