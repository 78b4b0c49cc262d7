from __future__ import annotations

import h5py
import numpy as np
import pytest

from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.volumes.labelled import labelled_shape

VOLUME = np.zeros((4, 3, 2), np.float32)


@pytest.fixture
def stack(tmp_path):
    def write(**datasets):
        path = tmp_path / "stack.h5"
        with h5py.File(path, "w") as file:
            file.update(datasets)
        return path

    return write


def test_shape_is_in_caffe_s_axes(stack):
    assert labelled_shape(stack(data=VOLUME, label=VOLUME)) == (4, 3, 2)


@pytest.mark.parametrize(
    ("datasets", "complaint"),
    [
        ({"data": VOLUME}, r"no /label \(found /data\)"),
        ({}, r"no /data \(found nothing\)"),
        ({"data": VOLUME, "label": VOLUME[:2]}, r"/data is \(4, 3, 2\) and /label \(2, 3, 2\)"),
        ({"data": VOLUME[0, 0], "label": VOLUME[0, 0]}, r"two volumes \(x, y, z\)"),
    ],
)
def test_what_is_not_a_pair_of_volumes_is_refused(stack, datasets, complaint):
    with pytest.raises(InputError, match=complaint):
        labelled_shape(stack(**datasets))


def test_a_file_that_is_cut_off_is_named(stack):
    path = stack(data=VOLUME, label=VOLUME)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(FormatError, match=r"stack\.h5"):
        labelled_shape(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"none\.h5 is not there"):
        labelled_shape(tmp_path / "none.h5")
