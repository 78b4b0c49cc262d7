"""PreprocessTrainingData and PreprocessValidation as a user meets them."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cdeep3m.cli import preprocess_training_data, preprocess_validation
from cdeep3m.volumes.hdf5 import read_dataset
from octave_cases import png_folder, synth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DATA = synth(2, 330, 340, dtype="uint16")
LABEL = synth(2, 330, 340, 1, "bool")
both_commands = pytest.mark.parametrize("main", [preprocess_training_data.main, preprocess_validation.main])


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    png_folder(tmp_path / "images", DATA)
    png_folder(tmp_path / "labels", LABEL)
    return tmp_path


def arguments(w: Path, *options: str) -> list[str]:
    return [str(w / "images"), str(w / "labels"), *options, str(w / "out")]


def test_training_writes_16_files_and_says_so(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preprocess_training_data.main(arguments(sample)) == 0
    assert len(list((sample / "out").glob("*.h5"))) == 16
    np.testing.assert_array_equal(
        read_dataset(sample / "out" / "training_full_stacks_v2.h5", "data"), DATA[:, ::-1].transpose(2, 1, 0)
    )
    told = capsys.readouterr().out
    assert "Read 2 planes of 340 x 330 pixels" in told
    assert "Wrote 16 training stacks" in told


def test_validation_writes_one_file(sample: Path) -> None:
    assert preprocess_validation.main(arguments(sample, "--debug")) == 0
    assert [path.name for path in (sample / "out").glob("[!.]*")] == ["validation_stack_v1.h5"]


def remove_images(w: Path) -> None:
    (w / "images").rename(w / "elsewhere")


def empty_images(w: Path) -> None:
    remove_images(w)
    (w / "images").mkdir()


def crop_one_image(w: Path) -> None:
    png_folder(w / "images", [DATA[0, :-1]])


def colour_one_image(w: Path) -> None:
    png_folder(w / "images", [np.stack([synth(1, 330, 340, seed)[0] for seed in range(3)], -1)] * 2)


def three_labels(w: Path) -> None:
    png_folder(w / "labels", synth(2, 330, 340) % 3)


def truncate_an_image(w: Path) -> None:
    path = w / "images" / "img_0002.png"
    path.write_bytes(path.read_bytes()[:-1000])


def one_label_too_few(w: Path) -> None:
    (w / "labels" / "img_0002.png").unlink()


@both_commands
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_images, "no such file or folder"),
        (empty_images, "no images in"),
        (crop_one_image, "img_0002.png is 340 x 330 pixels"),
        (colour_one_image, "is in colour"),
        (three_labels, "labels hold 3 values (0, 1, 2)"),
        (truncate_an_image, "img_0002.png is no readable PNG file"),
        (one_label_too_few, "expected the same size"),
    ],
)
def test_wrong_input_is_one_line_status_1_and_nothing_written(
    main: Callable[[list[str]], int],
    spoil: Callable[[Path], None],
    message: str,
    sample: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(sample)
    assert main(arguments(sample)) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("ERROR, ")
    assert message in told
    assert "\n" not in told
    assert not (sample / "out").exists()


@both_commands
@pytest.mark.parametrize("wrong", [[], ["images"], ["a", "b", "c", "d"], ["a", "b", "c", "--nonsense"]])
def test_wrong_usage_is_status_1_and_a_usage_line(
    main: Callable[[list[str]], int], wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(wrong)
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("usage: Preprocess")


@both_commands
def test_help_is_status_0_on_stdout(main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "IMAGES and LABELS are folders of .png or .tif" in capsys.readouterr().out


def test_the_original_s_question_is_asked_and_any_line_goes_on(
    sample: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    three_labels(sample)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert preprocess_training_data.main(arguments(sample, "--exact")) == 0
    assert "more than 2 values; are these the labels? Enter to go on" in capsys.readouterr().out
    assert preprocess_training_data.main(arguments(sample, "--exact")) == 1
    assert "Nobody answered" in capsys.readouterr().err


def test_the_environment_asks_for_exact_mode(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sample / "images").rename(sample / "my.images")
    paths = [str(sample / name) for name in ("my.images", "labels", "out")]
    assert preprocess_training_data.main(paths) == 0
    monkeypatch.setenv("CDEEP3M_EXACT", "1")
    assert preprocess_training_data.main(paths) == 1


@pytest.mark.parametrize("name", ["preprocess_training_data", "preprocess_validation"])
def test_help_loads_no_heavy_module(name: str) -> None:
    code = (
        f"import sys, cdeep3m.cli.{name} as command\n"
        "try: command.main(['--help'])\n"
        "except SystemExit: print({'numpy', 'h5py', 'tifffile', 'torch', 'PIL'} & set(sys.modules), file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stderr.strip() == "set()"
