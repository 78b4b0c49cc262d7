"""The commands around packages: arguments, exit statuses, and one line for what went wrong."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cdeep3m.cli import (
    def_data_packages,
    ensemble_predictions,
    merge_large_data,
    preprocess_image_data,
    preprocess_package,
    start_postprocessing,
)
from octave_cases import png_folder, synth

COMMANDS = {
    "DefDataPackages.m": (def_data_packages, [], ["a"], ["a", "b", "c"]),
    "PreprocessPackage.m": (preprocess_package, ["a", "b", "1", "1", "1fm"], ["a", "b", "one", "1", "1fm", "1"]),
    "PreprocessImageData": (preprocess_image_data, ["a"], ["--augspeed", "3", "a", "b"]),
    "StartPostprocessing.m": (start_postprocessing, [], ["--nonsense"]),
    "Merge_LargeData.m": (merge_large_data, [], ["a", "b"]),
    "EnsemblePredictions.m": (ensemble_predictions, [], ["a"], ["a", "b"]),
}
WRONG = [(name, arguments) for name, (_, *wrong) in COMMANDS.items() for arguments in wrong]


@pytest.fixture(autouse=True)
def corrected(monkeypatch):
    monkeypatch.delenv("CDEEP3M_EXACT", raising=False)


@pytest.fixture
def images(tmp_path):
    return str(png_folder(tmp_path / "images", synth(3, 20, 30, 5)))


@pytest.mark.parametrize(("name", "arguments"), WRONG)
def test_wrong_usage_exits_with_1_after_a_usage_line(name, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        COMMANDS[name][0].main(arguments)
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith(f"usage: {name} ")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_goes_to_stdout(name, capsys):
    with pytest.raises(SystemExit) as caught:
        COMMANDS[name][0].main(["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {name} ")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (def_data_packages, ["nope", "aug"]),
        (preprocess_package, ["images", "nope", "1", "1", "1fm", "1"]),
        (preprocess_image_data, ["nope", "aug"]),
        (start_postprocessing, ["nope"]),
        (merge_large_data, ["nope/1fm"]),
        (ensemble_predictions, ["nope", "images", "out"]),
    ],
)
def test_missing_input_is_one_line_and_leaves_nothing(module, arguments, images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert module.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("ERROR, ")
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_the_commands_follow_each_other(images, tmp_path, capsys):
    aug = str(tmp_path / "aug")
    assert def_data_packages.main([images, aug]) == 0
    assert preprocess_package.main([images, aug, "1", "1", "1fm", "10"]) == 0
    assert "packages" in capsys.readouterr().out.lower()
    assert (tmp_path / "aug" / "1fm" / "Pkg001_Z01" / "DONE").exists()


def test_images_are_prepared_without_copying_them(images, tmp_path):
    assert preprocess_image_data.main([images, str(tmp_path / "aug")]) == 0
    assert (tmp_path / "aug" / "images.txt").read_text() == f"{images}\n"
    assert not list((tmp_path / "aug").rglob("*.h5"))


def test_options_may_follow_positionals(images, tmp_path):
    arguments = [images, str(tmp_path / "aug"), "--models", "1fm", "--augspeed=10"]
    assert preprocess_image_data.main(arguments) == 0
    assert [path.name for path in tmp_path.rglob("*.h5")] == ["image_stacks_v1.h5"]


def test_maps_of_two_nets_are_averaged(tmp_path):
    folders = [str(png_folder(tmp_path / net, np.full((1, 3, 4), 7, np.uint8))) for net in ("1fm", "3fm")]
    assert ensemble_predictions.main([*folders, str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "img_0001.png").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_neither_numpy_nor_h5py(name):
    module = COMMANDS[name][0].__name__
    code = f"import sys, {module}; sys.exit(any(m in sys.modules for m in ('numpy', 'h5py', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
