"""The commands beside training and prediction: arguments, exit statuses, output, and one line for what went wrong."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cdeep3m.cli import (
    apply_3d_watershed,
    histmatch,
    overlay,
    plot_validation,
    runvalidation,
    snemi3d_metrics,
)
from octave_cases import png_folder, synth, tiff_stack

COMMANDS = {
    "Histmatch.m": (histmatch, [], ["a", "b"], ["a", "b", "c", "d"]),
    "SNEMI3D_metrics": (snemi3d_metrics, [], ["a"], ["a", "b", "c"]),
    "Apply3DWatershed.m": (
        apply_3d_watershed,
        ["a", "b"],
        ["a", "b", "c", "0.15"],
        ["a", "b", "c", "hm3d:"],
        ["a", "b", "c", "hm3d:1.5"],
        ["a", "b", "c", "hm3d:nan"],
        ["a", "b", "c", "--exactly"],
    ),
    "overlay.py": (overlay, ["a", "b"]),
    "runvalidation.sh": (runvalidation, [], ["a"]),
    "PlotValidation.m": (plot_validation, [], ["a", "b"], ["a", "b", "c", "d"]),
}
WRONG = [(name, arguments) for name, (_, *wrong) in COMMANDS.items() for arguments in wrong]
LOG = """\
I1122 17:00:00.000000  5892 solver.cpp:288] Solving net
I1122 17:00:01.000000  5892 solver.cpp:341] Iteration 0, Testing net (#0)
I1122 17:00:02.000000  5892 solver.cpp:409]     Test net output #0: accuracy = 0.75
I1122 17:00:02.000000  5892 solver.cpp:409]     Test net output #1: loss = 0.5 (* 1 = 0.5 loss)
I1122 17:00:03.000000  5892 solver.cpp:237] Iteration 0, loss = 0.7
I1122 17:00:03.000000  5892 solver.cpp:253]     Train net output #0: loss = 0.67 (* 1 = 0.67 loss)
I1122 17:00:03.000000  5892 sgd_solver.cpp:106] Iteration 0, lr = 0.01
"""


@pytest.fixture(autouse=True)
def corrected(monkeypatch):
    monkeypatch.delenv("CDEEP3M_EXACT", raising=False)


@pytest.fixture
def images(tmp_path):
    return str(png_folder(tmp_path / "images", synth(3, 20, 30, 5)))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "out.log"
    path.write_text(LOG)
    return str(path)


@pytest.mark.parametrize(("name", "arguments"), WRONG)
def test_wrong_usage_exits_with_1_after_a_usage_line(name, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        COMMANDS[name][0].main(arguments)
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith(f"usage: {name} ")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (histmatch, ["nope", "images", "out"]),
        (snemi3d_metrics, ["images", "nope"]),
        (apply_3d_watershed, ["images", "nope", "out", "hm3d:0.5"]),
        (overlay, ["nope", "images", "out"]),
        (runvalidation, ["nope", "out"]),
        (runvalidation, ["images", "out"]),
        (plot_validation, ["images"]),
        (plot_validation, ["nope", "nope", "out"]),
    ],
)
def test_missing_input_is_one_line_and_leaves_nothing(module, arguments, images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert module.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("ERROR, ")
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_images_are_matched(images, tmp_path, capsys):
    assert histmatch.main([images, images, str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"3 planes written to {tmp_path / 'out'}\n"
    assert (tmp_path / "out" / "Image_0003.png").exists()


@pytest.mark.parametrize("how", ["option", "environment"])
def test_matching_in_exact_mode_fails_and_says_why(images, tmp_path, monkeypatch, capsys, how):
    if how == "environment":
        monkeypatch.setenv("CDEEP3M_EXACT", "1")
    assert histmatch.main([*(["--exact"] if how == "option" else []), images, images, str(tmp_path / "out")]) == 1
    assert "the original's Histmatch crashes" in capsys.readouterr().err


def test_score_is_printed_with_its_parts(tmp_path, capsys):
    paths = [
        str(tiff_stack(tmp_path / name, np.uint16([[[1, 1, 2, 2]]]) // divisor))
        for name, divisor in (("a.tif", 1), ("b.tif", 2))
    ]
    assert snemi3d_metrics.main([paths[0], paths[0]]) == 0
    assert snemi3d_metrics.main(paths) == 0
    assert capsys.readouterr().out.splitlines() == [
        "adapted Rand error: 0.000000 (precision 1.000000, recall 1.000000)",
        "adapted Rand error: 0.280000 (precision 1.000000, recall 0.562500)",
    ]


@pytest.mark.parametrize(("depth", "objects"), [([], 2), (["hm3d:0.3"], 1)])
def test_objects_are_separated_as_deep_as_asked(tmp_path, capsys, depth, objects):
    rooms = png_folder(tmp_path / "maps", np.full((2, 4, 9), [0, 0, 0, 50, 50, 50, 0, 0, 0], np.uint8))
    assert apply_3d_watershed.main([str(rooms), str(rooms), str(tmp_path / "out"), *depth]) == 0
    assert capsys.readouterr().out == f"{objects} objects written to {tmp_path / 'out'}\n"


def test_maps_are_laid_over_images(images, tmp_path, capsys):
    assert overlay.main([images, images, str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "Overlay_0003.png").exists()


def test_log_gives_tables_and_a_picture_and_the_tables_the_same_picture(log, tmp_path, capsys):
    out = tmp_path / "out"
    assert runvalidation.main([log, str(out)]) == 0
    shown = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["learning_curves.png", "out.log.test", "out.log.train"]
    assert "training, iteration 0: loss 0.67\n" in shown
    assert "validation, iteration 0: accuracy 0.75, loss 0.5\n" in shown
    picture = out / "learning_curves.png"
    with Image.open(picture) as image:
        assert image.size == (960, 840)
    new = tmp_path / "new" / "plot"
    assert plot_validation.main([str(out / "out.log.train"), str(out / "out.log.test"), str(new)]) == 0
    assert plot_validation.main([str(out)]) == 0
    assert picture.read_bytes() == (new / "learning_curves.png").read_bytes()


def test_a_training_that_was_not_tested_is_plotted_alone(log, tmp_path, capsys):
    (tmp_path / "short.log").write_text("".join(line for line in LOG.splitlines(True) if "Test" not in line))
    assert runvalidation.main([str(tmp_path / "short.log"), str(tmp_path / "out")]) == 0
    assert "validation: none in the log\n" in capsys.readouterr().out
    assert not (tmp_path / "out" / "short.log.test").exists()
    assert plot_validation.main([str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_no_other_package(name):
    module = COMMANDS[name][0].__name__
    heavy = ("numpy", "h5py", "PIL", "matplotlib", "skimage")
    code = f"import sys, {module}; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
