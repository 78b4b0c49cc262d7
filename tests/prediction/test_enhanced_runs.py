"""Predictions of models that expect enhanced images, with a net whose probability is the voxel's own value."""

from __future__ import annotations

import logging

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from address_volumes import maps_of
from cdeep3m.cli import preprocess_training_data, preprocess_validation, runprediction
from cdeep3m.edition2.overlaying import overlay
from cdeep3m.engines import select
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.errors import InputError, RunError
from cdeep3m.evaluation.scoring import maps_in
from cdeep3m.prediction.over_files.prepare import PackageSource, define_packages
from cdeep3m.prediction.over_files.stages import FileRun
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.preprocessing.enhancing import enhance_stack
from cdeep3m.runs.events import read_events
from cdeep3m.runs.provenance import RECORD, TrainedOn, keep_record, trained_on, warn_of_other_images
from cdeep3m.runs.states import prediction_events
from cdeep3m.training.data import load_labelled_volume
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.address import Address
from cdeep3m.volumes.axes import Selection, parse_roi
from cdeep3m.volumes.enhancement import Enhancement, enhance
from cdeep3m.volumes.hdf5 import read_dataset
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


WIDE = (2, 40, 1100)
"""Two packages a plane."""


def textured(shape: tuple[int, int, int]) -> np.ndarray:
    z, y, x = np.indices(shape)
    return (100 + 60 * np.sin(y / 5 + z) * np.cos(x / 6) + synth(*shape, 4) % 13).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "selection", "options"),
    [
        (WIDE, {}, {}),
        (WIDE, {}, {"fit": True, "blend": True}),
        (WIDE, {"roi": parse_roi("0:2,5:38,30:1090")}, {}),
        ((5, 24, 30), {"roi": parse_roi("1:4,2:22,7:29")}, {"fit": True}),
        ((5, 24, 30), {"roi": parse_roi("1:4,2:22,7:29")}, {"fit": True, "whole_volume": True}),
        ((5, 150, 140), {}, {"format": "h5", "dtype": "uint16", "fit": True}),
        ((5, 150, 140), {"roi": parse_roi("1:4,2:140,7:139")}, {"format": "ome-zarr", "fit": True}),
        ((1, 14, 14), {}, {}),
        ((3, 17, 1013), {}, {}),
    ],
    ids=["packages", "blend", "roi of packages", "roi", "roi, whole volume", "h5", "boxes", "one plane", "odd"],
)
@pytest.mark.parametrize("asked", [True, False], ids=["asked for", "by the record"])
def test_what_is_predicted_is_what_enhance_stack_writes(tmp_path, trained, shape, selection, options, asked):
    """However a volume is cut up, a part of it looks as it does in the whole."""
    if options.get("format") not in (None, "png", "h5"):
        pytest.importorskip("tensorstore")
    options = dict(options)
    enhancement = Enhancement(cut=3, whole_volume=options.pop("whole_volume", False))
    images, between = png_folder(tmp_path / "images", textured(shape)), tmp_path / "between"
    enhance_stack(images, between, enhancement)
    made = {}
    for name, source, denoise in (("directly", images, 3 if asked else None), ("over files", between, 0)):
        enhancement_asked = {"denoise": denoise, "whole_volume": enhancement.whole_volume} if denoise else {}
        if denoise is None:
            TrainedOn(edition=2, enhancement=enhancement).write(trained)
        elif denoise == 0:
            enhancement_asked = {"denoise": 0}
        request = PredictRequest(
            **{"trained": trained, "out": tmp_path / name, "nets": ("1fm",), "aug_speed": 10},
            **{"images": Address(str(source), selection=Selection(**selection)), **enhancement_asked, **options},
        )
        predict(request, IdentityEngine(), gpu=-1)
        made[name] = read_all(open_volume(maps_in(tmp_path / name), role="values"))
    assert_array_equal(made["directly"], made["over files"])
    assert made["directly"].std() > 0


@pytest.mark.parametrize(
    ("options", "roi"), [((), None), (("--roi", "0:2,1:23,3:29"), "0:2,1:23,3:29"), (("--format", "h5"), None)]
)
def test_maps_are_laid_over_what_the_nets_saw(tmp_path, trained, monkeypatch, options, roi):
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (IdentityEngine(), [-1]))
    TrainedOn(edition=2, enhancement=Enhancement()).write(trained)
    images, out = png_folder(tmp_path / "images", stack()), tmp_path / "out"
    fast = ("--edition", "2", "--models", "1fm", "--augspeed", "10", "--no-report")
    assert runprediction.main([*fast, *options, str(trained), str(images), str(out)]) == 0
    seen = np.stack([enhance(plane) for plane in stack()])
    box = parse_roi(roi).slices if roi else ...
    found = read_all(open_volume(maps_in(out), role="values"))
    pictures = [np.array(Image.open(path)) for path in sorted((out / "overlay").iterdir())]
    assert_array_equal(pictures, [overlay(*pair) for pair in zip(found, seen[box], strict=True)])


