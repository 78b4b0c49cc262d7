"""rundemo and rundemo2: the second edition's way from labelled volumes to maps, on volumes that are made here."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.demo_steps import claim, run_command, table_of, write_volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DESCRIPTION = {
    1: """\
Make a synthetic volume of electron micrographs with its mitochondria labelled, enhance it and write it as training
data, train a compact net on that, predict another volume, which is enhanced alike, lay the maps over it and score them.
Every step is a command of the second edition; each is printed before it runs. An interrupted demo goes on where it
stopped.
""",
    2: """\
The same as rundemo, on two labelled volumes of different sizes.
""",
}

NET = "1fm"
EDITION = ("--edition", "2")
LEARNING = (
    *("--width", "8", "--least_channels", "16", "--patch_side", "256", "--batch", "6", "--iter_size", "1"),
    *("--bn_fraction", "0.95", "--solver", "AdamW", "--base_learn", "0.002", "--lr_policy", "cosine"),
    *("--warm_up", "0.05", "--clip_gradients", "5", "--loss", "ce,dice", "--class-weights", "equal"),
    *("--average_loss", "8", "--seed", "1"),
)
"""How a compact net learns in minutes; without these, nets and training are those of CDeep3M2."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What makes one demo differ from another.

    Attributes
    ----------
    iterations : int
        Of the training.
    seed : int
        Of the first volume; the others have the next ones.
    shapes : tuple of tuple of int
        Voxels of the training volumes along (z, y, x).
    held_out_shape : tuple of int
        Of the volume that is predicted.
    """

    iterations: int
    seed: int = 1
    shapes: tuple[tuple[int, int, int], ...] = ((16, 336, 336),)
    held_out_shape: tuple[int, int, int] = (5, 384, 384)


USUAL = {
    1: Settings(iterations=250),
    2: Settings(iterations=250, shapes=((16, 336, 336), (12, 360, 344))),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return demo("rundemo", 1, argv)


def demo(name: str, number: int, argv: Sequence[str] | None) -> int:
    """Run the first or the second demo; return its exit status."""
    usual, folder = USUAL[number], f"{name}-output"
    parser = CommandParser(name, description=DESCRIPTION[number])
    parser.add_argument(
        "--numiterations",
        type=int,
        default=usual.iterations,
        metavar="N",
        help=f"of the training (default: {usual.iterations}, some minutes on two cores)",
    )
    parser.add_argument("--seed", type=int, default=usual.seed, metavar="N", help="of the volumes (default: 1)")
    parser.add_argument(
        "out", type=Path, nargs="?", default=Path(folder), metavar="OUT", help=f"folder to write to (default: {folder})"
    )
    options = parser.parse(argv)
    settings = replace(usual, iterations=options.numiterations, seed=options.seed)
    return run(lambda: _demo(options.out, settings), debug=options.debug)


def _demo(out: Path, settings: Settings) -> int:
    begin = time.monotonic()
    out = claim(out, asdict(settings))
    for number, shape in enumerate(settings.shapes):
        write_volume(_training(out, number), shape, settings.seed + number)
    write_volume(out / "held_out", settings.held_out_shape, settings.seed + len(settings.shapes))
    for command in _commands(out, settings):
        if status := run_command(command):
            return status
    print(f"\n{_scored(out)}\n")
    print(f"Overlays: {out / 'predicted' / 'overlay'}")
    print(f"Learning curves: {out / 'trained' / NET / 'log' / 'loss.png'}")
    print(f"{time.monotonic() - begin:.0f} s in all")
    print(f"Open this page in a browser: {(out / 'predicted' / 'report.html').resolve()}")
    return 0


def _training(out: Path, number: int) -> Path:
    return out / ("training" if number == 0 else f"training{number + 1}")


def _commands(out: Path, settings: Settings) -> Iterator[list[str]]:
    volumes = []
    for number in range(len(settings.shapes)):
        folder = _training(out, number)
        volumes += [f"{folder / 'images'}", f"{folder / 'labels'}", "-1"]
    yield ["PreprocessTrainingData.py", *EDITION, *volumes, f"{out / 'augtrain'}"]
    often = f"{max(1, settings.iterations // 4)}"
    yield [
        *("runtraining.sh", *EDITION, "--models", NET, *LEARNING, "--numiterations", f"{settings.iterations}"),
        *("--snapshot_interval", often, "--test_interval", often),
        *("--no-report", f"{out / 'augtrain'}", f"{out / 'trained'}"),
    ]
    yield ["PlotValidation.py", *EDITION, f"{out / 'trained' / NET / 'log'}"]
    yield [
        *("runprediction.sh", *EDITION, "--models", NET, "--augspeed", "2", "--fit", "--no-report"),
        *(f"{out / 'trained'}", f"{out / 'held_out' / 'images'}", f"{out / 'predicted'}"),
    ]
    yield ["cdeep3m", "report", "--labels", f"{out / 'held_out' / 'labels'}", f"{out / 'predicted'}"]


def _scored(out: Path) -> str:
    from cdeep3m.evaluation.scores import count_volumes, score

    return table_of({NET: score(count_volumes(out / "predicted" / "ensembled", out / "held_out" / "labels"))})


if __name__ == "__main__":
    sys.exit(main())
