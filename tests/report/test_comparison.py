"""Two engines on the same packages; what they make of a voxel is a function typed here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cdeep3m.engines.base import Progress, TrainedModel
from cdeep3m.errors import EngineError, InputError
from cdeep3m.geometry import from_caffe_axes
from cdeep3m.report.comparison import compare_engines
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.hdf5 import read_dataset, write_datasets
from octave_cases import hdf5_file, synth

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = TrainedModel(net="1fm", deploy=Path("deploy.prototxt"), weights=Path("w.caffemodel"))


class FileEngine:
    """Predicts each plane of a stack with a function of its values in [0, 1] and its number."""

    name = "typed"

    def __init__(self, predict: Callable[[np.ndarray, int], np.ndarray | None]) -> None:
        self.plane = predict
        self.jobs: list = []

    def predict(self, job, *, report=None):
        self.jobs.append(job)
        for stack, folder in job.stacks:
            folder.mkdir()
            for z, values in enumerate(from_caffe_axes(read_dataset(stack)) / np.float32(255)):
                p = self.plane(values, z)
                if p is not None:
                    blob = np.stack([1 - p.T, p.T]).astype(np.float32)
                    write_datasets(folder / f"test.h5_shift_{z}.h5", {"data": blob[np.newaxis]})


def identity(values, z):
    return values


@pytest.fixture
def volume(tmp_path):
    return open_volume(hdf5_file(tmp_path / "v.h5", synth(4, 20, 1030, 1)))


def compare(volume, one, other, **options):
    engines = (FileEngine(one), -1), (FileEngine(other), 0)
    return compare_engines(engines, MODEL, volume, **options), engines


def test_every_voxel_of_the_images_is_compared_once(volume):
    seen: list[Progress] = []
    found, engines = compare(volume, identity, identity, report=seen.append)
    assert found.within_tolerance
    assert found.voxels == 4 * 20 * 1030
    assert seen == [Progress(1, 2), Progress(2, 2)]
    assert [[job.gpu for job in engine.jobs] for engine, _ in engines] == [[-1, -1], [0, 0]]


def test_one_voxel_of_each_package_that_differs_is_found(volume):
    def off(values, z):
        values = values.copy()
        if z == 2:
            values[12 + 19, 12 + 5] += 0.25 if values[12 + 19, 12 + 5] < 0.5 else -0.25
        return values

    found, _ = compare(volume, identity, off)
    assert found.largest == pytest.approx(0.25)
    assert found.equal_share == 1 - 2 / found.voxels
    assert not found.within_tolerance


def test_what_lies_around_the_images_does_not_count(volume):
    def off_outside(values, z):
        values = values.copy()
        values[-5:] = 0.5
        return values

    assert compare(volume, identity, off_outside)[0].largest == 0


def test_planes_from_the_middle_are_compared(volume):
    middle = synth(4, 20, 1030, 1)[1:3, :, :1000] / np.float32(255)

    def differs_elsewhere(values, z):
        assert z in (0, 1)
        return values if np.isin(middle[z, 5, :20], values).all() else 1 - values

    found, _ = compare(volume, identity, differs_elsewhere, planes=2)
    assert found.planes == 2 * 2


@pytest.mark.parametrize("planes", [0, 5, -1])
def test_more_planes_than_there_are_are_an_error(planes, volume):
    with pytest.raises(InputError, match=f"{planes} planes .* 1 to 4"):
        compare(volume, identity, identity, planes=planes)


def test_a_plane_that_was_left_out_is_named(volume):
    with pytest.raises(EngineError, match="typed ended without an error but wrote no test.h5_shift_3.h5"):
        compare(volume, identity, lambda values, z: values if z < 3 else None)


def test_planes_of_another_size_are_an_error(volume):
    with pytest.raises(EngineError, match="planes of 96 x 80 pixels; expected 1024 x 1024"):
        compare(volume, identity, lambda values, z: values[:80, :96])
