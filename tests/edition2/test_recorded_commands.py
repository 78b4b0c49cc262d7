"""Commands in exact mode of the second edition against its recorded runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cdeep3m.cli import (
    augconfig,
    create_overlays,
    create_train_job,
    def_data_packages,
    enhance_stack,
    ensemble_predictions,
    merge_large_data,
    preprocess_package,
    runprediction,
    start_postprocessing,
)
from cdeep3m.edition2 import ensembling, overlaying
from cdeep3m.edition2.merging import scale_of
from cdeep3m.volumes.hdf5 import read_dataset, write_datasets
from edition2.recordings import UNKNOWN, Recording, described, synth
from edition2.test_recorded_steps import every, probability, volume_of
from octave_cases import hdf5_file, png_folder, tiff_folder, tiff_stack
from recorded_caffe import recorded_run

EXACT = ["--exact", "--edition", "2"]


def status_of(main, arguments: list[str]) -> int:
    try:
        return main([*EXACT, *arguments])
    except SystemExit as end:
        return int(end.code or 0)


def planes_in(folder: Path) -> dict[str, list]:
    return {path.name: described(np.array(Image.open(path))) for path in sorted(folder.glob("*.png"))}


def only_planes(files: dict | None) -> dict[str, list]:
    return {name: value for name, value in (files or {}).items() if name.endswith(".png") and "/" not in name}


# enhance_stack.py


def enhance_inputs(stack: np.ndarray) -> dict:
    """How to make the input of each recorded case, a path or what was typed; planes count from 1."""
    plane = dict(enumerate(stack, start=1))
    wide = stack.astype(np.uint16) * 100 + 5000
    red, green, blue = plane[1], plane[2], plane[3]

    def black_between(w: Path) -> Path:
        return png_folder(w / "in", [plane[1], np.zeros_like(plane[1]), plane[2]], ["a.png", "b.png", "c.png"])

    def text_too(w: Path) -> Path:
        folder = png_folder(w / "in", [plane[1]], ["a.png"])
        (folder / "b.txt").write_text("x")
        return folder

    def mixed(w: Path) -> Path:
        folder = png_folder(w / "in", [plane[1], plane[4]], ["b.png", "D.png"])
        tifffile.imwrite(folder / "a.tif", plane[2])
        tifffile.imwrite(folder / "c.tiff", plane[3])
        return folder

    def colours(w: Path) -> Path:
        colour = np.stack([red, green, blue], -1)
        with_alpha = np.concatenate([colour, np.full_like(red, 200)[..., None]], -1)
        return png_folder(w / "in", [colour, with_alpha], ["a.png", "b.png"])

    def floating_point(w: Path) -> Path:
        folder = png_folder(w / "in", [])
        tifffile.imwrite(folder / "a.tif", plane[1].astype(np.float32) / 255)
        return folder

    def one(name: str):
        return lambda w: png_folder(w / name, [plane[1]], ["a.png"])

    return {
        "stack_12": lambda w: tiff_stack(w / "vol.tif", stack),
        "mixed_formats": mixed,
        "text_file": text_too,
        "empty_folder": lambda w: png_folder(w / "in", []),
        "one_black_plane": black_between,
        "rgb_rgba": colours,
        "gray_alpha": lambda w: png_folder(w / "in", [np.stack([red, np.full_like(red, 9)], -1)], ["a.png"]),
        "u16": lambda w: png_folder(w / "in", wide[:2], ["a.png", "b.png"]),
        "float32_0_1": floating_point,
        "folder_with_dot": one("in.x"),
        "folder_with_dot_slash": lambda w: f"{one('in.x')(w)}/",
        "nested_out": one("in"),
        "existing_output_folder": one("in"),
        "no_cut": one("in"),
        "h5": lambda w: hdf5_file(w / "x.h5", stack),
        "missing": lambda w: w / "foldr" / "file",
    }


NAMED = {"B": 3, "0": 1, "1": 2, "f": 1}
"""Planes that the recordings name otherwise than by their number."""


@every("enhance_files")
def test_enhance_stack_writes_what_it_wrote(recorded: Recording, tmp_path):
    case = recorded.case
    if recorded.name in ("no_args", "one_arg"):
        arguments = {"no_args": [], "one_arg": [str(tmp_path)]}[recorded.name]
        assert status_of(enhance_stack.main, arguments) == case["status"]
        return
    makers = enhance_inputs(recorded.array("stack"))
    make = makers.get("no_cut" if recorded.name.startswith("cut_") else recorded.name)
    if make is None:
        pytest.skip(UNKNOWN)
    images, out = make(tmp_path), tmp_path / ("n1/n2/out" if recorded.name == "nested_out" else "out")
    if recorded.name == "existing_output_folder":
        out.mkdir()
        (out / "old.txt").write_text("goes")
    cut = [recorded.name[4:]] if recorded.name.startswith("cut_") else []
    assert status_of(enhance_stack.main, [str(images), str(out), *cut]) == case["status"]
    written = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if case["status"] == 0:
        assert written == sorted(case["files"])
    for name, value in case["files"].items():
        found = np.array(Image.open(out / name))
        if described(found) == [value["shape"], value["dtype"], value["sha256"]]:
            continue
        if not value["equals"]:
            assert set(np.unique(found)) <= {0, 255}, "only a cut above 50 may depend on rounding everywhere"
            continue
        number = int(NAMED.get(value["equals"][0], value["equals"][0].removeprefix("plane")))
        difference = np.abs(found.astype(int) - recorded.array("enhanced")[number - 1])
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.005, "more than rounding"


# Packages


@every("packages_command")
def test_defdatapackages_writes_what_it_wrote(recorded: Recording, tmp_path):
    case, aug = recorded.case, tmp_path / "aug"
    stack = synth(3, 20, 30, 1)
    made = {
        "folder": lambda: png_folder(tmp_path / "img", stack),
        "tif_stack": lambda: tiff_stack(tmp_path / "s.tif", stack),
        "h5": lambda: hdf5_file(tmp_path / "s.h5", synth(4, 20, 30, 1)),
        "empty_folder": lambda: png_folder(tmp_path / "empty", []),
        "missing": lambda: tmp_path / "nope",
        "rgb_folder": lambda: png_folder(tmp_path / "rgb", np.stack([stack[:2]] * 3, -1)),
    }
    arguments = {"no_args": [], "one_arg": ["img"]}.get(recorded.name)
    if arguments is None and recorded.name not in made:
        pytest.skip(UNKNOWN)
    arguments = [str(made[recorded.name]()), str(aug)] if arguments is None else arguments
    assert status_of(def_data_packages.main, arguments) == case["status"]
    for name, text in (case.get("files") or {}).items():
        assert (aug / name).read_text() == text


@every("package_files")
def test_preprocesspackage_writes_what_it_wrote(recorded: Recording, tmp_path):
    case, name = recorded.case, recorded.name
    if np.prod(case["shape"]) > 5e6 or (case["speed"] == "1" and name != "small_all16"):
        pytest.skip("large: its arrays are tested without files")
    volume = volume_of(recorded)
    images = tmp_path / "img"
    if name == "rgb":
        colour = np.stack([synth(1, *case["shape"][1:3], 9 + channel)[0] for channel in range(3)], -1)
        png_folder(images, [colour] * case["shape"][0])
    elif name.endswith("stack"):
        images = tiff_stack(tmp_path / "s.tif", volume)
    elif name == "u16_folder":
        png_folder(images, synth(*case["shape"], 6, "uint16"))
    else:
        (tiff_folder if name == "tif_folder" else png_folder)(images, volume)
    aug = tmp_path / "aug"
    aug.mkdir()
    height, width = case["shape"][1:3]
    info = {"packages": case["packages"], "num_of_pkg": len(case["packages"]), "z_blocks": case["z_blocks"]}
    (aug / "de_augmentation_info.json").write_text(json.dumps({**info, "imagesize": [height, width, case["shape"][0]]}))
    arguments = [str(images), str(aug), str(case["ii"]), str(case["zz"]), case["model"], case["speed"]]
    assert status_of(preprocess_package.main, arguments) == case["status"]
    for path, value in case["files"].items():
        if path.endswith(".h5"):
            assert described(read_dataset(aug / path)) == value["data"]
        elif path.endswith("DONE"):
            assert (aug / path).read_text() == value


@every("deaugment")
def test_startpostprocessing_writes_what_it_wrote(recorded: Recording, tmp_path):
    case, package = recorded.case, tmp_path / "Pkg001_Z01"
    package.mkdir()
    for v in case["variants"]:
        (package / f"v{v}").mkdir()
        for k in range(case["planes"]):
            p = probability(case, v, k)
            write_datasets(package / f"v{v}" / f"test.h5_shift_{k}.h5", {"data": np.stack([1 - p, p])[np.newaxis]})
    arguments = [] if recorded.name == "no_args" else [str(package)]
    assert status_of(start_postprocessing.main, arguments) == case["status"]
    if case["status"] == 0 and arguments:
        assert planes_in(package) == case["files"]


@every("merge")
def test_merge_largedata_writes_what_it_wrote(recorded: Recording, tmp_path):
    case, folder = recorded.case, tmp_path / "1fm"
    if recorded.name in ("no_args", "missing"):
        assert status_of(merge_large_data.main, [] if recorded.name == "no_args" else ["nope/1fm"]) == case["status"]
        return
    height, width, depth = case["imagesize"]
    info = {"packages": case["packages"], "z_blocks": case["z_blocks"], "imagesize": case["imagesize"]}
    (tmp_path / "de_augmentation_info.json").write_text(json.dumps({**info, "num_of_pkg": len(case["packages"])}))
    for number in range(1, len(case["packages"]) + 1):
        planes = [synth(1, 1024, 1024, number * 1000 + k, case["dtype"])[0] for k in range(depth)]
        planes = [plane % case["modulo"] if case["modulo"] else plane for plane in planes]
        for z, (begin, end) in enumerate(zip(case["z_blocks"], case["z_blocks"][1:], strict=False), start=1):
            names = [f"test.h5_shift__{k:04d}.png" for k in range(end - begin)]
            png_folder(folder / f"Pkg{number:03d}_Z{z:02d}", planes[begin:end], names)
    slash = "/" if recorded.name == "trailing_slash" else ""
    assert status_of(merge_large_data.main, [f"{folder}{slash}"]) == case["status"]
    assert planes_in(folder) == only_planes(case["files"])
    assert (folder / "DONE").read_text() == case["files"]["DONE"]


SOURCES = {"e_a": (1, "uint8"), "e_b": (2, "uint8"), "e_c": (3, "uint8"), "e_u16": (4, "uint16")}


@every("ensemble", where=lambda r: not r.name.startswith("ensemble.py"))
def test_ensemblepredictions_writes_what_it_wrote(recorded: Recording, tmp_path):
    case = recorded.case
    if {name.rstrip("2") for name in case["inputs"]} - {*SOURCES, "e_empty", "e_sz", "nope"}:
        pytest.skip(UNKNOWN)
    inputs = []
    for name in case["inputs"]:
        inputs.append(str(tmp_path / name))
        if name == "e_empty":
            (tmp_path / name).mkdir()
        elif name == "e_sz":
            png_folder(tmp_path / name, synth(3, 41, 50, 1), "Segmented_%04d.png")
        elif name != "nope":
            seed, dtype = SOURCES[name.rstrip("2")]
            stack = synth(3, 40, 50, seed, dtype)[: 2 if name.endswith("2") else 3]
            png_folder(tmp_path / name, stack, "Segmented_%04d.png")
    out = tmp_path / "out"
    if recorded.name == "output_exists":
        out.mkdir()
    arguments = [*inputs, str(out)] if inputs else []
    assert status_of(ensemble_predictions.main, arguments) == case["status"]
    if case["status"] == 0 and case["files"] is not None:
        assert planes_in(out) == case["files"]


@every("overlay")
def test_create_overlays_writes_what_it_wrote(recorded: Recording, tmp_path):
    case, name = recorded.case, recorded.name
    seg, raw, out = tmp_path / "seg", tmp_path / "raw", tmp_path / "out"
    arguments = [str(seg), str(raw), str(out)]
    if name == "no_args":
        arguments = []
    elif recorded.has(f"{name}/seg"):
        png_folder(seg, recorded.array(f"{name}/seg"), "Segmented_%04d.png")
        png_folder(raw, recorded.array(f"{name}/raw"))
    else:
        png_folder(seg, synth(2, 8, 8, 1), "Segmented_%04d.png")
        arguments[1] = str(tiff_stack(tmp_path / "raw.tif", synth(2, 8, 8, 2)))
    if name.startswith("text_in_"):
        ({"text_in_raw": raw, "text_in_seg": seg}[name] / "a.txt").write_text("x")
    if name == "exists":
        out.mkdir()
    assert status_of(create_overlays.main, arguments) == case["status"]
    if case["status"] == 0:
        assert planes_in(out) == case["files"]


def test_augconfig_leaves_strengths_that_were_changed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert augconfig.main([]) == augconfig.main([]) == 0
    mine = Path("augcfg.ini").read_text().replace("blur = 3", "blur = 7")
    Path("augcfg.ini").write_text(mine)
    assert augconfig.main([]) == 1
    assert "augcfg.ini is there already, with other strengths" in capsys.readouterr().err
    assert Path("augcfg.ini").read_text() == mine


@every("job", where=lambda r: r.case["arguments"] == ["augconfig.py"])
def test_augconfig_writes_what_it_wrote(recorded: Recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert augconfig.main([]) == recorded.case["status"]
    assert Path("augcfg.ini").read_text() == recorded.case["files"]["augcfg.ini"]


@every("job", where=lambda r: r.case["arguments"][0] == "run_train.py")
def test_createtrainjob_names_folders_as_they_were_typed(recorded: Recording, tmp_path, monkeypatch):
    case = recorded.case
    monkeypatch.chdir(tmp_path)
    for name, count in {"aug": 16, "aug32": 32, "aug17": 17, "aug0": 0}.items():
        Path(name).mkdir()
        for number in range(count):
            Path(name, f"training_full_stacks_v{number // 16 + 1}_{number % 16 + 1}.h5").touch()
    Path("val").mkdir()
    Path("val", "validation_stack_v1.h5").touch()
    arguments = case["arguments"][1:]
    assert status_of(create_train_job.main, arguments) == case["status"]
    out = Path(arguments[1])
    left = {f"{path.relative_to(out)}" for path in out.rglob("*") if path.is_file()}
    assert left == set(case["files"])
    for name, recorded_lines in case["files"].items():
        if name.endswith("train_val.prototxt"):
            expected = [line.split(": ", 1)[1] for line in recorded_lines if ": #" not in line]
            set_ = re.findall(r"^ *((?:batch_size|data_source): .*)$", (out / name).read_text(), re.MULTILINE)
            assert sorted(set_) == sorted(expected)
        elif name.endswith("solver.prototxt"):
            assert recorded_lines[0] in (out / name).read_text().splitlines()
        elif name.endswith("_file.txt"):  # a long one is recorded in part, and in the order of its folder
            assert set(recorded_lines.splitlines()[:-1]) <= set((out / name).read_text().splitlines())


# Whole predictions


@pytest.mark.heavy
@every("prediction")
def test_a_prediction_is_the_recorded_one(recorded: Recording, tmp_path, reference):
    name, images, out = recorded.name, recorded.array(f"{recorded.name}/in"), tmp_path / "out"
    png_folder(tmp_path / "img", images)
    trained = recorded_run(reference, tmp_path / "model")
    arguments = [*recorded.case["arguments"], "--gpu", "-1", str(trained), str(tmp_path / "img"), str(out)]
    assert status_of(runprediction.main, arguments) == recorded.case["status"]
    stages = [key.split("/")[1] for key in recorded.keys if key.startswith(f"{name}/")]
    for net in [stage for stage in stages if stage.endswith("fm")]:
        expected = recorded.array(f"{name}/{net}").astype(int)
        found = np.stack([np.array(Image.open(path)) for path in sorted((out / net).glob("*.png"))]).astype(int)
        assert (found == expected).mean() >= 0.999
        assert np.abs(found - expected).max() <= 255 / min(scale_of(plane) for plane in expected) + 1
    if "enhanced" in stages:
        enhanced = np.stack([np.array(Image.open(p)) for p in sorted((out / "enhanced").glob("*.png"))]).astype(int)
        difference = np.abs(enhanced - recorded.array(f"{name}/enhanced"))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.01
    nets = [recorded.array(f"{name}/{net}") for net in ("1fm", "3fm", "5fm") if f"{name}/{net}" in recorded.keys]
    if len(nets) > 1:
        for z, expected in enumerate(recorded.array(f"{name}/ensembled")):
            np.testing.assert_array_equal(ensembling.ensemble([net[z] for net in nets]), expected)
    seen = recorded.array(f"{name}/enhanced") if "enhanced" in stages else images
    ensembled = recorded.array(f"{name}/ensembled") if "ensembled" in stages else nets[0]
    for z, expected in enumerate(recorded.array(f"{name}/overlay")):
        np.testing.assert_array_equal(overlaying.overlay(ensembled[z], seen[z]), expected)
    for part in ("ensembled", "overlay"):
        assert len(list((out / part).glob("*.png"))) == len(images)
