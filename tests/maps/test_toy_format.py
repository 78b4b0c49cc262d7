"""The seams are real: a format is two small modules and two lines in the lists, and then every command knows it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import cdeep3m
import toy_volumes
from address_volumes import addresses, maps_of
from cdeep3m.api import Model
from cdeep3m.cli import predict
from cdeep3m.engines.identity import IdentityEngine, IdentityNet
from cdeep3m.errors import InputError, RunError
from cdeep3m.geometry import Roi
from cdeep3m.maps import open as written
from cdeep3m.maps.base import MapSpec
from cdeep3m.prediction.core import NetInUse
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.volumes import open as read
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.formats import Format

SHAPE = (3, 40, 1030)
VALUES = addresses(SHAPE)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    one = Format(
        name="npy", what="a folder of .npy planes", module="toy_volumes", is_folder=True, holds=toy_volumes.holds
    )
    other = Format(name="npy", what="a folder of .npy planes", module="toy_maps", is_folder=True)
    monkeypatch.setattr(read, "FORMATS", [*read.FORMATS, one])
    monkeypatch.setattr(written, "FORMATS", [*written.FORMATS, other])


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for z, plane in enumerate(VALUES):
        np.save(folder / f"{z}.npy", plane)
    return folder


def test_a_volume_of_it_reads_like_any_other(images):
    volume = open_volume(images)
    assert (volume.shape, volume.dtype) == (SHAPE, np.uint8)
    box = Roi((1, 3, 1000), (3, 20, 1030))
    assert_array_equal(volume.read(box), VALUES[box.slices])
    assert_array_equal(np.concatenate([block for _, block in volume.blocks(1)]), VALUES)


def test_a_map_of_it_is_written_resumed_and_accounted_for(tmp_path):
    maps = written.open_maps(tmp_path / "out", MapSpec(shape=SHAPE), format_name="npy")
    boxes = [Roi((z, 0, 0), (z + 1, *SHAPE[1:])) for z in range(3)]
    assert maps.missing(boxes) == boxes
    maps.write(boxes[1], VALUES[1:2])
    assert maps.missing(boxes) == [boxes[0], boxes[2]]
    assert_array_equal(maps.read(boxes[1]), VALUES[1:2])
    with pytest.raises(RunError, match="missing"):
        maps.finish()


def test_cdeep3m_predict_takes_it_and_gives_it(images, tmp_path, monkeypatch):
    monkeypatch.setattr("cdeep3m.engines.select.select_engine", lambda *_, **__: (IdentityEngine(), [-1]))
    models = tmp_path / "trained" / "1fm" / "trainedmodel"
    models.mkdir(parents=True)
    (models / "1fm_classifer_iter_2.caffemodel").write_bytes(b"weights")
    (models.parent / "deploy.prototxt").touch()
    command = [
        "--models",
        "1fm",
        "--augspeed",
        "10",
        "--format",
        "npy",
        "--no-report",
        str(tmp_path / "trained"),
        str(images),
    ]
    assert predict.main([*command, str(tmp_path / "out")]) == 0
    made = sorted((tmp_path / "out" / "ensembled").glob("*.npy"))
    assert_array_equal(np.stack([np.load(path) for path in made]), maps_of(VALUES))


def test_python_takes_it_too(images):
    model = Model({"1fm": NetInUse(IdentityNet(1), VARIANTS[:1])})
    assert_array_equal(cdeep3m.predict(images, model), maps_of(VALUES))


def test_other_names_are_told(tmp_path):
    with pytest.raises(InputError, match="expected one of png, .*npy"):
        written.open_maps(tmp_path / "x", MapSpec(shape=SHAPE), format_name="nii")
