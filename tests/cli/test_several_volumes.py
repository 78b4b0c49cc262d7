"""`cdeep3m train` on several volumes, enhanced and augmented."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cdeep3m.cli import runtraining, train
from cdeep3m.engines import select
from cdeep3m.runs.provenance import trained_on
from cdeep3m.volumes.enhancement import Enhancement, enhance
from fake_training_engine import FakeTrainingEngine
from octave_cases import png_folder, synth

SHORT = ("--numiterations", "2", "--width", "32", "--models", "1fm", "--no-report")


class ArrayEngine(FakeTrainingEngine):
    """One that can also predict arrays, as an engine in this process."""

    def load(self, model, *, gpu=-1, precision="float32"):
        raise NotImplementedError


@pytest.fixture
def engine(monkeypatch):
    fake = ArrayEngine()
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (fake, [-1]))
    return fake


def pair(folder, name: str, y: int = 40, x: int = 44) -> list[str]:
    rows, columns = np.mgrid[:y, :x]
    data = (120 + 60 * np.sin(rows / 5) * np.cos(columns / 6) + synth(2, y, x, 3) % 9).astype(np.uint8)
    png_folder(folder / name, data)
    png_folder(folder / f"{name}_labels", (data > 120).astype(np.uint8))
    return [str(folder / name), str(folder / f"{name}_labels")]


def test_volumes_and_weights_reach_the_engine_and_the_record(engine, tmp_path):
    one, two, out = pair(tmp_path, "one"), pair(tmp_path, "two", y=50), tmp_path / "out"
    words = [*SHORT, "--add", *two, "--weights", "3,1", "--denoise", "2", "--augment", "4", "--resize", "2"]
    assert train.main([*words, *one, str(out)]) == 0
    (job,) = engine.jobs
    assert [volume.weight for volume in job.training] == [3.0] * 16 + [1.0] * 16
    plane = np.array(Image.open(tmp_path / "two" / "img_0001.png"))
    np.testing.assert_array_equal(job.training[16].data[:44, :50, 0].T, enhance(plane))
    assert job.augmentation.resize == 2
    assert "ignore_label: 255" in (out / "1fm" / "train_val.prototxt").read_text()
    record = trained_on(out)
    assert (record.enhancement, record.volumes) == (Enhancement(cut=2), 2)
    assert "skew 4" in record.augmentation
    assert train.main([*SHORT, *one, str(out)]) == 1


def test_without_a_word_nothing_is_enhanced_or_augmented(engine, tmp_path):
    out = tmp_path / "out"
    assert train.main([*SHORT, *pair(tmp_path, "one"), str(out)]) == 0
    assert engine.jobs[0].augmentation is None
    assert trained_on(out).enhancement is None
    assert "ignore_label: 255" not in (out / "1fm" / "train_val.prototxt").read_text()


@pytest.mark.parametrize("weights", ["1", "1,0", "1,x", "1,2,3", "1,inf"])
def test_weights_that_make_no_sense_are_an_error(engine, tmp_path, capsys, weights):
    one, two = pair(tmp_path, "one"), pair(tmp_path, "two")
    assert train.main([*SHORT, "--add", *two, "--weights", weights, *one, str(tmp_path / "out")]) == 1
    assert "expected 2 numbers above 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not engine.jobs


def test_patches_are_drawn_before_days_are_spent(engine, tmp_path):
    picture = tmp_path / "patches.png"
    words = [*SHORT, "--augment", "5", "--resize", "5", "--seed", "1", "--patch_side", "32"]
    assert train.main([*words, "--show-augmentation", str(picture), *pair(tmp_path, "one"), str(tmp_path / "out")]) == 0
    assert Image.open(picture).size == (6 * 36 - 4, 4 * 36 - 4)
    assert not (tmp_path / "out").exists()
    assert not engine.jobs


def test_engines_over_files_do_not_augment(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(select, "select_engine", lambda name, *, gpu: (FakeTrainingEngine(), [-1]))
    assert train.main([*SHORT, "--augment", "3", *pair(tmp_path, "one"), str(tmp_path / "out")]) == 1
    assert "draws patches as Caffe does" in capsys.readouterr().err


def test_a_training_from_files_takes_their_record(engine, tmp_path):
    from cdeep3m.cli import preprocess_training_data

    one, aug = pair(tmp_path, "one"), tmp_path / "aug"
    assert preprocess_training_data.main([*one, "-1", str(aug)]) == 0
    assert runtraining.main([*SHORT, str(aug), str(tmp_path / "out")]) == 0
    assert trained_on(tmp_path / "out").enhancement == Enhancement()
    assert len(engine.jobs) == 1
