"""What learning curves show."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cdeep3m.errors import MissingExtraError
from cdeep3m.evaluation.learning_curves import Curves, Table
from cdeep3m.evaluation.learning_curves.tables import KEYS
from cdeep3m.report.plots import plot_learning_curves, save_png

TRAIN = Table((*KEYS, "loss"), tuple((float(i), i / 2, 0.01, 1 / (i + 1)) for i in range(100)))
TEST = Table(
    (*KEYS, "accuracy", "class_Acc", "loss"), tuple((i, i / 2, 0.01, 0.8, 0.7, 2.0) for i in range(0, 100, 20))
)


def lines(axes) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


def test_losses_are_above_on_a_logarithmic_axis_and_accuracies_below():
    above, below = plot_learning_curves(Curves(TRAIN, TEST), title="1fm").axes
    assert lines(above) == {"training (loss)": TRAIN.column("loss"), "validation (loss)": [2.0] * 5}
    assert lines(below) == {"accuracy": [0.8] * 5, "class_Acc": [0.7] * 5}
    assert above.get_yscale() == "log"
    assert below.get_xlabel() == "iteration"
    assert list(above.lines[1].get_xdata()) == [0, 20, 40, 60, 80]
    assert above.get_title() == "1fm"


@pytest.mark.parametrize("curves", [Curves(TRAIN, Table()), Curves(Table(), TEST), Curves(Table(), Table())])
def test_what_was_not_recorded_is_not_drawn(curves, tmp_path):
    figure = plot_learning_curves(curves)
    assert len(figure.axes) == (2 if curves.test.rows else 1)
    assert figure.axes[-1].get_xlabel() == "iteration"
    save_png(figure, tmp_path / "p.png")


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_losses_that_have_no_logarithm_leave_a_gap(value, tmp_path):
    rows = ((0.0, 0.0, 0.01, 0.5), (1.0, 1.0, 0.01, value), (2.0, 2.0, 0.01, 0.25))
    save_png(plot_learning_curves(Curves(Table((*KEYS, "loss"), rows), Table())), tmp_path / "p.png")
    assert (tmp_path / "p.png").exists()


def test_picture_is_written_whole_and_shows_something(tmp_path):
    save_png(plot_learning_curves(Curves(TRAIN, TEST)), tmp_path / "p.png")
    picture = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    assert picture.shape == (840, 960, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


def test_without_matplotlib_the_pip_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"matplotlib.*pip install 'cdeep3m\[report\]'"):
        plot_learning_curves(Curves(TRAIN, TEST))


def test_no_screen_and_no_pyplot_are_needed():
    code = (
        "import sys\n"
        "from cdeep3m.evaluation.learning_curves import Curves, Table\n"
        "from cdeep3m.report.plots import plot_learning_curves\n"
        "plot_learning_curves(Curves(Table(), Table()))\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
