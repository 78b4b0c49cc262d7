"""`cdeep3m score`: a table, JSON, CSV and a picture of the same numbers."""

from __future__ import annotations

import csv
import json

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from cdeep3m.cli.score import main
from cdeep3m.evaluation.scoring import score_maps
from cdeep3m.maps.copying import convert
from example_runs import make_prediction, write_planes


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("score")
    make_prediction(root, shape=(3, 130, 140))
    make_prediction(root / "other", shape=(2, 130, 140), seed=8)
    return root


def arguments(root):
    return [str(root / "predicted"), str(root / "labels")]


def test_table_shows_the_scores(root, capsys):
    assert main(arguments(root)) == 0
    out = capsys.readouterr().out
    found = score_maps(root / "predicted", root / "labels")
    assert f"F1                 {found.scores.f1:.3f}" in out
    assert f"{found.objects.true} true, {found.objects.found} found, {found.objects.matched} of them right" in out


def test_json_and_csv_hold_the_same_numbers(root, tmp_path, capsys):
    assert main(["--json", "--csv", str(tmp_path / "planes.csv"), "--threshold", "0.3", *arguments(root)]) == 0
    told = json.loads(capsys.readouterr().out)
    found = score_maps(root / "predicted", root / "labels", threshold=77)
    assert (told["threshold"], told["f1"]) == (77 / 255, found.scores.f1)
    assert told["average_precision"] == found.curve.average_precision
    assert len(told["curve"]["recall"]) == len(found.curve.recall)
    rows = list(csv.DictReader((tmp_path / "planes.csv").read_text().splitlines()))
    assert [float(row["f1"]) for row in rows] == [plane["f1"] for plane in told["planes"]]


def test_best_is_chosen_here_only_when_asked_for_and_says_so(root, capsys):
    assert main(["--threshold", "best", *arguments(root)]) == 0
    assert "chosen on the labels that are scored" in capsys.readouterr().err
    assert main(arguments(root)) == 0
    assert capsys.readouterr().err == ""


def test_threshold_can_come_from_other_labels(root, capsys):
    other = [str(root / "other" / "predicted"), str(root / "other" / "labels")]
    assert main(["--json", "--threshold-from", *other, *arguments(root)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["threshold"] == score_maps(*other).best / 255
    assert told["threshold_chosen_here"] is False


def test_maps_and_labels_are_named_by_addresses(root, tmp_path, capsys):
    pytest.importorskip("tensorstore")
    assert main(["--json", *arguments(root)]) == 0
    expected = capsys.readouterr().out
    places = {}
    for kind in ("precomputed", "zarr", "n5"):
        for name, path in (("maps", root / "predicted" / "ensembled"), ("labels", root / "labels")):
            convert(str(path), str(tmp_path / f"{name}.{kind}"))
            places[kind, name] = f"{kind}://{tmp_path / name}.{kind}"
    for kind, other in (("precomputed", "zarr"), ("zarr", "n5"), ("n5", "precomputed")):
        assert main(["--json", places[kind, "maps"], places[other, "labels"]]) == 0
        assert capsys.readouterr().out == expected
    for name in ("maps", "labels"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.precomputed").rename(tmp_path / name / "moved")
        places[name] = f"precomputed://{tmp_path / name / 'moved'}"
    threshold = ["--threshold-from", places["maps"], places["labels"]]
    assert main(["--json", *threshold, places["maps"], places["labels"]]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == json.loads(expected)["best_threshold_here"]


def test_options_choose_the_channel_of_maps_and_say_the_axes_of_labels(tmp_path, capsys):
    maps = np.arange(2 * 3 * 20 * 30, dtype=np.uint8).reshape(2, 3, 20, 30)
    tifffile.imwrite(tmp_path / "maps.tif", maps, photometric="minisblack", metadata={"axes": "CZYX"})
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["labels"] = (maps[1] > 127).astype(np.uint8)
        file["raw"] = maps[0]
    named = [str(tmp_path / "maps.tif"), f"{tmp_path / 'labels.h5'}::labels"]
    assert main(["--json", "--channel", "1", *named]) == 1
    assert "expected --axes" in capsys.readouterr().err
    with h5py.File(tmp_path / "labels.h5", "a") as file:
        file["labels"].attrs["axistags"] = json.dumps({"axes": [{"key": axis} for axis in "zyx"]})
    assert main(["--json", "--channel", "1", *named]) == 0
    assert json.loads(capsys.readouterr().out)["f1"] == 1
    assert main(["--json", "--channel", "0", "--roi", "0:1,:,:", *named]) == 0
    assert json.loads(capsys.readouterr().out)["f1"] < 1


def test_picture_is_drawn(root, tmp_path):
    assert main(["--picture", str(tmp_path / "curve.png"), *arguments(root)]) == 0
    assert np.asarray(Image.open(tmp_path / "curve.png")).std() > 10


def test_undefined_scores_are_null(tmp_path, capsys):
    empty = np.zeros((1, 20, 20), np.uint8)
    folders = [str(write_planes(tmp_path / name, empty)) for name in ("maps", "labels")]
    assert main(["--json", *folders]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["f1"] is None
    assert told["objects"]["f1"] is None


def test_instances_are_scored_as_objects(tmp_path, capsys):
    truth = np.kron(np.arange(6, dtype=np.uint8).reshape(1, 2, 3), np.ones((1, 5, 5), np.uint8))
    folders = [str(write_planes(tmp_path / name, truth)) for name in ("found", "truth")]
    assert main(["--instances", "--json", *folders]) == 0
    objects = json.loads(capsys.readouterr().out)["objects"]
    assert (objects["true"], objects["matched"], objects["rand_error"]) == (5, 5, 0)
    assert main(["--instances", "--csv", "x.csv", *folders]) == 1


@pytest.mark.parametrize("threshold", ["1.5", "-1", "half"])
def test_thresholds_out_of_range_are_refused(root, threshold, capsys):
    assert main([f"--threshold={threshold}", *arguments(root)]) == 1
    assert "expected a probability from 0 to 1, or best" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Segmented_0001.png", "new.tif"])
def test_a_table_does_not_become_a_plane_of_what_is_scored(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("maps", "labels"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.uint8([[0, 255], [255, 0]])).save(tmp_path / folder / "Segmented_0001.png")
    before = (tmp_path / "maps" / "Segmented_0001.png").read_bytes()
    assert main(["--csv", f"maps/{name}", "maps", "labels"]) == 1
    assert f"maps/{name} would be one of the planes of maps" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["Segmented_0001.png"]
    assert (tmp_path / "maps" / "Segmented_0001.png").read_bytes() == before
