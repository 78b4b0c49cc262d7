"""Exact mode of the prediction's commands against recorded runs of the original (golden/README.md)."""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cdeep3m.matlab_ports.imread import imread
from PIL import Image

from cdeep3m.cli import def_data_packages, ensemble_predictions, merge_large_data, preprocess_package
from cdeep3m.errors import InputError
from cdeep3m.geometry import to_caffe_axes
from cdeep3m.prediction.over_files.postprocess import average_variants
from cdeep3m.rules import ORIGINAL
from cdeep3m.tiling import stitching
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.info_file import COUNTS, INFO, counts_text, info_text
from cdeep3m.tiling.variants import variant, variants_for
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.hdf5 import write_datasets
from octave_cases import digest, hdf5_file, png_folder, synth, tiff_folder, tiff_stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdeep3m.tiling.packages import Package

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "octave_packages.json").read_text(encoding="utf-8"))
DIVISIONS, PACKAGES = GOLDEN["def_datapackages"], GOLDEN["preprocess_package"]
AVERAGES, MERGES, ENSEMBLES = GOLDEN["postprocess"], GOLDEN["merge_largedata"], GOLDEN["ensemble"]


def only(names, pattern: str) -> list[str]:
    return [name for name in names if re.fullmatch(pattern, name)]


# DefDataPackages


def size_of_division(name: str) -> tuple[int, int, int]:
    kind, size = name.split("_")
    return (int(size), 20, 30) if kind == "z" else (3, *map(int, size.split("x")))


@pytest.mark.parametrize("name", only(DIVISIONS, r"(z|xy)_[\dx]+"))
def test_divisions_are_those_of_the_original(name):
    tiling = Tiling.of(size_of_division(name), rules=ORIGINAL)
    without_line_1 = info_text(tiling).split("\n", 1)[1]
    assert hashlib.sha256(without_line_1.encode()).hexdigest() == DIVISIONS[name]["info"]
    assert counts_text(tiling) == DIVISIONS[name]["counts"]


def two_datasets(folder: Path) -> Path:
    write_datasets(folder / "c.h5", {"data": synth(3, 5, 6), "label": synth(3, 5, 6)})
    return folder / "c.h5"


DIVISION_INPUTS: dict[str, Callable[[Path], object]] = {
    "tifstack_3x50x60": lambda w: tiff_stack(w / "s.tif", synth(3, 50, 60, 1)),
    "h5_two": two_datasets,
    "h5_f32": lambda w: hdf5_file(w / "d.h5", synth(3, 50, 60, 1, "float32").transpose(2, 1, 0)),
    "empty": lambda w: png_folder(w / "e", []),
    "missing": lambda w: w / "nope",
    "noimg": lambda w: png_folder(w / "n", []) if (w / "a.txt").write_text("x") else None,
}


@pytest.mark.parametrize("name", DIVISION_INPUTS)
def test_the_command_divides_what_the_original_divides(name, tmp_path):
    case, out = DIVISIONS[name], tmp_path / "aug"
    assert def_data_packages.main(["--exact", str(DIVISION_INPUTS[name](tmp_path)), str(out)]) == case["exit_status"]
    assert out.exists() == (case["exit_status"] == 0)
    if "info" in case:
        text = (out / INFO).read_bytes().split(b"\n", 1)[1]
        assert hashlib.sha256(text).hexdigest() == case["info"]
        assert (out / COUNTS).read_text() == case["counts"]


# PreprocessPackage


def stack_of(package: Package, volume: np.ndarray) -> np.ndarray:
    """What the file route writes, without the files."""
    planes = package.canvas(volume[package.read.slices])
    return planes[[z - package.planes[0] for z in package.padded_planes]]


def described(stack: np.ndarray, index: int) -> list:
    blob = to_caffe_axes(variant(index).apply(stack))
    stored = blob.astype(np.float64) if blob.dtype == bool else blob
    return [list(stored.shape), str(stored.dtype), digest(stored)]


