"""What the second edition loses or corrupts, as it does it and as it is done by default."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image

from address_volumes import addresses, maps_of
from cdeep3m.cli import (
    create_overlays,
    enhance_stack,
    ensemble_predictions,
    merge_large_data,
    runprediction,
    runtraining,
)
from cdeep3m.cli.threads import configured
from cdeep3m.edition2 import merging, padding
from cdeep3m.edition2.dividing import division_text
from cdeep3m.edition2.overlaying import overlay
from cdeep3m.engines import select
from cdeep3m.engines.identity import IdentityEngine
from cdeep3m.errors import CDeep3MError, InputError, RunError
from cdeep3m.prediction.as_edition_2 import define_packages, write_enhanced
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.rules import EDITION2
from cdeep3m.system.threads import processors
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.info_file import JSON, read_tiling
from cdeep3m.tiling.stitching import to_probability_map
from cdeep3m.volumes.as_edition_2 import open_as_edition_2
from cdeep3m.volumes.base import read_all
from cdeep3m.volumes.enhancement import enhance
from cdeep3m.volumes.open import open_volume
from octave_cases import hdf5_file, png_folder, synth, tiff_folder, tiff_stack


def images(z: int = 3, y: int = 24, x: int = 30) -> np.ndarray:
    rows, columns = np.mgrid[:y, :x]
    smooth = 120 + 80 * np.sin(rows / 5 + np.arange(z)[:, None, None]) * np.cos(columns / 6)
    return (smooth + synth(z, y, x, 3) % 11).astype(np.uint8)


@pytest.fixture
def trained(tmp_path):
    for net in ("1fm", "3fm"):
        models = tmp_path / "trained" / net / "trainedmodel"
        models.mkdir(parents=True)
        (models / f"{net}_classifer_iter_2.caffemodel").write_bytes(b"weights")
        (models.parent / "deploy.prototxt").touch()
    return tmp_path / "trained"


def predicted(trained, source, out, **options) -> np.ndarray:
    request = PredictRequest(trained=trained, images=source, out=out, nets=("1fm",), aug_speed=10, **options)
    predict(request, IdentityEngine(), gpu=-1)
    return np.stack([np.array(Image.open(path)) for path in sorted((out / "1fm").glob("*.png"))])


@pytest.mark.correction2(1, "exact", "corrected", "same")
@pytest.mark.correction2(2, "exact", "corrected")
def test_maps_do_not_wrap_and_have_one_scale():
    plane = np.uint8([[180, 100, 1]])
    assert merging.to_map(plane).tolist() == [[103, 199, 2]]
    assert to_probability_map(plane).tolist() == [[179, 100, 1]]
    assert merging.to_map(np.uint8([[255, 1]])).tolist() == to_probability_map(np.uint8([[255, 1]])).tolist()


@pytest.mark.correction2(3, "exact", "corrected")
def test_packages_are_mirrored_in_y_and_x():
    stack = addresses((3, 20, 24))
    exact = padding.canvas(stack, top=True, left=True)[2]
    assert_array_equal(exact[0, 12:36], stack[2, 1])
    corrected = Tiling.of(stack.shape).packages[0].canvas(stack)[0]
    assert_array_equal(corrected[0, 12:36], stack[0, 12])


@pytest.mark.correction2(4, "exact", "corrected")
def test_tiny_sides_are_an_error():
    shifted = padding.canvas(addresses((1, 5, 20)), top=True, left=True)[2]
    assert (shifted[4:9, 12:32] == addresses((1, 5, 20))[0]).all()
    with pytest.raises(InputError, match="smallest size is 14 x 14"):
        Tiling.of((1, 5, 20))


@pytest.mark.correction2(10, "exact", "corrected", "same")
def test_real_colour_is_an_error(tmp_path):
    gray = images()
    colour = png_folder(tmp_path / "colour", np.stack([gray, gray // 2, gray // 3], -1))
    assert read_all(open_as_edition_2(colour, purpose="prediction")).mean() < gray.mean()
    write_enhanced(colour, tmp_path / "blue", 2)
    with pytest.raises(InputError, match="in colour"):
        read_all(open_volume(colour))
    equal = png_folder(tmp_path / "equal", np.stack([gray] * 3, -1))
    assert_array_equal(read_all(open_volume(equal)), gray)
    exact = read_all(open_as_edition_2(equal, purpose="prediction"))
    assert np.abs(exact.astype(int) - gray).max() <= 1


@pytest.mark.correction2(11, "exact", "corrected")
@pytest.mark.correction2(32, "corrected")
def test_stacks_hdf5_files_and_tiff_folders_are_predicted_without_enhancement(tmp_path, trained):
    stack = images()
    sources = [
        tiff_stack(tmp_path / "s.tif", stack),
        hdf5_file(tmp_path / "s.h5", stack),
        tiff_folder(tmp_path / "f", stack, names="i%d.tiff"),
    ]
    for k, source in enumerate(sources):
        assert_array_equal(predicted(trained, source, tmp_path / str(k), denoise=0), maps_of(stack))
    with pytest.raises(InputError, match="cannot divide the stack"):
        define_packages(sources[0], tmp_path / "aug")


@pytest.mark.correction2(12, "exact", "corrected")
@pytest.mark.correction2(13, "corrected")
def test_enhance_stack_keeps_what_is_not_its_own(tmp_path, capsys):
    folder, out = png_folder(tmp_path / "in.x", images()), tmp_path / "out"
    (folder / "notes.txt").write_text("x")
    (folder / "more").mkdir()
    out.mkdir()
    (out / "precious.txt").write_text("x")
    assert enhance_stack.main([str(folder), str(out)]) == 1
    assert "holds other files, such as precious.txt" in capsys.readouterr().err
    assert (out / "precious.txt").exists()
    assert enhance_stack.main([str(folder), str(tmp_path / "new")]) == 0
    written = sorted((tmp_path / "new").glob("*.png"))
    for path, plane in zip(written, images(), strict=True):
        assert_array_equal(np.array(Image.open(path)), enhance(plane))
    write_enhanced(png_folder(tmp_path / "plain", images()), out, 2)
    assert not (out / "precious.txt").exists()


@pytest.mark.correction2(13, "exact", "corrected")
def test_two_images_of_one_stem_are_an_error(tmp_path, capsys):
    folder = png_folder(tmp_path / "in", images(1), ["a.png"])
    Image.fromarray(images(1)[0]).save(folder / "a.PNG", format="PNG")
    assert enhance_stack.main([str(folder), str(tmp_path / "out")]) == 1
    assert "two files for one plane" in capsys.readouterr().err
    (folder / "notes.txt").write_text("x")
    with pytest.raises(CDeep3MError, match="which is no image"):
        write_enhanced(folder, tmp_path / "exact", 2)


def test_planes_of_a_stack_get_leading_zeros(tmp_path):
    stack = tiff_stack(tmp_path / "vol.tif", images(12))
    assert enhance_stack.main([str(stack), str(tmp_path / "out")]) == 0
    assert [path.name for path in sorted((tmp_path / "out").glob("*.png"))][9] == "vol_0010.png"
    assert enhance_stack.main(["--overwrite", "--whole_volume", str(stack), str(tmp_path / "out"), "5"]) == 0


@pytest.mark.correction2(24, "corrected")
def test_runtraining_has_a_help_text_and_trains_one_net_alone(capsys):
    with pytest.raises(SystemExit) as end:
        runtraining.main(["-h"])
    assert end.value.code == 0
    from cdeep3m.training.by_options import nets_of

    options = runtraining._parser().parse(["--1fmonly", "aug", "out"])
    assert nets_of(options, planes=9) == ("1fm",)
    del capsys


class FailingEngine(IdentityEngine):
    """An engine whose nets fail."""

    def load(self, model, *, gpu=-1, precision="float32"):
        raise RunError("no net today")


@pytest.mark.correction2(25, "corrected")
@pytest.mark.correction2(26, "exact", "corrected")
def test_a_failed_net_ends_with_10_and_the_same_command_goes_on(tmp_path, trained):
    folder = png_folder(tmp_path / "img", images())
    request = PredictRequest(trained=trained, images=folder, out=tmp_path / "out", nets=("1fm", "3fm"), aug_speed=10)
    with pytest.raises(RunError) as failure:
        predict(request, FailingEngine(), gpu=-1)
    assert failure.value.exit_code == 10
    for marker in ("ERROR", "KILL.REQUEST"):
        (request.out / marker).unlink(missing_ok=True)
    assert predict(request, IdentityEngine(), gpu=-1)
    exact = PredictRequest(
        trained=trained, images=folder, out=tmp_path / "exact", nets=("1fm", "3fm"), aug_speed=10, rules=EDITION2
    )
    assert predict(exact, IdentityEngine(), gpu=-1)
    (exact.out / "DONE").unlink()
    with pytest.raises(CDeep3MError) as again:
        predict(exact, IdentityEngine(), gpu=-1)
    assert again.value.exit_code == 12
    for marker in ("ERROR", "KILL.REQUEST"):
        (exact.out / marker).unlink(missing_ok=True)
    assert predict(replace(exact, overwrite=True), IdentityEngine(), gpu=-1)
    assert len(list((exact.out / "overlay").iterdir())) == 3


@pytest.mark.correction2(27, "exact", "corrected", "same")
def test_ensembles_of_unequal_or_missing_inputs_are_an_error(tmp_path):
    one, two = png_folder(tmp_path / "one", images(2)), png_folder(tmp_path / "two", images(3))
    exact = ["--exact", "--edition", "2"]
    assert ensemble_predictions.main([*exact, str(one), str(tmp_path / "no"), str(tmp_path / "x")]) == 0
    assert ensemble_predictions.main([str(one), str(tmp_path / "no"), str(tmp_path / "x")]) == 1
    assert ensemble_predictions.main([*exact, str(one), str(two), str(tmp_path / "cut")]) == 0
    assert len(list((tmp_path / "cut").iterdir())) == 2
    assert ensemble_predictions.main([str(one), str(two), str(tmp_path / "y")]) == 1
    for flags, name in ((exact, "a"), ([], "b")):
        assert ensemble_predictions.main([*flags, str(one), str(one), str(tmp_path / name)]) == 0
    with pytest.raises(SystemExit):
        ensemble_predictions.main([str(one), str(tmp_path / "c")])
    assert ensemble_predictions.main(["--edition", "2", str(one), str(tmp_path / "c")]) == 0
    assert ensemble_predictions.main(["--edition", "2", str(tmp_path / "no"), str(tmp_path / "d")]) == 1
    for path in (tmp_path / "a").iterdir():
        assert_array_equal(np.array(Image.open(path)), np.array(Image.open(tmp_path / "b" / path.name)))
        assert_array_equal(np.array(Image.open(path)), np.array(Image.open(tmp_path / "c" / path.name)))


@pytest.mark.correction2(29, "corrected")
def test_processors_are_limited_by_an_option_a_variable_or_cpu_resources(tmp_path, monkeypatch):
    for name in ("CDEEP3M_THREADS", "OMP_NUM_THREADS", "CDEEP3M_CONFIGS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    assert configured() == {}
    (tmp_path / "configs").mkdir()
    limits = {"enhance_stack": 0, "Create_overlays": 1, "other": 9}
    (tmp_path / "configs" / "cpu_resources.txt").write_text(json.dumps(limits))
    assert configured() == {"enhance_stack": 0, "Create_overlays": 1}
    maps, raw = png_folder(tmp_path / "maps", images()), png_folder(tmp_path / "raw", images())
    assert create_overlays.main([str(maps), str(raw), str(tmp_path / "out")]) == 0
    assert os.environ["CDEEP3M_THREADS"] == "1"
    assert processors() == 1
    monkeypatch.delenv("CDEEP3M_THREADS")
    assert create_overlays.main(["--threads", "2", str(maps), str(raw), str(tmp_path / "out")]) == 0
    assert os.environ["CDEEP3M_THREADS"] == "2"
    (tmp_path / "configs" / "cpu_resources.txt").write_text("half")
    assert create_overlays.main([str(maps), str(raw), str(tmp_path / "out")]) == 1


@pytest.mark.correction2(29, "corrected")
@pytest.mark.parametrize(
    ("command", "key"),
    [
        *(("enhance_stack", key) for key in ("enhance_stack", "enhance_stack_threadlimit")),
        *(("ensemble", key) for key in ("EnsemblePredictions", "ensemble")),
        *(("overlays", "Create_overlays"), ("merge", "Merge_LargeData")),
        *(
            ("predict", key)
            for key in ("enhance_stack", "Merge_LargeData", "EnsemblePredictions", "ensemble", "crop_png")
        ),
    ],
)
def test_every_key_of_cpu_resources_is_read(tmp_path, monkeypatch, trained, command, key):
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (IdentityEngine(), [-1]))
    for name in ("CDEEP3M_THREADS", "OMP_NUM_THREADS", "CDEEP3M_CONFIGS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    (tmp_path / "cpu_resources.txt").write_text(json.dumps({key: 1}))
    monkeypatch.setenv("CDEEP3M_CONFIGS", str(tmp_path))
    raw, out = str(png_folder(tmp_path / "raw", images())), str(tmp_path / "out")
    main, words = {
        "enhance_stack": (enhance_stack.main, [raw, out]),
        "ensemble": (ensemble_predictions.main, [raw, raw, out]),
        "overlays": (create_overlays.main, [raw, raw, out]),
        "merge": (merge_large_data.main, [raw]),
        "predict": (runprediction.main, ["--models", "1fm", "--augspeed", "10", "--no-report", str(trained), raw, out]),
    }[command]
    assert (main(words) != 0) == (command == "merge")
    assert os.environ["CDEEP3M_THREADS"] == "1"


@pytest.mark.correction2(30, "corrected")
def test_paths_with_spaces_are_enhanced(tmp_path, trained):
    folder = png_folder(tmp_path / "my images", images())
    found = predicted(trained, folder, tmp_path / "my out", denoise=2)
    assert_array_equal(found, maps_of(np.stack([enhance(plane) for plane in images()])))


@pytest.mark.correction2(31, "exact", "corrected", "same")
def test_overlays_take_stacks_and_folders_with_other_files(tmp_path):
    maps = png_folder(tmp_path / "maps", images())
    stack = tiff_stack(tmp_path / "raw.tif", images())
    assert create_overlays.main([str(maps), str(stack), str(tmp_path / "a")]) == 0
    assert create_overlays.main(["--exact", "--edition", "2", str(maps), str(stack), str(tmp_path / "x")]) == 1
    raw = png_folder(tmp_path / "raw", images())
    for flags, name in ((["--exact", "--edition", "2"], "b"), ([], "c")):
        assert create_overlays.main([*flags, str(maps), str(raw), str(tmp_path / name)]) == 0
    (raw / "notes.txt").write_text("x")
    assert create_overlays.main([str(maps), str(raw), str(tmp_path / "d")]) == 0
    for z, plane in enumerate(images(), start=1):
        for name in "abcd":
            found = np.array(Image.open(tmp_path / name / f"overlay_{z:04d}.png"))
            assert_array_equal(found, overlay(plane, plane))


def test_packages_that_cdeep3m2_defined_are_read(tmp_path):
    for shape in ((3, 20, 30), (104, 1100, 2100)):
        (tmp_path / JSON).write_text(division_text(shape))
        read = read_tiling(tmp_path)
        assert read.areas == Tiling.of(shape).areas
        assert read.shape == shape
    (tmp_path / JSON).write_text("{}")
    with pytest.raises(InputError, match="does not describe packages"):
        read_tiling(tmp_path)


def test_floating_point_images_are_enhanced_as_their_8_bits(tmp_path):
    for k, plane in enumerate(images()):
        tifffile.imwrite(tmp_path / f"{k}.tif", plane.astype(np.float32) / 255)
    assert enhance_stack.main([str(tmp_path), str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fit": True}, "--fit"),
        ({"whole_volume": True, "denoise": 2}, "--whole_volume"),
        ({"fill": "reflect"}, "--fill"),
        ({"blend": True}, "--blend"),
        ({"format": "h5"}, "--format"),
        ({"label": 2}, "--class"),
        ({"precision": "fast"}, "--precision fast"),
    ],
)
def test_exact_mode_refuses_what_cdeep3m2_does_not_have(trained, tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        PredictRequest(trained=trained, images=tmp_path, out=tmp_path / "out", rules=EDITION2, **options)


def test_exact_mode_is_not_shared_among_processes(trained, tmp_path):
    request = PredictRequest(trained=trained, images=tmp_path, out=tmp_path / "out", nets=("1fm",), rules=EDITION2)
    with pytest.raises(InputError, match="use either --exact, or --workers"):
        predict(request, IdentityEngine(), gpu=-1, share=(1, 2))
    assert not request.out.exists()


def test_exact_mode_enhances_by_each_plane(tmp_path, capsys):
    folder = png_folder(tmp_path / "in", images(1))
    assert enhance_stack.main(["--exact", "--edition", "2", "--whole_volume", str(folder), str(tmp_path / "out")]) == 1
    assert "use either --exact or --whole_volume" in capsys.readouterr().err
