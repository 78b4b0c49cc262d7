"""`cdeep3m objects`."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tifffile

from cdeep3m.cli.main import main
from octave_cases import png_folder

MAPS = np.zeros((3, 8, 20), np.uint8)
MAPS[1, 2:5, 2:5] = MAPS[1, 3:6, 9:12] = 200
MAPS[0, 0, 19] = 255


@pytest.fixture
def maps(tmp_path):
    return str(png_folder(tmp_path / "maps", MAPS))


def test_objects_are_labelled_counted_and_drawn(maps, tmp_path, capsys):
    assert main(["objects", maps, str(tmp_path / "out"), "--voxel-size", "30,8,8nm"]) == 0
    assert capsys.readouterr().out == f"3 objects written to {tmp_path / 'out' / 'labels.tif'}\n"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["density.csv", "density.png", "labels.tif", "objects.csv"]
    assert (tmp_path / "out" / "density.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "objects.csv").read_text().splitlines()[2].startswith("2,9,17280,30,24,24,1,2,2,2,5,5")


def test_options_arrive(maps, tmp_path):
    out = tmp_path / "labels.tif"
    options = ["--threshold", "0.7", "--min-size", "2", "--split", "1", "--halo", "8", "--border", "drop"]
    assert main(["objects", *options, maps, str(out)]) == 0
    assert np.unique(tifffile.imread(out)).tolist() == [0, 1, 2]


def test_a_part_of_a_volume_is_asked_for_as_of_any_other_command(tmp_path, capsys):
    both = np.stack([np.zeros_like(MAPS), MAPS])
    tifffile.imwrite(tmp_path / "maps.tif", both, photometric="minisblack", metadata={"axes": "CZYX"})
    maps, out = str(tmp_path / "maps.tif"), tmp_path / "out"
    assert main(["objects", "--channel", "1", "--roi", "0:3,2:8,2:20", maps, str(out)]) == 0
    assert capsys.readouterr().out == f"2 objects written to {out / 'labels.tif'}\n"
    labels = tifffile.imread(out / "labels.tif")
    np.testing.assert_array_equal(labels > 0, MAPS[:, 2:, 2:] > 127)
    assert main(["objects", maps, str(tmp_path / "none")]) == 1
    assert "holds 2 channels; expected one to be chosen" in capsys.readouterr().err


def test_workers_give_the_same(maps, tmp_path):
    for name, options in (("one", []), ("two", ["--workers", "2"])):
        assert main(["objects", *options, maps, str(tmp_path / name)]) == 0
    for name in ("labels.tif", "objects.csv", "density.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("options", [["--workers", "0"], ["--slurm", "jobs=2"]])
def test_workers_that_are_none_are_refused(maps, tmp_path, options, capsys):
    assert main(["objects", *options, maps, str(tmp_path / "out")]) == 1
    assert f"ERROR, {options[0]}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_there_is_everything_but_the_picture(maps, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["objects", maps, str(tmp_path / "out")]) == 0
    assert "density.png is not drawn" in caplog.text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["density.csv", "labels.tif", "objects.csv"]


def test_a_second_call_does_not_replace_the_first_one_s_labels(maps, tmp_path, capsys):
    assert main(["objects", maps, str(tmp_path / "out")]) == 0
    assert main(["objects", maps, str(tmp_path / "out")]) == 1
    assert "labels.tif is there already" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["30,8", "a,b,c", "0,1,1", "-1,1,1nm", ""])
def test_a_voxel_size_that_is_none_is_refused(maps, tmp_path, size, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["objects", maps, str(tmp_path / "out"), f"--voxel-size={size}"])
    assert exit_.value.code == 1
    assert "like 30,8,8nm" in capsys.readouterr().err


def test_split_and_connectivity_exclude_each_other(maps, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["objects", maps, str(tmp_path / "out"), "--split", "1", "--connectivity", "6"])
    assert "not allowed with" in capsys.readouterr().err
