"""The study of recipes: patches keep their labels, and a choice that is tried tells how it did."""

from __future__ import annotations

import json
import multiprocessing
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from benchmarks import study_learning
from benchmarks.study_learning import (
    BASE,
    BINNED_QUICK,
    CHOICES,
    FIRST,
    OUTSIDE,
    QUICK,
    THEN,
    Choice,
    build,
    curved,
    halves,
    part_of,
    patches,
    runs,
    scores,
    share_of_rate,
    table,
    until_time_is_up,
    without_large_bodies,
)
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.proto import caffe_pb2
from cdeep3m.training.recipes import recipe_called

SMALL = replace(BASE, side=32, batch=2, jitter=0.0)


def test_no_two_choices_share_a_row():
    assert len({choice.name for choice in CHOICES}) == len(CHOICES)


@pytest.mark.parametrize("choice", [SMALL, replace(SMALL, turns=False, scale=0.0), replace(SMALL, rare=1.0)])
def test_a_patch_and_its_labels_are_of_the_same_place(choice: Choice):
    labels = (torch.rand(5, 96, 80, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    smooth = functional.avg_pool2d(labels, 9, 1, 4)
    labels = (smooth > 0.5).float()
    data, label = patches(choice, labels, labels, torch.Generator().manual_seed(2))
    middle = data[:, 0, :, :, 1]
    known = (label != OUTSIDE) & ((middle < 0.01) | (middle > 0.99))
    assert known.float().mean() > 0.3
    assert torch.equal(middle[known] > 0.5, label[known] > 0)


def test_a_curve_of_gray_values_rises_from_end_to_end():
    values, draws = torch.linspace(-3, 3, 601), torch.Generator().manual_seed(1)
    inside = values.clamp(-2.5, 2.5)
    torch.testing.assert_close(curved(values, 0.0, draws), inside)
    seen = curved(values, 0.7, draws)
    assert (seen[0], seen[-1]) == (-2.5, 2.5)
    steps = seen.diff()[50:550] / 0.01
    assert steps.min() > 0.2
    assert (seen - inside).abs().max() > 0.1


def test_a_shade_changes_foreground_alone_and_all_of_it_alike():
    labels = torch.zeros(1, 64, 64)
    labels[0, 20:44, 20:44] = 1
    choice = replace(SMALL, net="1fm", side=64, turns=False, scale=0.0, shade=0.4)
    data, label = patches(choice, torch.zeros(1, 64, 64), labels, torch.Generator().manual_seed(2))
    far = functional.max_pool2d((label > 0).float(), 9, 1, 4) == 0
    deep = -functional.max_pool2d(-(label > 0).float(), 9, 1, 4) == 1
    seen = data[:, 0, :, :, 0]
    assert torch.count_nonzero(seen[far]) == 0
    for patch, within in zip(seen, deep, strict=True):
        assert 0 < patch[within].abs().max() <= 0.4
        assert patch[within].std() < 1e-6


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


def test_large_false_bodies_are_told_apart_from_true_ones_and_small_ones():
    truth, maps = torch.zeros(2, 100, 100), torch.zeros(2, 100, 100)
    truth[0, :50, :50] = maps[0, :50, :45] = 1  # found in part
    maps[0, 60:, :60] = 0.9  # a large body, false
    truth[0, 60:65, :40] = 1  # but for less than a tenth
    maps[0, 60:70, 70:] = 0.9  # a small one
    maps[1, :50, :50] = 0.4  # none
    found = without_large_bodies(maps, truth)
    assert found["bodies"] == 2200 / 2500
    assert found["without"] == pytest.approx(2 * 2250 / (2250 + 300 + 2500 + 200))


def test_the_choices_that_matter_come_first_and_another_seed_after_all_of_them():
    found = runs(["important"], seeds=3, held=["right", "bottom"])
    assert len(found) == 3 * 2 * (len(FIRST) + len(THEN)) == len(set(found))
    assert [(run.name, run.seed, run.held) for run in found[:2]] == [(FIRST[0], 1, "right"), (FIRST[0], 1, "bottom")]
    assert {run.seed for run in found[: 2 * len(FIRST)]} == {1}
    assert {run.name for run in found[: 6 * len(FIRST)]} == set(FIRST)
    assert {run.name for run in runs(["all"], seeds=1, held=["right"])} == {choice.name for choice in CHOICES}
    (short,) = runs([QUICK.name], seeds=1, held=["right"], seconds=300)
    assert (short.name, short.steps) == (f"{QUICK.name}, in 300 s", QUICK.steps // 5)
    with pytest.raises(SystemExit, match="no choice 'wider'; there are a quarter"):
        runs(["wider"], seeds=1, held=["right"])


def test_the_quick_row_is_the_recipe():
    recipe = recipe_called("quick").options
    assert (recipe["models"], recipe["width"], recipe["least_channels"]) == (QUICK.net, QUICK.width, QUICK.least)
    assert (recipe["patch_side"], recipe["batch"], recipe["base_learn"]) == (QUICK.side, QUICK.batch, QUICK.rate)
    assert recipe.get("binning", 1) == QUICK.binning


@pytest.mark.parametrize(("area", "shape"), [(1, (2, 128, 72)), (0.5, (2, 64, 72)), (0.25, (2, 64, 32))])
def test_a_part_of_the_area_is_one_corner(area, shape):
    volume = torch.arange(2.0 * 128 * 72).reshape(2, 128, 72)
    assert torch.equal(part_of(volume, area), volume[: shape[0], : shape[1], : shape[2]])


@pytest.mark.parametrize("places", [1, 2])
def test_halves_of_two_places_are_as_many_as_those_of_one(places):
    training = torch.arange(6.0)[:, None, None].expand(6, 4, 1024) + torch.linspace(0, 0.5, 1024)
    validation = 10 + torch.arange(3.0)[:, None, None].expand(3, 4, 1024) + torch.linspace(0, 0.5, 1024)
    found = halves(training, validation, places=places)
    assert found.shape == (9, 4, 480)
    assert torch.equal(found[:6], training[:, :, :480])
    others = validation[:, :, :480] if places == 2 else training[[0, 2, 4], :, -480:]
    assert torch.equal(found[6:], others)


OF_NETS = {
    (one.net, one.width, one.least, one.filler, one.residual, one.kept, one.binning, one.smoothly): one
    for one in (*CHOICES, replace(BINNED_QUICK, name="quick, binned, msra", filler="msra"))
}


@pytest.mark.parametrize("choice", OF_NETS.values(), ids=lambda choice: choice.name)
def test_every_choice_makes_a_net_that_trains_and_one_that_predicts(choice: Choice):
    learning, predicting = (build(replace(choice, side=64, batch=1), predicts=predicts) for predicts in (False, True))
    weights = Net(learning, phase=caffe_pb2.TRAIN).to_message()
    Net(predicting, phase=caffe_pb2.TEST).load_weights(weights)
    fixed = [layer for layer in predicting.layer if layer.param and layer.param[0].lr_mult == 0]
    assert bool(fixed) == (choice.binning > 1)
    assert {layer.convolution_param.weight_filler.type for layer in fixed} <= {"constant", "bilinear"}


def test_what_is_done_when_time_is_up_is_kept_and_one_that_failed_is_told(capsys):
    class Results:
        def __init__(self):
            self.left = iter(["first", RuntimeError("CUDA out of memory"), "second"])

        def next(self, timeout):
            assert timeout >= 0
            for line in self.left:
                if isinstance(line, RuntimeError):
                    raise line
                return line
            raise multiprocessing.TimeoutError

    assert list(until_time_is_up(Results(), time.monotonic() + 5)) == ["first", "second"]
    assert capsys.readouterr().err == "a run failed: CUDA out of memory\n"


def test_the_table_tells_means_of_parts_and_the_spread_of_whole_seeds(tmp_path):
    others = {"learnt": 0.875, "brighter": 0.25, "darker": 0.75}
    rest = {"steps": 7, "precision": 0.5, "recall": 0.5, "best": 0.9, **others}
    found = {("right", 1): 0.5, ("bottom", 1): 0.7, ("right", 2): 0.7, ("bottom", 2): 0.9, ("right", 3): 0.6}
    lines = [
        json.dumps({"choice": {"name": "a", "held": held, "seed": seed}, "f1": f1, **rest})
        for (held, seed), f1 in found.items()
    ]
    lines.append(json.dumps({"choice": {"name": "a", "held": "validation", "seed": 1}, "f1": 0.9, **rest}))
    (tmp_path / "study.jsonl").write_text("\n".join([*lines, '{"cut": {}']))
    head, _, first, second = table(tmp_path / "study.jsonl")
    assert head.startswith("| choice | steps | seeds | F1 | +- | parts |")
    assert first.startswith("| a (validation) | 7 | 1 | 0.900 |  | validation 0.900 |")
    assert second.startswith("| a | 7 | 2 | 0.700 | 0.141 | bottom 0.800, right 0.600 |")
    assert second.endswith("| 0.500 | 0.500 | 0.900 | 0.875 | 0.250 | 0.750 |  |  |")


@pytest.mark.heavy
def test_a_choice_is_tried_and_told(tmp_path, monkeypatch, capsys):
    draws = np.random.default_rng(1)
    for part, planes, side in (("training", 4, 1024), ("validation", 1, 64)):
        for kind in ("images", "labels"):
            (tmp_path / "data" / part / kind).mkdir(parents=True)
        for z in range(planes):
            label = np.zeros((side, side), np.uint8)
            label[side // 10 * z : side * 9 // 10, side // 4 : side * 3 // 4] = 255
            image = np.clip(label * 0.5 + draws.normal(60, 10, label.shape), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(tmp_path / "data" / part / "images" / f"{z}.png")
            Image.fromarray(label).save(tmp_path / "data" / part / "labels" / f"{z}.png")
    tiny = replace(BASE, width=8, least=2, side=64, batch=2, seconds=0.08, area=0.25)
    bins = replace(tiny, name="bins", binning=2, seconds=0.03)
    monkeypatch.setattr(study_learning, "CHOICES", (tiny, bins))
    out = tmp_path / "study.jsonl"
    arguments = [str(tmp_path / "data"), str(out), "--minutes", "30", "--choices"]
    assert study_learning.main([*arguments, BASE.name, "--held", "right"]) == 0
    assert study_learning.main([*arguments, BASE.name, "--held", "right", "validation"]) == 0
    assert "1 of 1 runs are done, 1 were there" in capsys.readouterr().err
    assert study_learning.main([*arguments, "bins", "--held", "elsewhere"]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [run["choice"]["held"] for run in found] == ["right", "validation", "elsewhere"]
    for run in found:
        assert run["steps"] == 2
        assert 0 <= run["f1"] <= run["best"] <= 1
        assert all(0 <= run[other] <= 1 for other in ("learnt", "brighter", "darker", "bodies", "without"))
    rows = {line.split(" | ")[0] for line in table(out)[2:]}
    assert rows == {f"| {BASE.name}", f"| {BASE.name} (validation)", "| bins (elsewhere)"}