def combo_of(text: str) -> tuple[int, int, str, int]:
    tile, z_block, net, speed = text.split(",")
    return int(tile), int(z_block), net, int(speed)


def check_combos(name: str, volume: np.ndarray, *, folder_input: bool) -> None:
    tiling = Tiling.of(volume.shape, rules=ORIGINAL, folder_input=folder_input)
    for text, case in PACKAGES[name].items():
        tile, z_block, net, speed = combo_of(text)
        package = tiling.package(tile, z_block)
        if case["exit_status"]:
            with pytest.raises(InputError):
                stack_of(package, volume)
            continue
        assert {str(v.index) for v in variants_for(net, speed)} == set(case["files"])
        stack = stack_of(package, volume)
        for index, expected in list(case["files"].items())[:: max(1, len(case["files"]) - 1)]:
            assert described(stack, int(index)) == expected


@pytest.mark.parametrize("name", only(PACKAGES, r"\d+x\d+x\d_(uint8|uint16)(_z)?"))
def test_packages_are_those_of_the_original(name):
    height, width, depth, dtype = re.match(r"(\d+)x(\d+)x(\d)_(uint8|uint16)", name).groups()
    check_combos(name, synth(int(depth), int(height), int(width), 1, dtype), folder_input=True)


@pytest.mark.slow
def test_a_deep_package_is_that_of_the_original():
    check_combos("1024x1024x104_uint8", synth(104, 1024, 1024, 1), folder_input=True)


def test_all_variants_of_a_package_are_those_of_the_original():
    volume = synth(3, 60, 70, 1)
    stack = stack_of(Tiling.of(volume.shape, rules=ORIGINAL, folder_input=True).package(1, 1), volume)
    files = PACKAGES["60x70x3_all"]["1,1,3fm,1"]["files"]
    assert len(files) == 16
    for index, expected in files.items():
        assert described(stack, int(index)) == expected


@pytest.mark.parametrize("combo", PACKAGES["60x70x3_all"])
def test_every_speed_has_the_variants_of_the_original(combo):
    _, _, net, speed = combo_of(combo)
    assert {str(v.index) for v in variants_for(net, speed)} == set(PACKAGES["60x70x3_all"][combo]["files"])


SMALL, LARGE = synth(4, 500, 600, 1), synth(3, 1024, 1024, 1)


def with_plane(index: int, value: int) -> np.ndarray:
    stack = synth(5, 1024, 1024, 1).copy()
    stack[index] = value
    return stack


def palette(folder: Path) -> Path:
    folder.mkdir()
    for i, plane in enumerate(LARGE):
        image = Image.fromarray(plane).convert("P")
        image = Image.frombytes("P", image.size, plane.tobytes())
        image.putpalette([value for k in range(256) for value in (255 - k, k, 7)])
        image.save(folder / f"p{i}.png", compress_level=1)
    return folder


PACKAGE_INPUTS: dict[str, Callable[[Path], object]] = {
    "tifdir_u16": lambda w: tiff_folder(w / "i", synth(4, 500, 600, 1, "uint16")),
    "tifdir_f32": lambda w: tiff_folder(w / "i", synth(3, 1024, 1024, 1, "float32") * 200),
    "tifstack_1024": lambda w: tiff_stack(w / "s.tif", synth(4, 1024, 1024, 1)),
    "h5_uint8": lambda w: hdf5_file(w / "a.h5", SMALL),
    "h5_uint16": lambda w: hdf5_file(w / "a.h5", synth(4, 500, 600, 1, "uint16")),
    "h5_float32": lambda w: hdf5_file(w / "a.h5", synth(4, 500, 600, 1, "float32")),
    "rgb": lambda w: png_folder(w / "i", np.stack([synth(3, 1024, 1024, k) for k in (1, 2, 3)], -1)),
    "la": lambda w: png_folder(w / "i", np.stack([LARGE, 255 - LARGE], -1)),
    "rgba": lambda w: png_folder(w / "i", [np.stack([x, x[::-1], x[:, ::-1], 255 - x], -1) for x in LARGE]),
    "bit1_nl": lambda w: png_folder(w / "i", synth(3, 1024, 1024, 3, "bool")),
    "firstblack": lambda w: png_folder(w / "i", with_plane(0, 0)),
    "midwhite": lambda w: png_folder(w / "i", with_plane(3, 255)),
    "palette": lambda w: palette(w / "i"),
    "dotdir_slash": lambda w: f"{png_folder(w / 'd.ir', SMALL)}/",
    "space": lambda w: png_folder(w / "sp ace", SMALL),
}


