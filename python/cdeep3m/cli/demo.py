"""`cdeep3m demo`: the main job on a synthetic volume, through the commands that everybody uses."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.demo_steps import claim, planes_in, run_command, table_of, write_volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from cdeep3m.evaluation.scores import Scores

DESCRIPTION = """\
Make two synthetic electron micrograph volumes with their mitochondria labelled, train compact nets on one of them by
the recipe `quick`, predict the other one and score the result at 0.5. Every step is one of the commands that you would
type; each is printed before it runs. An interrupted demo goes on where it stopped.
"""

PASS = 0.92
"""Lowest F1 at 0.5 on the held-out volume with which the demo succeeds."""

ENSEMBLE = "ensemble"
"""What the average of the nets is called in the table."""

TRAINING_TIME = "5m"
"""Leaves two of eight minutes for the volumes, the prediction and the page."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What makes one demo differ from another.

    Attributes
    ----------
    seed : int
        Of the training volume; the held-out volume has the next one.
    time : str
        How long the training may take.
    iterations : int, optional
        Of each net's training, instead of a time.
    augspeed : int
        How many of the variants predict (1 all, 10 one).
    train_shape, held_out_shape : tuple of int
        Voxels along (z, y, x).
    """

    seed: int = 1
    time: str = TRAINING_TIME
    iterations: int | None = None
    augspeed: int = 2
    train_shape: tuple[int, int, int] = (32, 416, 416)
    held_out_shape: tuple[int, int, int] = (5, 512, 512)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 when the F1 at 0.5 is below `PASS`."""
    options = _parser().parse(argv)
    settings = Settings(
        seed=options.seed, time=options.time, iterations=options.numiterations, augspeed=options.augspeed
    )
    return run(lambda: _demo(options.out, settings), debug=options.debug)


def _parser() -> CommandParser:
    usual = Settings()
    parser = CommandParser("cdeep3m demo", description=DESCRIPTION)
    parser.add_argument(
        "--out", type=Path, default=Path("demo-output"), metavar="DIR", help="folder to write to (default: demo-output)"
    )
    parser.add_argument("--seed", type=int, default=usual.seed, help=f"of the volumes (default: {usual.seed})")
    parser.add_argument(
        "--time", default=usual.time, metavar="T", help=f"of the training, as in 300s or 5m (default: {usual.time})"
    )
    parser.add_argument(
        "--numiterations",
        type=int,
        metavar="N",
        help="of each net, instead of a time: the demo then repeats itself bit for bit on one machine",
    )
    parser.add_argument(
        "--augspeed", type=int, default=usual.augspeed, metavar="1|2|4|10", help=f"(default: {usual.augspeed})"
    )
    return parser


def _demo(out: Path, settings: Settings) -> int:
    begin = time.monotonic()
    out = claim(out, asdict(settings))
    write_volume(out / "training", settings.train_shape, settings.seed)
    write_volume(out / "held_out", settings.held_out_shape, settings.seed + 1)
    for command in _commands(out, settings):
        if status := run_command(command):
            return status
    from cdeep3m.report.overlay import LEGEND

    results = _scores(out)
    whole = results[ENSEMBLE]
    print(f"\n{table_of(results)}\n\nPicture: {_write_picture(out)} ({LEGEND})")
    report = ["cdeep3m", "report", "--labels", f"{out / 'held_out' / 'labels'}", f"{out / 'predicted'}"]
    if status := run_command(report):
        return status
    print(f"{time.monotonic() - begin:.0f} s in all")
    status = _verdict(whole.f1)
    print(f"Open this page in a browser: {(out / 'predicted' / 'report.html').resolve()}")
    return status


def _commands(out: Path, settings: Settings) -> Iterator[list[str]]:
    images, labels = out / "training" / "images", out / "training" / "labels"
    length = ["--time", settings.time] if settings.iterations is None else ["--numiterations", f"{settings.iterations}"]
    yield [
        *("cdeep3m", "train", "--recipe", "quick", *length, "--seed", "1", "--no-report"),
        *(f"{images}", f"{labels}", f"{out / 'trained'}"),
    ]
    yield [
        *("cdeep3m", "predict", "--augspeed", f"{settings.augspeed}", "--fit", "--no-report"),
        *(f"{out / 'trained'}", f"{out / 'held_out' / 'images'}", f"{out / 'predicted'}"),
    ]


def _scores(out: Path) -> dict[str, Scores]:
    """Score every net and their average at 0.5, and smoothed grays at what is best on the training volume."""
    from cdeep3m.evaluation.scores import best_threshold, count_values, count_volumes, score

    labels = out / "held_out" / "labels"
    nets = sorted(path.parent.name for path in (out / "predicted").glob("*fm/Segmented_0001.png"))
    found = {net: score(count_volumes(out / "predicted" / net, labels)) for net in nets}
    found[ENSEMBLE] = score(count_volumes(out / "predicted" / "ensembled", labels))
    training, held_out = (
        count_values(_darkness(out / name / "images"), planes_in(out / name / "labels"))
        for name in ("training", "held_out")
    )
    return {**found, "smoothed grays": score(held_out, threshold=best_threshold(training))}


def _darkness(folder: Path) -> Iterator[np.ndarray]:
    """Yield the planes smoothed and inverted: what one would threshold without a net."""
    from scipy import ndimage

    return (255 - ndimage.gaussian_filter(plane, 3) for plane in planes_in(folder))


def _write_picture(out: Path) -> Path:
    from cdeep3m.evaluation.scores import HALF
    from cdeep3m.report.overlay import compare
    from cdeep3m.volumes.png import write_picture

    folders = (out / "held_out" / "images", out / "held_out" / "labels", out / "predicted" / "ensembled")
    image, label, probability = (list(planes_in(folder)) for folder in folders)
    middle = len(image) // 2
    path = out / "overlay.png"
    write_picture(path, compare(image[middle], label[middle] > 0, probability[middle] >= HALF))
    return path


def _verdict(f1: float) -> int:
    if f1 >= PASS:
        print(f"The maps' F1 at 0.5 is {f1:.3f}, at least {PASS:.2f} as expected.")
        return 0
    print(f"The maps' F1 at 0.5 is {f1:.3f}; expected at least {PASS:.2f}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
