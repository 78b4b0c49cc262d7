"""Pages of runs: what they say, that they hold everything in themselves, and what happens without jinja2."""

from __future__ import annotations

import json
import re
import sys

import h5py
import numpy as np
import pytest

from cdeep3m.cli.report import main, page_ready_in_time, report_at_end
from cdeep3m.errors import InputError
from cdeep3m.report.charts import Axis, Line, histogram, line_chart
from cdeep3m.report.prediction_page import SIDE, prediction_page
from cdeep3m.report.training_page import training_page
from cdeep3m.report.write import write_report
from cdeep3m.runs.calibration import Calibration
from cdeep3m.runs.events import Recorder
from cdeep3m.runs.recipe import Followed, keep_recipe
from cdeep3m.runs.states import prediction_events, state_of
from cdeep3m.runs.validation import Scored, Validation
from cdeep3m.volumes import open_volume, read_all
from example_runs import make_prediction, make_training, write_planes


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    make_prediction(root, shape=(4, 160, 150))
    make_training(root)
    return root


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_a_page_refers_to_nothing_outside_itself(root):
    for page in (prediction_page(root / "predicted"), training_page(root / "trained")):
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert addresses
        assert "url(" not in page
        assert "@import" not in page
        assert all(address.startswith("data:") for address in addresses)
        assert "default-src 'none'" in page


def test_counts_with_labels_are_those_of_all_planes(root):
    data = data_of(prediction_page(root / "predicted", labels=root / "labels"))
    counts = np.array([data["counts"]["background"], data["counts"]["foreground"]])
    assert counts.sum() == 4 * 160 * 150
    assert {"z", "image", "map", "label"} == set(data["planes"][0])


def test_images_that_are_gone_are_left_out(root, tmp_path):
    out = make_prediction(tmp_path, shape=(2, 60, 60))
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert "image" not in data_of(prediction_page(out))["planes"][0]
    assert "image" in data_of(prediction_page(out, images=tmp_path / "elsewhere"))["planes"][0]


def test_images_of_another_size_are_refused(root, tmp_path):
    write_planes(tmp_path / "small", np.zeros((4, 20, 20), np.uint8) + np.arange(20, dtype=np.uint8))
    with pytest.raises(InputError, match="as the maps"):
        prediction_page(root / "predicted", images=tmp_path / "small")