@pytest.mark.parametrize("name", PACKAGE_INPUTS)
def test_every_kind_of_input_gives_the_package_of_the_original(name, tmp_path):
    volume = open_volume(PACKAGE_INPUTS[name](tmp_path), rules=ORIGINAL)
    package = Tiling.of(volume.shape, rules=ORIGINAL, folder_input=volume.is_folder).package(1, 1)
    planes = package.canvas(volume.read(package.read))
    stack = planes[[z - package.planes[0] for z in package.padded_planes]]
    (case,) = PACKAGES[name].values()
    assert described(stack, 1) == case["files"]["1"]


FAILING_INPUTS: dict[str, Callable[[Path], object]] = {
    "bit1_eof": lambda w: png_folder(w / "i", synth(3, 1024, 1024, 3, "bool")),
    "dotdir": lambda w: png_folder(w / "d.ir", SMALL[:, :20, :30]),
    "mixsize": lambda w: png_folder(w / "i", [*synth(2, 600, 600, 1), synth(1, 590, 600, 1)[0]]),
    "nodef": lambda w: png_folder(w / "i", SMALL[:, :20, :30]),
    "space_out": lambda w: png_folder(w / "i", SMALL[:, :20, :30]),
}


@pytest.mark.parametrize("name", FAILING_INPUTS)
def test_the_command_fails_where_the_original_fails(name, tmp_path, monkeypatch):
    images = str(FAILING_INPUTS[name](tmp_path))
    aug = tmp_path / ("au g" if name == "space_out" else "aug")
    if name != "nodef":
        assert def_data_packages.main(["--exact", images, str(aug)]) == (name == "dotdir")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    (case,) = PACKAGES[name].values()
    assert preprocess_package.main(["--exact", images, str(aug), "1", "1", "1fm", "10"]) == case["exit_status"] == 1
    assert not list(tmp_path.rglob("*.h5"))


def test_an_answer_on_standard_input_goes_on(tmp_path, monkeypatch):
    images = str(png_folder(tmp_path / "i", np.zeros((3, 20, 30), np.uint8)))
    def_data_packages.main(["--exact", images, str(tmp_path / "aug")])
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert preprocess_package.main(["--exact", images, str(tmp_path / "aug"), "1", "1", "1fm", "10"]) == 0
    assert (tmp_path / "aug" / "1fm" / "Pkg001_Z01" / "DONE").read_text() == "0\n"


# StartPostprocessing


def hash_noise(v: int, k: int) -> np.ndarray:
    return synth(1, 40, 40, v * 1000 + k, "float32")[0]


def with_nan(v: int, k: int) -> np.ndarray:
    noise = synth(1, 40, 40, v * 100 + k, "float32")[0] * 2 - 0.5
    return np.where(synth(1, 40, 40, k)[0] < 20, np.nan, noise)


def small_noise(v: int, k: int) -> np.ndarray:
    return synth(1, 24, 24, v * 1000 + k, "float32")[0]


