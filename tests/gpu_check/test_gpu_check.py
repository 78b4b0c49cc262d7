"""The check of a GPU runs on the processor, too: tiny nets, every part, what it found on disk after each."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch

from cdeep3m.engines.embedded.net.layers import MODULES
from cdeep3m.volumes.png import write_plane
from gpu_check import __main__ as gpu_check
from gpu_check import layers, parts
from gpu_check.findings import Finding, Report, yes
from gpu_check.parts import PARTS, Check


@pytest.fixture
def sample(tmp_path):
    """Two micrographs with labels to train on, and two others."""
    rng = np.random.default_rng(0)
    for part in ("training", "validation"):
        for z in range(2):
            image = rng.integers(0, 256, (96, 96), np.uint8)
            for kind, plane in (("images", image), ("labels", (image > 100).astype(np.uint8))):
                (tmp_path / part / kind).mkdir(parents=True, exist_ok=True)
                write_plane(tmp_path / part / kind / f"{z}.png", plane)
    return tmp_path


@pytest.mark.heavy
@pytest.mark.parametrize("part", [name for name in PARTS if name not in ("predictions", "steps")])
def test_every_part_runs_small(part, sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arguments = ["--small", "--parts", part, "--out", str(tmp_path / "out"), "--sample", str(sample)]
    gpu_check.main(arguments)
    said = json.loads((tmp_path / "out" / "gpu-check.json").read_text())["parts"][part]
    assert not said["problem"]
    assert all(finding["value"] is not None for finding in said["findings"])
    printed = capsys.readouterr().out
    assert all(finding["name"] in printed for finding in said["findings"])
    assert (tmp_path / "out" / "gpu-check.md").read_text() == printed


def test_parts_come_in_the_order_in_which_they_are_asked_for(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(gpu_check, "run", lambda name, check, report: asked.append((name, check.training)))
    words = ["--small", "--training", "4", "--parts", "deep,command", "--out", str(tmp_path)]
    assert gpu_check.main(words) == 0
    assert asked == [("deep", 240), ("command", 240)]


def test_a_deep_volume_is_as_deep_as_the_time_allows(tmp_path, monkeypatch):
    seen = []

    def predicted(check, precision, trained, images):
        seen.append((precision, sorted(path.name for path in images.iterdir())))
        return iter(())

    def check(seconds, folder):
        until = time.monotonic() + seconds
        return Check(folder=tmp_path / folder, gpu=0, small=False, reference=None, sample=None, until=until)

    monkeypatch.setattr(parts, "_predicted", predicted)
    monkeypatch.setattr(parts.bench_gpu, "nets_and_images", lambda *_: (tmp_path, tmp_path / "two"))
    (tmp_path / "two").mkdir()
    for name in "ab":
        (tmp_path / "two" / name).touch()
    assert not list(parts.deep_volume(check(80, "long")))
    assert seen == [("fast", ["0_a", "0_b", "1_a", "1_b", "2_a", "2_b"])]
    assert [finding.met for finding in parts.deep_volume(check(50, "short"))] == [False]


def test_every_type_of_layer_is_compared():
    compared = {name.split()[0].rstrip(",") for name in layers.CASES}
    assert compared | layers.WITHOUT_NUMBERS == set(MODULES)


def test_a_layer_that_computes_something_else_is_found(monkeypatch):
    assert layers.difference("Convolution", torch.device("cpu")) == 0
    seeds = iter((0, 1))
    real = layers._layer

    def other(name, device):
        layer = real(name, device)
        with torch.no_grad():
            layer.blobs[0][0, 0] += next(seeds)
        return layer

    monkeypatch.setattr(layers, "_layer", other)
    assert layers.difference("Convolution", torch.device("cpu")) > 0.01


def test_what_was_found_before_an_error_is_kept_and_the_next_part_runs(tmp_path, monkeypatch):
    def fails(check):
        yield yes("a first thing", True)
        raise RuntimeError("the GPU fell off the bus")

    def works(check):
        yield Finding(name="a second thing", value=3, unit="s", bound=2)

    monkeypatch.setattr(gpu_check, "PARTS", {"fails": fails, "works": works})
    arguments = ["--small", "--parts", "fails,works", "--out", str(tmp_path)]
    assert gpu_check.main(arguments) == 2
    parts = json.loads((tmp_path / "gpu-check.json").read_text())["parts"]
    assert [finding["met"] for name in parts for finding in parts[name]["findings"]] == [True, False]
    assert "fell off the bus" in parts["fails"]["problem"]


def test_parts_for_which_no_time_is_left_are_said_to_be_missing(tmp_path):
    arguments = ["--small", "--minutes", "0", "--parts", "conformance", "--out", str(tmp_path)]
    assert gpu_check.main(arguments) == 2
    assert "no time was left" in (tmp_path / "gpu-check.md").read_text()


def test_without_a_gpu_there_is_nothing_to_check(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main(["--out", str(tmp_path / "out")]) == 1
    assert "no CUDA device" in capsys.readouterr().err


def test_bounds_hold_on_their_side(tmp_path):
    assert [
        Finding(name="", value=value, bound=2, side=side).met for value in (1, 3) for side in ("most", "least")
    ] == [
        *(True, False),
        *(False, True),
    ]
    report = Report(tmp_path)
    report.add("part", [Finding(name="figure", value=1)], 0)
    assert "| figure | 1" in report.table()