def test_large_and_deep_volumes_stay_below_15_mb(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (6, 1300, 1250), dtype=np.uint8)
    write_planes(tmp_path / "out" / "ensembled", noise, "Segmented_{:04d}.png")
    (tmp_path / "out" / "predict.config").write_text("[default]\n")
    write_planes(tmp_path / "images", noise)
    page = prediction_page(tmp_path / "out", images=tmp_path / "images")
    assert len(page) < 15e6
    assert data_of(page)["pixel"] == (-(-1300 // SIDE)) ** 2


def test_findings_and_warnings_stand_on_top(tmp_path):
    out = make_prediction(tmp_path, shape=(2, 80, 80))
    for path in (out / "ensembled").glob("*.png"):
        path.unlink()
    (out / "ensembled").rmdir()
    write_planes(out / "ensembled", np.full((2, 80, 80), 30, np.uint8), "Segmented_{:04d}.png")
    Recorder(prediction_events(out)).write("warning", text="only <2> values")
    page = prediction_page(out)
    assert "The maps are blank" in page
    assert "only &lt;2&gt; values" in page
    assert "Nothing stands out" not in page


def test_a_training_whose_loss_stays_is_told_and_what_to_do(tmp_path):
    page = training_page(make_training(tmp_path, loss=0.7))
    assert "The loss does not fall" in page
    assert "First: check that labels and images belong together" in page
    assert "validation volume is the training volume" not in page


def test_a_good_training_says_what_to_try_next(root):
    page = training_page(root / "trained", price=2)
    assert "Nothing stands out" in page
    assert "validation volume is the training volume" in page
    assert "he loss still falls: train on, with --numiterations twice as high" in page
    assert page.count('class="pair"') == 4


def test_a_training_by_a_recipe_tells_it_with_its_scores_and_calibration(tmp_path):
    run = make_training(tmp_path)
    keep_recipe(run, Followed(name="quick", version=3, options={}))
    scored = tuple(
        Scored(weights=f"1fm_iter_{k}.caffemodel", iteration=k, f1=f1, threshold=0.25, f1_at_half=0.5)
        for k, f1 in ((10, 0.75), (20, 0.625))
    )
    calibration = Calibration(weights="1fm_iter_10.caffemodel", scale=2.0, offset=0.0, planes="planes 9 to 10 of 10")
    record = Validation(keep="best", planes="planes 9 to 10 of 10", scored=scored, calibration=calibration)
    record.write(run / state_of(run).jobs[0].name)
    page = training_page(run)
    assert "quick, version 3" in page
    assert "he loss still falls: train into another folder, for twice as long (--time or --numiterations)" in page
    assert "0.750 at 0.25, 0.500 at 0.5 before any calibration (iteration 10, the best one)" in page
    assert "temperature 0.5, 0.50 becomes 0.5, from planes 9 to 10 of 10" in page
    assert state_of(run).recipe == "quick, version 3"


def test_text_of_users_cannot_break_out_of_the_page(tmp_path):
    out = make_prediction(tmp_path / "a<b>&c", shape=(2, 60, 60))
    page = prediction_page(out)
    Recorder(prediction_events(out)).write("warning", text="</script><script>alert(1)</script>")
    assert "<script>alert(1)" not in prediction_page(out)
    assert page.count("<script") == 2


def test_the_command_writes_the_page_and_names_it(root, tmp_path, capsys):
    assert main(["--out", str(tmp_path / "page.html"), "--labels", str(root / "labels"), str(root / "predicted")]) == 0
    assert capsys.readouterr().out == f"Report: {tmp_path / 'page.html'}\n"
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_images_and_labels_may_be_datasets_inside_a_file(root, tmp_path):
    with h5py.File(tmp_path / "cells.h5", "w") as file:
        file["raw"], file["truth"] = (read_all(open_volume(root / name)) for name in ("images", "labels"))
    named = [str(root / name) for name in ("images", "labels")], [f"{tmp_path}/cells.h5::{n}" for n in ("raw", "truth")]
    pages = []
    for images, labels in named:
        how = ["--images", images, "--labels", labels, "--axes", "zyx", "--out", str(tmp_path / "page.html")]
        assert main([*how, str(root / "predicted")]) == 0
        pages.append(data_of((tmp_path / "page.html").read_text()))
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("arguments", "said"), [([".."], "holds no run"), (["--labels", "labels", "trained"], "is a training")]
)
def test_what_is_no_run_is_refused(root, tmp_path, arguments, said, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path if arguments == [".."] else root)
    (tmp_path / "empty").mkdir(exist_ok=True)
    assert main([str(tmp_path / "empty")] if arguments == [".."] else arguments) == 1
    assert said in capsys.readouterr().err


class Options:
    def __init__(self, out, *, no_report=False):
        self.out, self.no_report = out, no_report


def test_a_finished_run_gets_its_page_unless_told_otherwise(tmp_path, capsys):
    out = make_prediction(tmp_path, shape=(2, 60, 60))
    report_at_end(Options(out, no_report=True))
    assert not (out / "report.html").exists()
    report_at_end(Options(out))
    assert f"Report: {out / 'report.html'}\n" in capsys.readouterr().err


@pytest.mark.parametrize("missing", [False, True])
def test_what_the_page_needs_is_loaded_once_while_the_run_goes_on(tmp_path, monkeypatch, missing):
    if missing:
        monkeypatch.setitem(sys.modules, "jinja2", None)
    begun, passed = [], []
    monkeypatch.setattr("cdeep3m.system.threads.begin", lambda work: begun.append(work()))
    report = page_ready_in_time(Options(tmp_path), lambda *words: passed.append(words))
    assert not begun
    report("1fm", 1)
    report("1fm", 2)
    assert (begun, passed) == ([None], [("1fm", 1), ("1fm", 2)])
    page_ready_in_time(Options(tmp_path, no_report=True), lambda *_: None)("1fm", 1)
    assert len(begun) == 1


@pytest.mark.parametrize("missing", [("jinja2",), ("jinja2", "markupsafe")])
def test_without_jinja2_a_run_says_how_to_get_it_and_goes_on(tmp_path, monkeypatch, capsys, missing):
    out = make_prediction(tmp_path, shape=(2, 60, 60))
    for module in missing:
        monkeypatch.setitem(sys.modules, module, None)
    report_at_end(Options(out))
    assert capsys.readouterr().err == "No report: it needs jinja2, pip install 'cdeep3m[report]'\n"
    assert not (out / "report.html").exists()


def test_maps_that_cannot_be_read_do_not_fail_a_finished_run(tmp_path, capsys):
    out = make_prediction(tmp_path, shape=(2, 60, 60))
    next((out / "ensembled").glob("*.png")).write_bytes(b"no png")
    report_at_end(Options(out))
    assert capsys.readouterr().err.startswith("No report: ")


def test_a_defect_of_the_page_does_not_fail_a_finished_run(tmp_path, monkeypatch, capsys):
    out = make_prediction(tmp_path, shape=(2, 60, 60))
    monkeypatch.setattr("cdeep3m.report.write.prediction_page", lambda *_, **__: {}["absent"])
    report_at_end(Options(out))
    assert "No report: unexpected KeyError: 'absent'. The run itself is finished" in capsys.readouterr().err


def test_writing_is_whole_or_not_at_all(root, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")
    with pytest.raises(InputError):
        write_report(root / "predicted", images=root / "trained" / "1fm" / "log" / "out.log", out=path)
    assert path.read_text() == "before"


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.2, 0.7, True, [0.2, 0.5]),
        (1, 1e5, True, [1, 10, 100, 1e3, 1e4, 1e5]),
    ],
)
def test_axes_have_round_numbers(low, high, log, ticks):
    assert Axis("", low, high, log=log).ticks() == pytest.approx(ticks)


def test_points_that_are_no_numbers_are_left_out():
    x, y = Axis("x", 0, 2), Axis("y", 0, 1)
    drawn = line_chart([Line("a<b", [0, 1, 2], [0, float("nan"), 1])], x, y, title="t")
    assert drawn.count("nan") == 0
    assert "a&lt;b" in drawn
    assert len(re.search(r'polyline points="([^"]*)"', drawn)[1].split()) == 2


def test_a_histogram_has_a_step_for_every_value():
    assert len(re.search(r'polygon points="([^"]*)"', histogram([0, 5, 1000], title="h"))[1].split()) == 2 * 3 + 2