def test_axes_are_named_before_planes_are_enhanced(tmp_path, trained):
    """The planes of an array whose axes are (z, y, x), where (x, y, z) are usual, are those of the volume."""
    volume = textured((4, 24, 30))
    with h5py.File(tmp_path / "turned.h5", "w") as file:
        file["data"] = volume
    enhance_stack(png_folder(tmp_path / "images", volume), tmp_path / "between", Enhancement())
    sources = (Address(str(tmp_path / "turned.h5"), selection=Selection(axes="zyx")), tmp_path / "between")
    made = []
    for number, (source, denoise) in enumerate(zip(sources, (2, 0), strict=True)):
        request = PredictRequest(
            **{"trained": trained, "images": source, "out": tmp_path / str(number), "nets": ("1fm",)},
            **{"aug_speed": 10, "denoise": denoise, "fit": True},
        )
        predict(request, IdentityEngine(), gpu=-1)
        made.append(maps(request))
    assert_array_equal(made[0], made[1])


def test_packages_in_files_hold_what_enhance_stack_writes(tmp_path):
    images, between = png_folder(tmp_path / "images", textured(WIDE)), tmp_path / "between"
    enhance_stack(images, between, Enhancement())
    packages = []
    for source, enhancement in ((images, Enhancement()), (between, None)):
        aug = tmp_path / f"aug_{source.name}"
        define_packages(source, aug)
        package = PackageSource.open(source, aug, enhancement=enhancement).write(1, 1, "1fm", 10)
        packages.append({path.name: read_dataset(path) for path in package.glob("*.h5")})
    assert packages[0].keys() == packages[1].keys() != set()
    for name, stack in packages[0].items():
        assert_array_equal(stack, packages[1][name])


@pytest.mark.parametrize("roi", [None, "1:3,2:22,7:29"])
def test_a_training_sees_what_enhance_stack_writes(tmp_path, roi):
    selection = Selection(roi=parse_roi(roi) if roi else None)
    volume = textured((4, 24, 30))
    labels = Address(str(png_folder(tmp_path / "labels", (volume > 110).astype(np.uint8))), selection=selection)
    images, between = png_folder(tmp_path / "images", volume), tmp_path / "between"
    enhance_stack(images, between, Enhancement())
    directly = load_labelled_volume(Address(str(images), selection=selection), labels, enhancement=Enhancement())
    over_files = load_labelled_volume(Address(str(between), selection=selection), labels)
    for found, wanted in zip(directly, over_files, strict=True):
        assert_array_equal(found, wanted)


@pytest.mark.parametrize("main", [preprocess_training_data.main, preprocess_validation.main])
def test_training_files_hold_what_enhance_stack_writes(tmp_path, main):
    volume = textured((2, 24, 30))
    images, labels = (
        png_folder(tmp_path / name, stack)
        for name, stack in (("images", volume), ("labels", (volume > 110).astype(np.uint8)))
    )
    enhance_stack(images, tmp_path / "between", Enhancement())
    for source, secondary in ((images, "-1"), (tmp_path / "between", "0")):
        assert main([str(source), str(labels), secondary, str(tmp_path / f"aug{secondary}")]) == 0
    files = sorted((tmp_path / "aug-1").glob("*.h5"))
    assert len(files) in (1, 16)
    for path in files:
        for name in ("data", "label"):
            pair = [read_dataset(folder / path.name, name) for folder in (path.parent, tmp_path / "aug0")]
            assert_array_equal(*pair)


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


def test_settings_of_cdeep3m2_say_what_its_images_went_through(tmp_path, caplog):
    assert trained_on(tmp_path) is None
    (tmp_path / "ConfigSettings_v1.txt").write_text("Secondary augmentation strength:-1 \nTertiary ...")
    assert trained_on(tmp_path).enhancement == Enhancement(cut=2)
    (tmp_path / "ConfigSettings_v2.txt").write_text("Secondary augmentation strength:3\nTertiary ...")
    assert trained_on(tmp_path).enhancement == Enhancement(cut=2)
    assert "enhanced volumes (SEC -1) beside others" in caplog.text
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
