"""Plots, drawn without a screen."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cdeep3m.errors import needing, printable
from cdeep3m.evaluation.learning_curves import ITERATION
from cdeep3m.evaluation.precision_recall import precision_recall
from cdeep3m.evaluation.scores import score
from cdeep3m.system.files import whole_file
from cdeep3m.system.memory import demand

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cdeep3m.evaluation.learning_curves import Curves, Table
    from cdeep3m.objects.density import Density

# It says when it makes its list of fonts, which is once.
logging.getLogger("matplotlib").setLevel(logging.WARNING)
INCHES = (8, 7)
DPI = 120
FEW = 40
"""Curves of so few points show each of them."""

LONGEST_TEXT = 120
DRAWING = 128 * 2**20
"""Bytes that matplotlib may need to load its libraries and to draw."""


def plot_learning_curves(curves: Curves, *, title: str = "") -> Figure:
    """Draw loss (logarithmic) and, where it was tested, accuracy against iterations (PlotValidation.m).

    Parameters
    ----------
    curves : Curves
        Outputs whose names have "loss" in them are losses; of the tests, those with "acc" are accuracies.
    title : str
        Above the plot.

    Returns
    -------
    Figure

    Raises
    ------
    MissingExtraError, OutOfMemoryError
        Without matplotlib, or memory to draw.
    """
    accuracies = [name for name in curves.test.outputs if "acc" in name.lower()]
    figure = _figure(*INCHES)
    above, *below = figure.subplots(2 if accuracies else 1, 1, sharex=True, squeeze=False)[:, 0]
    above.set(title=_plain(title), ylabel="loss", yscale="log")
    _draw(above, curves.train, _losses(curves.train), "training", alpha=0.7, linewidth=1)
    _draw(above, curves.test, _losses(curves.test), "validation")
    for axes in below:
        axes.set(ylabel="validation accuracy", ylim=(0, 1.02))
        _draw(axes, curves.test, accuracies)
    for axes in (above, *below):
        axes.grid(visible=True, which="both", alpha=0.25)
        if axes.lines:
            axes.legend(loc="best")
    (below or [above])[-1].set_xlabel("iteration")
    return figure


def plot_outputs(curves: Curves, kind: str) -> Figure:
    """Draw the losses, or the accuracies of the tests, alone (PlotValidation.py of CDeep3M2).

    Parameters
    ----------
    curves : Curves
    kind : {"loss", "accuracy"}

    Returns
    -------
    Figure

    Raises
    ------
    MissingExtraError, OutOfMemoryError
        Without matplotlib, or memory to draw.
    """
    figure = _figure(INCHES[0], INCHES[1] / 2)
    axes = figure.subplots()
    axes.set(xlabel="iteration", ylabel=kind)
    axes.grid(visible=True, which="both", alpha=0.25)
    if kind == "loss":
        axes.set_yscale("log")
        _draw(axes, curves.train, _losses(curves.train), "training", alpha=0.7, linewidth=1)
        _draw(axes, curves.test, _losses(curves.test), "validation")
    else:
        axes.set_ylim(0, 1.02)
        _draw(axes, curves.test, [name for name in curves.test.outputs if "acc" in name.lower()])
    if axes.lines:
        axes.legend(loc="best")
    return figure


def plot_scores(counts: np.ndarray, *, threshold: int) -> Figure:
    """Draw precision against recall, and precision, recall and F1 against the threshold.

    Parameters
    ----------
    counts : ndarray of int, shape (2, 256)
        Voxels per value, of the background and of the foreground (`count_values`).
    threshold : int
        The one to mark.

    Returns
    -------
    Figure

    Raises
    ------
    MissingExtraError, OutOfMemoryError
        Without matplotlib, or memory to draw.
    """
    curve, chosen = precision_recall(counts), score(counts, threshold=threshold)
    probabilities = curve.thresholds / 255
    figure = _figure(10, 4.5)
    left, right = figure.subplots(1, 2)
    left.plot(curve.recall, curve.precision)
    left.plot([chosen.recall], [chosen.precision], "o", label=f"threshold {threshold / 255:.2f}")
    left.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    right.plot(probabilities, curve.precision, label="precision")
    right.plot(probabilities, curve.recall, label="recall")
    right.plot(probabilities, [score(counts, threshold=int(value)).f1 for value in curve.thresholds], label="F1")
    right.axvline(threshold / 255, color="gray", linestyle="--")
    right.set(xlabel="threshold", xlim=(0, 1), ylim=(0, 1.02))
    for axes in (left, right):
        axes.grid(visible=True, alpha=0.25)
        axes.legend(loc="best")
    return figure


def plot_density(found: Sequence[Density], *, voxel_size: Sequence[float], unit: str) -> Figure:
    """Draw how many objects there are along each axis, and which part of the volume they fill.

    Parameters
    ----------
    found : sequence of Density
        Along z, y and x.
    voxel_size : sequence of float
        Along (z, y, x), in `unit`.
    unit : str

    Returns
    -------
    Figure

    Raises
    ------
    MissingExtraError, OutOfMemoryError
        Without matplotlib, or memory to draw.
    """
    figure = _figure(*INCHES)
    rows = figure.subplots(len(found), 2, squeeze=False)
    for (left, right), density, size in zip(rows, found, voxel_size, strict=True):
        edges = density.edges * size
        left.stairs(density.objects, edges, fill=True)
        right.stairs(100 * density.fraction, edges, fill=True)
        left.set(xlabel=f"{density.axis} ({unit})", ylabel="objects")
        right.set(xlabel=f"{density.axis} ({unit})", ylabel="volume (%)")
    return figure


def save_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, whole or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=DPI)


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches; matplotlib ends the process where it gets no memory."""
    demand(DRAWING, what="a plot")
    with needing("matplotlib", extra="report", module="matplotlib"):
        from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def _plain(text: str) -> str:
    """Return text that is drawn as it is: no formula, no bytes that are no letters, and not without end."""
    return printable(text, longest=LONGEST_TEXT).replace("$", r"\$")


def _losses(table: Table) -> list[str]:
    return [name for name in table.outputs if "loss" in name.lower()]


def _draw(axes: Axes, table: Table, names: list[str], kind: str = "", **style: Any) -> None:
    marker = "o" if len(table.rows) <= FEW else ""
    for name in names:
        label = _plain(f"{kind} ({name})" if kind else name)
        axes.plot(table.column(ITERATION), table.column(name), marker=marker, markersize=3, label=label, **style)
