"""The benchmarks run, and say what they measured; nothing here depends on the time that anything takes."""

from __future__ import annotations

import json
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.bench_files import copy_times, mirrored, sizes_in
from benchmarks.bench_gpu import Watch
from benchmarks.figures import Figure, table_of
from benchmarks.settings import HERE, Settings, best

AVAILABLE = [name for name, module in benchmarks.GROUPS.items() if find_spec(module)]


@pytest.mark.heavy
@pytest.mark.parametrize("group", AVAILABLE)
def test_every_group_runs_small_and_leaves_nothing(group, tmp_path, capsys):
    folder, report = tmp_path / "work", tmp_path / "out" / "bench.json"
    folder.mkdir()
    repeats = "2" if group == "files" else "1"
    arguments = ["--small", "--repeats", repeats, "--groups", group, "--folder", str(folder), "--json", str(report)]
    assert benchmarks.main(arguments) == 0
    found = json.loads(report.read_text())
    assert found["machine"]["processor"]
    assert all(figure["value"] is not None for figure in found["groups"][group])
    assert any(figure["target"] for figure in found["groups"][group])
    printed = capsys.readouterr().out
    assert all(figure["name"] in printed for figure in found["groups"][group])
    assert not list(folder.iterdir())


def test_without_a_gpu_there_are_no_figures_of_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert benchmarks.measure("gpu", Settings(folder=tmp_path)) == []
    assert "there is no CUDA device" in capsys.readouterr().err


def test_a_busy_gpu_is_seen(monkeypatch):
    answers = iter([(0, "97\n"), (9, "no devices"), (0, "35\n")])
    done = threading.Event()

    def answer(*arguments):
        assert "--id=3" in arguments
        try:
            return next(answers)
        except StopIteration:
            done.set()
            return 1, ""

    monkeypatch.setattr("benchmarks.bench_gpu.ask", answer)
    monkeypatch.setattr("benchmarks.bench_gpu.ASK_EVERY", 0.001)
    with Watch(3) as watch:
        assert done.wait(60)
    assert watch.percent == [97, 35]


def test_an_unknown_group_is_one_line():
    with pytest.raises(SystemExit, match="ERROR, no group speed; there are start-up, files"):
        benchmarks.main(["--groups", "speed"])


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.bench_files.ROOM", 10**18)
    with pytest.raises(SystemExit, match="GB free; the file steps need 1000000000. Make room"):
        benchmarks.measure("files", Settings(folder=tmp_path))


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure(name="a", value=1.5, unit="s", peak=1.0, target=1.25, aim="ratio"), False),
        (Figure(name="a", value=1.5, unit="s", peak=1.2, target=1.25, aim="ratio"), True),
        (Figure(name="a", value=1.5, unit="s", peak=1.0, target=2.0), True),
        (Figure(name="a", value=1.5, unit="s", target=1.0), False),
        (Figure(name="a", value=1.5, unit="s"), None),
    ],
)
def test_targets_speak_of_the_value_or_of_the_ratio(figure, met):
    assert figure.met is met
    assert figure.to_json()["met"] is met
    assert {True: "| yes |", False: "| no  |", None: "|     |"}[met] in table_of([figure])


def test_a_copy_writes_as_many_bytes_and_leaves_none(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a").write_bytes(bytes(3_000_000))
    assert sizes_in(tmp_path) == {tmp_path / "from" / "a": 3_000_000}
    written, on_disk = copy_times([tmp_path / "from"], [2_500_000, 0], tmp_path / "to", threads=2)
    assert 0 < written <= on_disk
    assert not (tmp_path / "to").exists()


def test_a_block_goes_on_in_its_mirror_image():
    stack = np.arange(2 * 2 * 2).reshape(2, 2, 2)
    assert mirrored(stack, 2, 3).tolist() == [[4, 5, 5], [6, 7, 7], [6, 7, 7]]
    assert mirrored(stack, 5, 2).tolist() == stack[1].tolist()


def test_a_command_s_time_and_memory_are_its_own(tmp_path):
    settings = Settings(folder=tmp_path)
    idle, busy = (settings.python("-c", code) for code in ("pass", "bytearray(2**28)"))
    assert idle.memory < 2**27 < 2**28 < busy.memory
    assert best([idle, busy]).memory == busy.memory
    with pytest.raises(RuntimeError, match="ended with 3: oh"):
        settings.python("-c", "import sys; print('oh'); sys.exit(3)")


def test_another_checkout_s_commands_are_run_with_its_own_code(tmp_path):
    for part in ("python/cdeep3m", "matlab_ports", "caffe_models"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "python" / "cdeep3m" / "__init__.py").write_text("print('other')")
    settings = Settings(folder=tmp_path, tree=tmp_path)
    with pytest.raises(RuntimeError, match="ended with 1: other"):
        settings.python("-c", "import cdeep3m, sys; sys.exit(1)")
    assert Settings(folder=tmp_path).tree == HERE == Path(__file__).parents[2]
