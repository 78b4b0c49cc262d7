"""Predictions of models that expect enhanced images, with a net whose probability is the voxel's own value."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from address_volumes import maps_of
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.errors import InputError, RunError
from cdeep3m.prediction.over_files.stages import FileRun
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.runs.events import read_events
from cdeep3m.runs.provenance import RECORD, TrainedOn, keep_record, trained_on, warn_of_other_images
from cdeep3m.runs.states import prediction_events
from cdeep3m.volumes.enhancement import Enhancement, enhance
from octave_cases import png_folder, synth

SHAPE = (3, 24, 30)


def stack() -> np.ndarray:
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    smooth = 100 + 60 * np.sin(y / 5 + np.arange(SHAPE[0])[:, None, None]) * np.cos(x / 6)
    return (smooth + synth(*SHAPE, 4) % 13).astype(np.uint8)


@pytest.fixture
def trained(tmp_path):
    models = tmp_path / "trained" / "1fm" / "trainedmodel"
    models.mkdir(parents=True)
    (models / "1fm_classifer_iter_2.caffemodel").write_bytes(b"weights")
    (models.parent / "deploy.prototxt").touch()
    return tmp_path / "trained"


def request_(tmp_path, trained, name="out", **options) -> PredictRequest:
    images = png_folder(tmp_path / "images", stack())
    return PredictRequest(trained=trained, images=images, out=tmp_path / name, nets=("1fm",), aug_speed=10, **options)


def maps(request: PredictRequest) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) for path in sorted((request.out / "1fm").glob("*.png"))])


def expected(**options) -> np.ndarray:
    return np.stack([maps_of(enhance(plane, **options)) for plane in stack()])


def test_a_model_trained_on_enhanced_images_is_predicted_so_without_any_flag(tmp_path, trained, caplog):
    TrainedOn(edition=2, enhancement=Enhancement(cut=3)).write(trained)
    request = request_(tmp_path, trained)
    with caplog.at_level(logging.INFO):
        predict(request, IdentityEngine(), gpu=-1)
    assert_array_equal(maps(request), expected(cut=3))
    said = "Images: enhanced (3 % cut off, percentiles of each plane), as the model was trained"
    assert said in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("denoise", [0, 2])
def test_gray_values_are_noted_as_the_nets_see_them(tmp_path, trained, denoise):
    """As those of a training are; else the images of every model with enhancement would look unlike its training's."""
    request = request_(tmp_path, trained, denoise=denoise)
    predict(request, IdentityEngine(), gpu=-1)
    noted = next(event for event in read_events(prediction_events(request.out)) if event.name == "images")
    seen = [enhance(plane, cut=denoise) if denoise else plane for plane in stack()]
    assert noted.values["histogram"] == np.bincount(np.ravel(seen), minlength=256).tolist()


def test_a_model_without_a_record_sees_images_as_they_are(tmp_path, trained):
    request = request_(tmp_path, trained)
    predict(request, IdentityEngine(), gpu=-1)
    assert_array_equal(maps(request), np.stack([maps_of(plane) for plane in stack()]))


@pytest.mark.parametrize(("denoise", "words"), [(0, "as they are"), (7, "7 % cut off")])
def test_denoise_overrules_the_record_with_a_warning(tmp_path, trained, caplog, denoise, words):
    TrainedOn(edition=2, enhancement=Enhancement()).write(trained)
    request = request_(tmp_path, trained, denoise=denoise)
    predict(request, IdentityEngine(), gpu=-1)
    found = expected(cut=denoise) if denoise else np.stack([maps_of(plane) for plane in stack()])
    assert_array_equal(maps(request), found)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(words in warning and "2 % cut off" in warning for warning in warnings)


def test_a_run_does_not_go_on_with_another_enhancement(tmp_path, trained):
    request = request_(tmp_path, trained)
    predict(request, IdentityEngine(), gpu=-1)
    with pytest.raises(RunError, match="enhancement"):
        predict(request_(tmp_path, trained, denoise=2), IdentityEngine(), gpu=-1)


def test_stages_over_files_enhance_too(tmp_path, trained):
    request = request_(tmp_path, trained, denoise=2)
    predict(request, IdentityEngine(), gpu=-1)
    (request.out / "DONE").unlink()
    assert FileRun.open(request.out).enhancement == Enhancement(cut=2)


def test_a_record_is_written_and_read_again(tmp_path):
    record = TrainedOn(edition=2, enhancement=Enhancement(cut=5), augmentation="skew 5", voxel_size=(30.0, 8.0, 8.0))
    record.write(tmp_path)
    assert trained_on(tmp_path) == record
    (tmp_path / RECORD).write_text("{}")
    with pytest.raises(InputError, match="is no record of a training"):
        trained_on(tmp_path)


def test_settings_of_cdeep3m2_say_what_its_images_went_through(tmp_path):
    assert trained_on(tmp_path) is None
    (tmp_path / "ConfigSettings_v1.txt").write_text("Secondary augmentation strength:-1 \nTertiary ...")
    assert trained_on(tmp_path).enhancement == Enhancement(cut=2)
    (tmp_path / "ConfigSettings_v2.txt").write_text("Secondary augmentation strength:3\nTertiary ...")
    with pytest.raises(InputError, match="expected one kind"):
        trained_on(tmp_path)
    (tmp_path / "ConfigSettings_v1.txt").unlink()
    assert trained_on(tmp_path).enhancement is None


def test_retraining_on_other_images_is_warned_about(tmp_path, caplog):
    TrainedOn(enhancement=Enhancement()).write(tmp_path)
    warn_of_other_images(tmp_path, TrainedOn(enhancement=Enhancement()))
    warn_of_other_images(None, None)
    assert not caplog.records
    warn_of_other_images(tmp_path, None)
    assert "it goes on with images as they are" in caplog.text


def test_models_are_not_trained_further_on_other_images(tmp_path, trained):
    keep_record(trained, TrainedOn(enhancement=Enhancement()))
    keep_record(trained, TrainedOn(enhancement=Enhancement()))
    with pytest.raises(InputError, match="into another folder"):
        keep_record(trained, TrainedOn())
