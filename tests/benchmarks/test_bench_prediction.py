"""The benchmark of prediction runs, and counts what it should."""

from __future__ import annotations

import pytest

from benchmarks.bench_prediction import count, main
from cdeep3m.nets import prototxts
from random_nets import random_net


@pytest.mark.parametrize("precision", ["float32", "fast"])
def test_a_small_measurement_prints_its_ratio(precision, capsys):
    size = ["--net", "3fm", "--side", "64", "--width", "16", "--planes", "1"]
    assert main([*size, "--precision", precision]) == 0
    assert "best plane / plane at the best rate" in capsys.readouterr().out


@pytest.mark.slow
def test_a_whole_plane_takes_730_gflop():
    assert count(random_net(prototxts.deploy("1fm"))) / 1e9 == pytest.approx(730, abs=1)
