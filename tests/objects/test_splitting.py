"""What is spared where a component cannot be split changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from cdeep3m.objects.splitting import split_components

CROSS = ndimage.generate_binary_structure(3, 1)


def plainly(labels: np.ndarray, depth: float, sampling: tuple[float, float, float]) -> np.ndarray:
    """Split every component by the whole procedure."""
    parts, count = np.zeros(labels.shape, np.int32), 0
    for number in range(1, labels.max() + 1):
        inside = np.pad(labels == number, 1)
        distance = ndimage.distance_transform_edt(inside, sampling)
        levelled = reconstruction(distance - depth, distance, method="dilation", footprint=CROSS)
        seeds, _ = ndimage.label(local_maxima(levelled, connectivity=1) & inside, CROSS)
        own = watershed(-distance, seeds, connectivity=1, mask=inside) if seeds.max() > 1 else inside.astype(np.int32)
        parts += np.where(own > 0, own + count, 0)[1:-1, 1:-1, 1:-1]
        count += int(own.max())
    return parts


@pytest.mark.parametrize("sampling", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0)])
@pytest.mark.parametrize("depth", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("seed", range(3))
def test_parts_are_those_of_the_whole_procedure(seed, depth, sampling):
    rough = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((14, 30, 32)), 1.8)
    labels, count = ndimage.label(rough > 0.6 * rough.std(), CROSS)
    parts, found = split_components(labels, depth=depth, sampling=sampling)
    np.testing.assert_array_equal(parts, plainly(labels, depth, sampling))
    assert found == parts.max() >= count
