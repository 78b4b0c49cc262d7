"""Write the page of a run into its folder."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from cdeep3m.errors import InputError, MissingExtraError
from cdeep3m.evaluation.scores import HALF
from cdeep3m.report.page import load_templates
from cdeep3m.report.prediction_page import prediction_page
from cdeep3m.report.training_page import training_page
from cdeep3m.runs.states import kind_of
from cdeep3m.system.files import demand_apart, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.volumes.address import Address

NAME = "report.html"


def write_report(
    folder: Path,
    *,
    images: Path | Address | None = None,
    labels: Path | Address | None = None,
    threshold: int = HALF,
    out: Path | None = None,
    price: float | None = None,
    count_objects: bool = True,
) -> Path:
    """Write the page of a training or a prediction, whole or not at all; return its path.

    Parameters
    ----------
    folder : Path
        Of the run.
    images, labels : Path or Address, optional
        Of a prediction, see `prediction_page`.
    threshold : int
        Where the slider of a prediction begins.
    out : Path, optional
        File to write; default: report.html in `folder`.
    price : float, optional
        Of an hour on the device.
    count_objects : bool
        Whether to count objects in 3-D.

    Raises
    ------
    InputError
        `folder` is no run, or a training with images or labels.
    MissingExtraError
        Without jinja2.
    """
    path = out or folder / NAME
    demand_apart(path, [folder, *(read for read in (images, labels) if read)])
    _demand_page(path)
    kind = kind_of(folder)
    if kind is None:
        raise InputError(f"{folder} holds no run; expected the folder of a training or of a prediction")
    if kind == "training" and (images or labels):
        raise InputError(f"{folder} is a training: leave --images and --labels out, they belong to a prediction")
    page = (
        training_page(folder, price=price)
        if kind == "training"
        else prediction_page(
            folder, images=images, labels=labels, threshold=threshold, price=price, count_objects=count_objects
        )
    )
    write_text(path, page)
    return path


def get_ready() -> None:
    """Load what `write_report` loads, and say nothing of what is missing: that it will."""
    with suppress(MissingExtraError):
        load_templates()


def _demand_page(path: Path) -> None:
    """Refuse to replace a file that is no page, such as one of the maps."""
    if path.is_file() and not path.is_symlink():
        with path.open("rb") as file:
            if file.read(1) not in (b"<", b""):
                raise InputError(f"{path} is there already, and is no page; expected another file to write to")
