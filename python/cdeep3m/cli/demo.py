"""`cdeep3m demo`: the main job on a synthetic volume, through the commands that everybody uses."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.errors import RunError
from cdeep3m.system.files import whole_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from cdeep3m.evaluation.scores import Scores

DESCRIPTION = """\
Make two synthetic electron micrograph volumes with their mitochondria labelled, train compact 1fm, 3fm and 5fm nets on
one of them, predict the other one and score the result. Every step is one of the commands that you would type; each is
printed before it runs. The maps are cut where that is best on a few planes of the training volume, and scored on the
other one. An interrupted demo goes on where it stopped.
"""

PASS = 0.80
"""Lowest F1 of the ensemble on the held-out volume with which the demo succeeds."""

NETS = ("1fm", "3fm", "5fm")

SHORT_TRAINING = (
    *("--iter_size", "1", "--patch_side", "160", "--base_learn", "0.3", "--bn_fraction", "0.95"),
    *("--average_loss", "8", "--snapshot_interval", "100", "--test_interval", "100", "--seed", "1"),
)
"""Options that make a few hundred iterations count: small patches, a high rate, a short memory of BatchNorm."""

CALIBRATION_PLANES = 3
"""Planes in the middle of the training volume on which the threshold is chosen."""


class Result(NamedTuple):
    """Scores on the held-out volume, and the threshold that the training volume led to."""

    threshold: int
    scores: Scores

    @classmethod
    def of(cls, training: np.ndarray, held_out: np.ndarray) -> Result:
        """Choose on one volume and score on the other one; both as `validation.count_values` counted them.

        Parameters
        ----------
        training, held_out : ndarray of int, shape (2, 256)
        """
        from cdeep3m.evaluation.scores import best_threshold, score

        threshold = best_threshold(training)
        return cls(threshold, score(held_out, threshold=threshold))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What makes one demo differ from another.

    Attributes
    ----------
    seed : int
        Of the training volume; the held-out volume has the next one.
    width : int
        Divisor of the nets' feature counts.
    iterations : int
        Of each net's training.
    augspeed : int
        How many of the variants predict (1 all, 10 one).
    train_shape, held_out_shape : tuple of int
        Voxels along (z, y, x).
    """

    seed: int = 1
    width: int = 8
    iterations: int = 420
    augspeed: int = 2
    train_shape: tuple[int, int, int] = (32, 416, 416)
    held_out_shape: tuple[int, int, int] = (5, 512, 512)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 when the ensemble's F1 is below `PASS`."""
    options = _parser().parse(argv)
    settings = Settings(
        seed=options.seed, width=options.width, iterations=options.numiterations, augspeed=options.augspeed
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
        "--width", type=int, default=usual.width, help=f"divisor of the nets' width (default: {usual.width})"
    )
    parser.add_argument(
        "--numiterations",
        type=int,
        default=usual.iterations,
        metavar="N",
        help=f"of each net (default: {usual.iterations})",
    )
    parser.add_argument(
        "--augspeed", type=int, default=usual.augspeed, metavar="1|2|4|10", help=f"(default: {usual.augspeed})"
    )
    return parser


def _demo(out: Path, settings: Settings) -> int:
    begin = time.monotonic()
    _claim(out, settings)
    _write_volume(out / "training", settings.train_shape, settings.seed)
    _write_volume(out / "held_out", settings.held_out_shape, settings.seed + 1)
    _copy_middle(out / "training", out / "calibration")
    for command in _commands(out, settings):
        _run_command(command)
    from cdeep3m.report.overlay import LEGEND

    results = _scores(out)
    ensemble = results["ensemble"]
    print(f"\n{_table(results)}\n\nPicture: {_write_picture(out, ensemble.threshold)} ({LEGEND})")
    _run_command(_report_command(out, ensemble.threshold))
    print(f"{time.monotonic() - begin:.0f} s in all")
    status = _verdict(ensemble.scores.f1)
    print(f"Open this page in a browser: {(out / 'predicted' / 'report.html').resolve()}")
    return status


def _claim(out: Path, settings: Settings) -> None:
    """Make `out`, or make sure that it holds a demo with the same settings, which then goes on."""
    note = out / "demo.json"
    text = json.dumps(asdict(settings), indent=1)
    if note.exists():
        if note.read_text() != text:
            raise RunError(f"{out} holds a demo with other settings (demo.json). Delete it, or choose another --out")
    elif out.exists() and any(out.iterdir()):
        raise RunError(f"{out} exists and is no demo of before. Choose another --out")
    else:
        out.mkdir(parents=True, exist_ok=True)
        note.write_text(text)


def _write_volume(folder: Path, shape: tuple[int, int, int], seed: int) -> None:
    """Write images/ and labels/, one PNG a plane, unless they are there already."""
    from PIL import Image

    from cdeep3m.volumes.synthetic import synthesize

    if folder.exists():
        return
    print(f"Making {folder}: {shape[0]} planes of {shape[1]} x {shape[2]} pixels", flush=True)
    volume = synthesize(shape, seed=seed)
    with whole_folder(folder) as partial:
        for name, planes in (("images", volume.image), ("labels", volume.label * 255)):
            (partial / name).mkdir()
            for z, plane in enumerate(planes):
                Image.fromarray(plane).save(partial / name / f"{name}_{z + 1:04d}.png")


