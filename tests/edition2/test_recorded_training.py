"""Training and validation data in exact mode of the second edition against its recorded runs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from PIL import Image

from cdeep3m.cli import preprocess_training_data, preprocess_validation
from cdeep3m.edition2 import secondary
from cdeep3m.errors import CDeep3MError
from cdeep3m.training.as_edition_2 import Chance, chance_of, write_training_data
from cdeep3m.training.volumes_given import volumes_given
from edition2.recordings import UNKNOWN, Recording, described, synth
from edition2.test_recorded_commands import status_of
from edition2.test_recorded_steps import every
from octave_cases import hdf5_file, png_folder, tiff_folder, tiff_stack

if TYPE_CHECKING:
    from pathlib import Path

SHAPED = range(9, 17)
"""Variations that are skewed or distorted: borders hang on the last digits of a perspective, and on SciPy's mirrors."""


def white_where(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * np.uint8(255)


def palette(folder: Path, planes: np.ndarray, colours: list[int]) -> Path:
    folder.mkdir()
    for k, plane in enumerate(planes):
        image = Image.fromarray(plane).convert("P")
        image.putdata(plane.ravel().tolist())
        image.putpalette(colours)
        image.save(folder / f"img_{k + 1:04d}.png")
    return folder


def inputs(w: Path, recorded: Recording) -> dict:
    """How to make every input that the recordings name (their README), in an empty folder."""
    images, mask = synth(3, 330, 340, 1), synth(3, 330, 340, 2, "bool")
    wide = synth(3, 330, 340, 7, "uint16")
    colour = np.stack([np.stack([synth(1, 330, 340, 10 + 3 * k + c)[0] for c in range(3)], -1) for k in range(3)])
    three = np.uint8([0, 5, 9])[synth(3, 330, 340, 8).astype(int) % 3]
    ini = (recorded.path.parent / "custom.ini").read_text()
    section, *keys = ini.splitlines()

    def text(name: str, content: str) -> None:
        (w / name).write_text(content)

    return {
        "img": lambda: png_folder(w / "img", images),
        "lbl": lambda: png_folder(w / "lbl", white_where(mask)),
        "im2": lambda: png_folder(w / "im2", synth(2, 340, 326, 3)),
        "lb2": lambda: png_folder(w / "lb2", white_where(synth(2, 340, 326, 4, "bool"))),
        "sm": lambda: png_folder(w / "sm", synth(3, 300, 340, 5)),
        "sml": lambda: png_folder(w / "sml", white_where(synth(3, 300, 340, 6, "bool"))),
        "i16": lambda: png_folder(w / "i16", wide),
        "f16": lambda: tiff_folder(w / "f16", wide),
        "t16": lambda: tiff_stack(w / "t16.tif", wide),
        "t330.tif": lambda: tiff_stack(w / "t330.tif", wide),
        "l330": lambda: png_folder(w / "l330", white_where(mask)),
        "rgb": lambda: png_folder(w / "rgb", colour),
        "lbl01": lambda: png_folder(w / "lbl01", mask.astype(np.uint8)),
        "l3": lambda: png_folder(w / "l3", three),
        "l7": lambda: png_folder(w / "l7", mask.astype(np.uint8) * np.uint8(7)),
        "l0": lambda: png_folder(w / "l0", np.zeros_like(images)),
        "lall": lambda: png_folder(w / "lall", np.full_like(images, 255)),
        "lpal": lambda: palette(w / "lpal", mask.astype(np.uint8), [0, 0, 0, 255, 255, 255]),
        "lpal2": lambda: palette(w / "lpal2", mask.astype(np.uint8), [255, 255, 255, 0, 0, 0]),
        "two": lambda: png_folder(w / "two", white_where(synth(3, 330, 340, 1, "bool"))),
        "const": lambda: png_folder(w / "const", np.full_like(images, 77)),
        "one": lambda: png_folder(w / "one", images[:1]),
        "onel": lambda: png_folder(w / "onel", white_where(mask)[:1]),
        "bad": lambda: png_folder(w / "bad", white_where(mask)[:, :-1]),
        "badz": lambda: png_folder(w / "badz", white_where(mask)[:2]),
        "x.h5": lambda: hdf5_file(w / "x.h5", images),
        "xl.h5": lambda: hdf5_file(w / "xl.h5", white_where(mask)),
        NOT_GIVEN: lambda: tiff_stack(w / NOT_GIVEN, smooth(12, 64, 60)),
        "stl12.tif": lambda: tiff_stack(w / "stl12.tif", white_where(synth(12, 64, 60, 9, "bool"))),
        "unp": lambda: unpadded(w / "unp", synth(12, 326, 327, 30) % 8),
        "c.ini": lambda: text("c.ini", ini),
        "keysmissing.ini": lambda: text("keysmissing.ini", "\n".join([section, *keys[:3]])),
        "nosection.ini": lambda: text("nosection.ini", "[Other]\na = 1\n"),
    }


NOT_GIVEN = "st12.tif"
"""A volume whose values the recordings do not give; sizes, names, labels and the order of its planes are compared."""
"""Volumes that the recordings do not give, or describe in other words."""


def is_known(word: str, makers: dict) -> bool:
    return word in makers or word.removeprefix("-").isdigit()


def recorded_chance(draws: list[str]) -> Chance:
    """The draws of a recorded run, in their order; noise comes from one generator seeded with 1."""
    values = {kind: [d.split()[1] for d in draws if d.startswith(kind)] for kind in ("side", "elastic_seed", "factor")}
    generator = np.random.RandomState(1)  # noqa: NPY002

    def drawn(variation: int, shape: tuple[int, int]) -> secondary.Draws:
        given = {}
        if 9 <= variation <= 12:
            given["side"] = int(values["side"].pop(0))
        if variation > 12:
            seeded = np.random.RandomState(int(values["elastic_seed"].pop(0)))  # noqa: NPY002
            given["fields"] = [2 * seeded.rand(*shape) - 1 for _ in range(4)]
        return secondary.Draws(noise=lambda deviation, size: generator.normal(0, deviation, size), **given)

    return Chance(drawn, lambda low, high: float(values["factor"].pop(0)))


def smooth(depth: int, height: int, width: int) -> np.ndarray:
    """Return planes that can be enhanced and differ."""
    z, y, x = np.mgrid[:depth, :height, :width]
    return (120 + 60 * np.sin(y / (3 + z)) * np.cos(x / 6) + (7 * x + 3 * y + z) % 11).astype(np.uint8)


def unpadded(folder: Path, planes: np.ndarray) -> Path:
    folder.mkdir()
    for k, plane in enumerate(planes, start=1):
        Image.fromarray(plane).save(folder / f"img{k}.png")
    return folder


def datasets(path: Path) -> dict[str, list]:
    with h5py.File(path, "r") as file:
        return {name: described(dataset[()]) for name, dataset in file.items()}


def answered(question: str) -> None:
    del question


@every("training")
def test_training_data_are_the_recorded_ones(recorded: Recording, tmp_path, monkeypatch):
    case, arguments = recorded.case, [word for word in recorded.case["arguments"] if not word.endswith(".py")]
    makers = inputs(tmp_path, recorded)
    if "unp" in arguments:
        labels = arguments[arguments.index("unp") + 1]
        makers[labels] = lambda: unpadded(tmp_path / labels, white_where(synth(12, 326, 327, 31, "bool")))
    if case["status"] == 0 and not all(is_known(word, makers) for word in arguments[:-1]):
        pytest.skip(UNKNOWN)
    for word in dict.fromkeys(arguments):
        if word in makers:
            makers[word]()
    monkeypatch.chdir(tmp_path)
    # enhanced planes are compared in their own test; here, how they are named and used
    monkeypatch.setattr("cdeep3m.edition2.total_variation.STEPS", 1)
    monkeypatch.setattr("sys.stdin", io.StringIO({"labels3_enter": "\n", "labels3_S": "S\n"}.get(recorded.name, "")))
    strong = bool(case.get("draws"))
    if strong:
        volumes, out = volumes_given(arguments, default="-1")
        write_training_data(volumes, out, chance=recorded_chance(case["draws"]), confirm=answered)
    else:
        assert status_of(preprocess_training_data.main, arguments) == case["status"]
    if case["status"]:
        return
    for name, expected in case.get("files", {}).items():
        path = tmp_path / arguments[-1] / name
        if name.endswith(".txt"):
            assert path.read_text() == expected
        elif name.endswith(".png"):
            assert described(np.array(Image.open(path)))[:2] == expected[:2]
        elif strong and int(path.stem.split("_")[-1]) in SHAPED:
            assert {key: value[:2] for key, value in datasets(path).items()} == {
                key: value[:2] for key, value in expected.items()
            }
        elif NOT_GIVEN in arguments or any(word == "-1" for word in arguments) or "0" not in arguments and not strong:
            assert datasets(path)["label"] == expected["label"]
            assert datasets(path)["data"][:2] == expected["data"][:2]
        else:
            assert datasets(path) == expected


@every("validation")
def test_validation_data_are_the_recorded_ones(recorded: Recording, tmp_path, monkeypatch):
    case, (_, *arguments) = recorded.case, recorded.case["arguments"]
    images, mask = synth(3, 40, 50, 1), synth(3, 40, 50, 2, "bool")
    wide = synth(4, 40, 50, 1, "uint16")
    makers = {
        "img": lambda: png_folder(tmp_path / "img", images),
        "lbl": lambda: png_folder(tmp_path / "lbl", white_where(mask)),
        "zz": lambda: png_folder(tmp_path / "zz", white_where(mask)[:2]),
        "one": lambda: png_folder(tmp_path / "one", images[:1]),
        "onel": lambda: png_folder(tmp_path / "onel", white_where(mask)[:1]),
        "i16": lambda: png_folder(tmp_path / "i16", synth(3, 40, 50, 7, "uint16")),
        "t.tif": lambda: tiff_stack(tmp_path / "t.tif", wide),
        "l3": lambda: png_folder(tmp_path / "l3", np.uint8([0, 5, 9])[images.astype(int) % 3]),
        "tl": lambda: png_folder(tmp_path / "tl", white_where(synth(4, 40, 50, 2, "bool"))),
    }
    if case["status"] == 0 and not all(word in makers for word in arguments[:2]):
        pytest.skip(UNKNOWN)
    for word in dict.fromkeys(arguments):
        if word in makers:
            makers[word]()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert status_of(preprocess_validation.main, arguments) == case["status"]
    for name, expected in case["files"].items() if case["status"] == 0 else ():
        path = tmp_path / arguments[-1] / name
        if name.endswith(".png"):
            assert described(np.array(Image.open(path)))[:2] == expected[:2]
        elif len(arguments) == 3:
            assert datasets(path)["label"] == expected["label"]
        else:
            assert datasets(path) == expected


def test_an_unlucky_strength_says_which_variation_fails(tmp_path):
    png_folder(tmp_path / "img", synth(1, 325, 325, 1))
    png_folder(tmp_path / "lbl", white_where(synth(1, 325, 325, 2, "bool")))
    volumes, out = volumes_given([str(tmp_path / "img"), str(tmp_path / "lbl"), "60", str(tmp_path / "o")], default="0")
    with pytest.raises(CDeep3MError, match="variation 8"):
        write_training_data(volumes, out, chance=chance_of(1), confirm=answered)