PREDICTIONS: dict[str, tuple[int, range | list[int], Callable[[int, int], np.ndarray]]] = {
    "16v_9x40x40": (9, range(1, 17), hash_noise),
    "4v_1fm_s2": (9, [1, 6, 11, 15], hash_noise),
    "8v_3fm_s2": (9, [1, 2, 3, 4, 13, 14, 15, 16], hash_noise),
    "4v_3fm_s4": (9, [7, 8, 10, 12], hash_noise),
    "8v_5fm_s2": (9, range(5, 13), hash_noise),
    "const0": (7, range(1, 17), lambda v, k: np.zeros((40, 40))),
    "const1": (7, range(1, 17), lambda v, k: np.ones((40, 40))),
    "const05": (7, range(1, 17), lambda v, k: np.full((40, 40), 0.5)),
    "k255": (7, [1], lambda v, k: synth(1, 40, 40, k)[0] / 255.0),
    "nan_neg_over": (7, [1, 2], with_nan),
    "n5": (5, range(1, 17), hash_noise),
    "n4": (4, range(1, 17), hash_noise),
    "n13": (13, range(1, 17), small_noise),
    "n104": (104, range(1, 17), small_noise),
}


def write_predictions(folder: Path, files: int, variants, probability) -> Path:
    for v in variants:
        (folder / f"v{v}").mkdir(parents=True)
        for k in range(files):
            p = probability(v, k).astype(np.float32)
            blob = np.stack([np.float32(1) - p, p])[np.newaxis].transpose(0, 1, 3, 2)
            write_datasets(folder / f"v{v}" / f"test.h5_shift_{k}.h5", {"data": blob})
    return folder


@pytest.mark.parametrize("name", PREDICTIONS)
def test_averages_are_those_of_the_original(name, tmp_path):
    folder = write_predictions(tmp_path / "Pkg001_Z01", *PREDICTIONS[name])
    written = average_variants(folder, rules=ORIGINAL)
    assert written == max(0, PREDICTIONS[name][0] - 4)
    assert not list(folder.glob("v*"))
    expected = AVERAGES[name]["outputs"]
    assert {file: digest(np.array(Image.open(folder / file)).astype(np.uint16)) for file in expected} == expected
    assert {path.name for path in folder.iterdir()} >= set(expected)


# Merge_LargeData, without files: reading and writing them is tested in test_postprocessing.py


def patch(name: str, tile: int, z: int) -> np.ndarray:
    """Plane z of a tile, as the case's generator made it and Octave reads it."""
    seed = tile * 1000 + z
    dtype = "uint8" if name.startswith("u8") else "uint16"
    values = synth(1, 1024, 1024, seed, dtype)[0]
    if match := re.fullmatch(r"u\d+_max(\d+)", name):
        return values % (int(match[1]) + 1)
    if name == "u8_01_255only":
        return imread(((values > 127) * 255).astype(np.uint8))
    if name == "u16_bilevel":
        return ((values > 32767) * 65535).astype(np.uint16)
    if name == "u16_mixmax" and (tile + z) % 2:
        return values % 257
    return values


def size_of_merge(name: str) -> tuple[int, int, int]:
    if match := re.fullmatch(r"(?:u8_)?(\d+)x(\d+)(?:x3)?", name):
        return 3, int(match[1]), int(match[2])
    sizes = {
        "z106": (106, 600, 600),
        "z206_2pkg": (206, 1030, 600),
        "u16_mixmax": (2, 1030, 600),
        "u8_1024": (3, 1024, 1024),
    }
    return sizes.get(name, (1, 600, 600))


@pytest.mark.parametrize("name", [name for name in MERGES if MERGES[name]["outputs"]])
def test_stitched_planes_are_those_of_the_original(name):
    tiling = Tiling.of(size_of_merge(name), rules=ORIGINAL)
    for file, expected in MERGES[name]["outputs"].items():
        z = int(file[10:14]) - 1
        plane = np.zeros(tiling.shape[1:], np.uint16)
        for package in tiling.packages_at(z):
            stitching.paste(plane, package, patch(name, package.tile, z))
        assert digest(stitching.to_probability_map(plane, rules=ORIGINAL)) == expected