def _copy_middle(volume: Path, few: Path) -> None:
    """Copy the middle planes of a volume to a volume of its own, unless they are there already."""
    if few.exists():
        return
    with whole_folder(few) as partial:
        for name in ("images", "labels"):
            paths = sorted((volume / name).iterdir())
            begin = (len(paths) - CALIBRATION_PLANES) // 2 if len(paths) > CALIBRATION_PLANES else 0
            (partial / name).mkdir()
            for path in paths[begin : begin + CALIBRATION_PLANES]:
                shutil.copy(path, partial / name)


def _commands(out: Path, settings: Settings) -> Iterator[list[str]]:
    images, labels = out / "training" / "images", out / "training" / "labels"
    yield ["PreprocessTrainingData.m", f"{images}", f"{labels}", f"{out / 'augmented'}"]
    yield [
        "runtraining.sh",
        *("--width", f"{settings.width}", "--numiterations", f"{settings.iterations}", *SHORT_TRAINING),
        *(f"{out / 'augmented'}", f"{out / 'trained'}"),
    ]
    for volume, predicted in (("calibration", "calibrated"), ("held_out", "predicted")):
        yield [
            "runprediction.sh",
            *("--augspeed", f"{settings.augspeed}", "--fit", "--no-report"),
            *(f"{out / 'trained'}", f"{out / volume / 'images'}", f"{out / predicted}"),
        ]


def _report_command(out: Path, threshold: int) -> list[str]:
    labels = out / "held_out" / "labels"
    return [
        "cdeep3m",
        "report",
        "--labels",
        f"{labels}",
        "--threshold",
        f"{threshold / 255:.3f}",
        f"{out / 'predicted'}",
    ]


def _run_command(command: Sequence[str]) -> None:
    print(f"\n$ {shlex.join(command)}", flush=True)
    begin = time.monotonic()
    status = subprocess.run([_program(command[0]), *command[1:]], check=False).returncode
    if status:
        raise RunError(f"{command[0]} ended with exit status {status}")
    print(f"  {time.monotonic() - begin:.0f} s", flush=True)


def _program(name: str) -> str:
    """Return the path of a drop-in command: beside this Python, in the clone's scripts/, or on PATH."""
    places = (Path(sys.executable).parent, Path(__file__).parents[3] / "scripts")
    found = next((f"{place / name}" for place in places if (place / name).is_file()), None) or shutil.which(name)
    if found is None:
        raise RunError(
            f"the command {name} is missing: found neither {' nor '.join(str(place / name) for place in places)}"
        )
    return found


def _scores(out: Path) -> dict[str, Result]:
    """Score every net, the ensemble and a threshold of smoothed grays, each with the threshold that it calls for."""
    from cdeep3m.evaluation.scores import count_values, count_volumes

    names = {net: net for net in NETS} | {"ensemble": "ensembled"}
    counts = {
        name: (
            count_volumes(out / "calibrated" / folder, out / "calibration" / "labels"),
            count_volumes(out / "predicted" / folder, out / "held_out" / "labels"),
        )
        for name, folder in names.items()
    }
    training, held_out = (
        count_values(_darkness(out / name / "images"), _planes(out / name / "labels"))
        for name in ("training", "held_out")
    )
    return {name: Result.of(*pair) for name, pair in (counts | {"smoothed grays": (training, held_out)}).items()}


def _planes(folder: Path, pattern: str = "*") -> Iterator[np.ndarray]:
    import numpy as np
    from PIL import Image

    return (np.asarray(Image.open(path)) for path in sorted(folder.glob(f"{pattern}.png")))


def _darkness(folder: Path) -> Iterator[np.ndarray]:
    """Yield the planes smoothed and inverted: what one would threshold without a net."""
    from scipy import ndimage

    return (255 - ndimage.gaussian_filter(plane, 3) for plane in _planes(folder))


def _table(results: dict[str, Result]) -> str:
    lines = [f"{'held-out volume':16} {'F1':>9} {'precision':>9} {'recall':>9} {'threshold':>9}"]
    lines += [
        f"{name:16} {s.f1:9.3f} {s.precision:9.3f} {s.recall:9.3f} {threshold / 255:9.2f}"
        for name, (threshold, s) in results.items()
    ]
    return "\n".join(lines)


def _write_picture(out: Path, threshold: int) -> Path:
    from PIL import Image

    from cdeep3m.report.overlay import compare

    folders = (out / "held_out" / "images", out / "held_out" / "labels", out / "predicted" / "ensembled")
    image, label, probability = (list(_planes(folder)) for folder in folders)
    middle = len(image) // 2
    path = out / "overlay.png"
    Image.fromarray(compare(image[middle], label[middle] > 0, probability[middle] >= threshold)).save(path)
    return path


def _verdict(f1: float) -> int:
    if f1 >= PASS:
        print(f"The ensemble's F1 is {f1:.3f}, at least {PASS:.2f} as expected.")
        return 0
    print(f"The ensemble's F1 is {f1:.3f}; expected at least {PASS:.2f}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
