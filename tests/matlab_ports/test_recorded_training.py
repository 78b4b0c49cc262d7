"""What the training commands write in exact mode, against recorded runs of the original."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cdeep3m.cli import preprocess_training_data, preprocess_validation
from octave_cases import TRAINING_CASES, combined_digest, datasets_of, described_datasets

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "octave_training.json").read_text(encoding="utf-8"))
REAL = "va_real"
COMMANDS = {"tr": preprocess_training_data.main, "va": preprocess_validation.main}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path)


def run_case(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    case = TRAINING_CASES[name](folder)
    monkeypatch.setattr("sys.stdin", io.StringIO(case.answer))
    return COMMANDS[name[:2]](["--exact", str(case.images), str(case.labels), str(folder / "out")])


@pytest.mark.parametrize("name", sorted(set(GOLDEN) & set(TRAINING_CASES) - {REAL}))
def test_exact_mode_equals_the_recorded_run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_case(name, folder, monkeypatch) == GOLDEN[name]["exit_status"]
    if GOLDEN[name]["exit_status"]:
        assert not (folder / "out").exists()
    else:
        assert combined_digest(datasets_of(folder / "out")) == GOLDEN[name]["outputs"]


def test_exact_mode_equals_the_recorded_run_on_real_data(
    folder: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "data").symlink_to(reference.parent / "data" / "mito_testsample")
    assert run_case(REAL, folder, monkeypatch) == 0
    assert combined_digest(datasets_of(folder / "out")) == GOLDEN[REAL]["outputs"]


def test_no_arguments_succeed_in_exact_mode_as_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CDEEP3M_EXACT", "1")
    assert preprocess_training_data.main([]) == GOLDEN["tr_noargs"]["exit_status"] == 0
    assert capsys.readouterr().err.startswith("usage: PreprocessTrainingData ")


def test_every_recorded_case_has_a_test() -> None:
    assert set(GOLDEN) - {"tr_noargs"} == set(TRAINING_CASES)


@pytest.mark.parametrize("family", ["preprocess_training", "preprocess_validation"])
def test_the_copied_hashes_are_those_of_the_reference(family: str, reference: Path) -> None:
    recorded = json.loads((reference / "octave" / f"{family}.json").read_text(encoding="utf-8"))
    for name, case in recorded.items():
        assert GOLDEN[name]["exit_status"] == case["runs"][-1]["exit_status"]
        assert GOLDEN[name]["outputs"] == combined_digest(described_datasets(case.get("outputs", {})))