@pytest.mark.parametrize(("name", "arguments"), [("noargs", []), ("nodir", ["nonexist/1fm"])])
def test_merging_nothing_ends_as_in_the_original(name, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CDEEP3M_EXACT", "1")
    assert merge_large_data.main(arguments) == MERGES[name]["exit_status"]


# EnsemblePredictions


def nets(*stacks: np.ndarray) -> list[np.ndarray]:
    return list(stacks)


def noise(seed: int, dtype: str = "uint8", x: int = 60) -> np.ndarray:
    return synth(3, 50, x, seed, dtype).copy()


def blackened(seed: int) -> np.ndarray:
    stack = noise(seed)
    stack[0] = 0
    return stack


ENSEMBLE_INPUTS: dict[str, Callable[[], list[np.ndarray]]] = {
    "u8_2": lambda: nets(noise(1), noise(2)),
    "u8_3": lambda: nets(noise(1), noise(2), noise(3)),
    "u8_4": lambda: nets(noise(1), noise(2), noise(3), noise(4)),
    "u16_3": lambda: nets(*(noise(k, "uint16") for k in (1, 2, 3))),
    "bw255_3": lambda: nets(*(noise(k, "bool").astype(np.uint8) * np.uint8(255) for k in (1, 2, 3))),
    "firstblack": lambda: nets(blackened(1), noise(2), noise(3)),
    "secondblack": lambda: nets(noise(1), blackened(2), noise(3)),
    "size_mismatch": lambda: nets(noise(1), noise(2, x=61), noise(3)),
    "outexists": lambda: nets(noise(1), noise(2), noise(3)),
    "names": lambda: nets(noise(1), noise(2)),
}
NAMES = [["b.png", "a.png", "C.PNG"], ["x1.png", "x10.png", "x2.png"]]


@pytest.mark.parametrize("name", ENSEMBLE_INPUTS)
def test_ensembles_are_those_of_the_original(name, tmp_path):
    out = tmp_path / "out"
    if name == "outexists":
        out.mkdir()
    folders = [
        str(png_folder(tmp_path / f"in{i}", stack, NAMES[i] if name == "names" else "Segmented_%04d.png"))
        for i, stack in enumerate(ENSEMBLE_INPUTS[name]())
    ]
    assert ensemble_predictions.main(["--exact", *folders, str(out)]) == ENSEMBLES[name]["exit_status"]
    found = {path.name: digest(np.array(Image.open(path))) for path in sorted(out.glob("*"))}
    assert found == ENSEMBLES[name]["outputs"]


def test_missing_folders_end_with_success_as_in_the_original(tmp_path):
    missing = [str(tmp_path / name) for name in ("nope", "nope2", "none")]
    assert ensemble_predictions.main(["--exact", *missing]) == ENSEMBLES["notdir"]["exit_status"] == 0
    assert ensemble_predictions.main(missing) == 1


# The copied hashes


def test_every_recorded_case_is_tested():
    assert set(DIVISIONS) == {*only(DIVISIONS, r"(z|xy)_[\dx]+"), *DIVISION_INPUTS}
    sizes = only(PACKAGES, r"\d+x\d+x\d+_(uint8|uint16)(_z)?")
    assert set(PACKAGES) == {*sizes, "60x70x3_all", *PACKAGE_INPUTS, *FAILING_INPUTS}
    assert set(AVERAGES) == {*PREDICTIONS, "nov"}
    assert {name for name in MERGES if not MERGES[name]["outputs"]} == {"noargs", "nodir"}
    assert set(ENSEMBLES) == {*ENSEMBLE_INPUTS, "notdir"}


def test_the_copied_hashes_are_those_of_the_reference(reference):
    recorded = json.loads((reference / "octave" / "postprocess.json").read_text(encoding="utf-8"))
    for name, case in AVERAGES.items():
        assert recorded[name]["runs"][0]["exit_status"] == case["exit_status"]
        outputs = recorded[name].get("outputs") or {}
        assert {file: outputs[file]["sha256"] for file in case["outputs"]} == case["outputs"]


def test_no_variants_fail_as_in_the_original(tmp_path):
    from cdeep3m.cli import start_postprocessing

    assert start_postprocessing.main(["--exact", str(tmp_path)]) == AVERAGES["nov"]["exit_status"] == 1
