"""The study of recipes: patches keep their labels, and a choice that is tried tells how it did."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import study_learning
from benchmarks.study_learning import BASE, CHOICES, OUTSIDE, Choice, patches, scores, share_of_rate, table

SMALL = replace(BASE, side=32, batch=2, jitter=0.0)


def test_no_two_choices_share_a_row():
    assert len({choice.name for choice in CHOICES}) == len(CHOICES)


@pytest.mark.parametrize("choice", [SMALL, replace(SMALL, turns=False, scale=0.0), replace(SMALL, rare=1.0)])
def test_a_patch_and_its_labels_are_of_the_same_place(choice: Choice):
    labels = (torch.rand(5, 96, 80, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    smooth = torch.nn.functional.avg_pool2d(labels, 9, 1, 4)
    labels = (smooth > 0.5).float()
    data, label = patches(choice, labels, labels, torch.Generator().manual_seed(2))
    middle = data[:, 0, :, :, 1]
    known = (label != OUTSIDE) & ((middle < 0.01) | (middle > 0.99))
    assert known.float().mean() > 0.3
    assert torch.equal(middle[known] > 0.5, label[known] > 0)


def test_the_rate_rises_and_falls_to_nothing():
    shares = [share_of_rate(index, 100) for index in range(100)]
    assert shares[4] == 1
    assert shares[0] == 0.2
    assert shares[-1] < 0.001
    assert sorted(shares[5:], reverse=True) == shares[5:]


def test_scores_are_counted_at_one_half_and_where_they_are_best():
    truth = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    found = scores(torch.tensor([[[0.9, 0.4, 0.3, 0.1]]]), truth)
    assert (found["precision"], found["recall"]) == (1.0, 0.5)
    assert found["best"] == 1.0
    assert 0.3 < found["threshold"] <= 0.41


@pytest.mark.heavy
def test_a_choice_is_tried_and_told(tmp_path, monkeypatch):
    draws = np.random.default_rng(1)
    for kind in ("images", "labels"):
        (tmp_path / "data" / "training" / kind).mkdir(parents=True)
    for z in range(4):
        label = np.zeros((1024, 1024), np.uint8)
        label[100 * z : 900, 300:800] = 255
        image = np.clip(label * 0.5 + draws.normal(60, 10, label.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "data" / "training" / "images" / f"{z}.png")
        Image.fromarray(label).save(tmp_path / "data" / "training" / "labels" / f"{z}.png")
    tiny = replace(BASE, width=8, least=2, side=64, batch=2, seconds=0.08)
    monkeypatch.setattr(study_learning, "CHOICES", (tiny,))
    out = tmp_path / "study.jsonl"
    arguments = [str(tmp_path / "data"), str(out), "--held", "right"]
    assert study_learning.main(arguments) == 0
    run = json.loads(out.read_text())
    assert run["steps"] == 2
    assert 0 <= run["f1"] <= run["best"] <= 1
    assert table(out)[-1].startswith(f"| {BASE.name} | 1 | 2 |")
