"""Measure the seams between tiles of real micrographs, where tiles meet and where they are blended, and F1 both ways.

DATA holds validation/images and validation/labels, as the original's mito_testsample does; MODEL is the folder of a
training. Every plane becomes 2048 x 2048 pixels: mirrored over its edges and cut so that the row and the column where
tiles meet go through as many labelled pixels as there are. Steps are larger there in any map, so the same rows and
columns are measured in a third map, too: that of the planes without their first 448 rows and columns, whose tiles lie
elsewhere and have no border there. From the project's folder:

    python tests/benchmarks/measure_seams.py DATA MODEL [NET]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from cdeep3m.evaluation.scores import HALF, best_threshold, count_volumes, score
from cdeep3m.tiling.grid import Tiling
from cdeep3m.volumes import open_volume, read_all
from cdeep3m.volumes.png import write_plane

SIDE = 2048
BORDER = 1000
"""Where tiles of 1024 meet."""
FURTHER = 448
"""Rows and columns that the third map leaves out: a multiple of 32, so that its nets see all in the same raster."""
MARGIN = 128
"""What lies closer to where the third map begins is not compared."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("net", nargs="?", default="1fm")
    parser.add_argument("--planes", type=int, default=10)
    parser.add_argument(
        "--folder", type=Path, help="keep what is predicted in this new folder; default: nothing is kept"
    )
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="cdeep3m-") as folder:
        measure(options, options.folder or Path(folder))
    return 0


def measure(options: argparse.Namespace, folder: Path) -> None:
    images, labels = (
        read_all(open_volume(options.data / "validation" / name))[: options.planes] for name in ("images", "labels")
    )
    write(folder, images, labels)
    meet, blended, elsewhere = (
        predicted(options, folder, *words)
        for words in (
            ("images", "meet"),
            ("images", "blended", "--blend"),
            ("images-further-on", "elsewhere", "--blend"),
        )
    )
    told = (folder / "blended" / "predict.config").read_text()
    reach = next(int(line.split("=")[1]) for line in told.splitlines() if line.startswith("reach="))
    print(f"The net looks {reach} voxels far", file=sys.stderr)
    without = {name: Steps(map_[:, FURTHER:, FURTHER:]) for name, map_ in (("meet", meet), ("blended", blended))}
    none = Steps(elsewhere)
    tiling = Tiling.of((1, SIDE, SIDE), reach=reach)
    print("| tiles | rows and columns | border / elsewhere | the same without a border | quotient |")
    print("|---|---|---|---|---|")
    say("meet", "where tiles meet", without["meet"], none, [[BORDER]])
    middles = np.array(tiling.seams[0])
    half = tiling.blend // 2
    for words, shift in (("begin", -half), ("are half", 0), ("end", half)):
        say("blended", f"where overlaps {words}", without["blended"], none, [(middles + shift).tolist()])
    lines = [(middles + shift).tolist() for shift in range(-half, half + 1)]
    say("blended", "of all in overlaps, the one with the largest quotient", without["blended"], none, lines)
    print("\n| tiles | F1 at 0.5 | best F1 | threshold |\n|---|---|---|---|")
    for name in ("meet", "blended"):
        counts = count_volumes(folder / name / options.net, folder / "labels")
        best = best_threshold(counts)
        at_half, most = (score(counts, threshold=threshold).f1 for threshold in (HALF, best))
        print(f"| {name} | {at_half:.4f} | {most:.4f} | {best / 255:.2f} |")


def predicted(options: argparse.Namespace, folder: Path, images: str, out: str, *more: str) -> np.ndarray:
    """Predict images with the command, and return the map, (z, y, x)."""
    words = ("predict", "--augspeed", "10", "--models", options.net, "--no-report", *more)
    command = [Path(sys.executable).parent / "cdeep3m", *words, options.model, folder / images, folder / out]
    subprocess.run([*map(str, command)], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return read_all(open_volume(folder / out / options.net)).astype(np.float32)


class Steps:
    """Mean steps of a map across each row and column, of what lies `MARGIN` from where FURTHER cuts.

    Parameters
    ----------
    maps : ndarray of float32, shape (z, y, x)
    """

    def __init__(self, maps: np.ndarray) -> None:
        inner = maps[:, MARGIN:, MARGIN:]
        self._means = [np.abs(np.diff(inner, axis=axis)).mean((0, 3 - axis)) for axis in (1, 2)]

    def ratio(self, lines: list[int]) -> float:
        """Return the mean step across rows and columns of the whole plane, over the mean step elsewhere."""
        at = np.isin(np.arange(1, len(self._means[0]) + 1), np.array(lines) - FURTHER - MARGIN)
        here, other = (np.concatenate([means[which] for means in self._means]).mean() for which in (at, ~at))
        return float(here / other)


def say(name: str, words: str, steps: Steps, without: Steps, groups: list[list[int]]) -> None:
    """Print the row of the group of rows and columns whose quotient is the largest."""
    pairs = [(steps.ratio(lines), without.ratio(lines)) for lines in groups]
    here, there = max(pairs, key=lambda pair: pair[0] / pair[1])
    print(f"| {name} | {words} | {here:.3f} | {there:.3f} | {here / there:.3f} |")


def write(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write planes of SIDE x SIDE, whose borders go through as many labelled pixels as there are."""
    for name in ("images", "images-further-on", "labels"):
        (folder / name).mkdir(parents=True)
    for z, (image, label) in enumerate(zip(images, labels, strict=True)):
        wide_label = (np.pad(label, label.shape[0], mode="symmetric") > 0).astype(np.uint8)
        wide = np.pad(image, image.shape[0], mode="symmetric")
        room = wide.shape[0] - SIDE
        top, left = (int(wide_label.mean(axis)[BORDER : BORDER + room].argmax()) for axis in (1, 0))
        part = slice(top, top + SIDE), slice(left, left + SIDE)
        plane = np.ascontiguousarray(wide[part])
        write_plane(folder / "images" / f"plane_{z:03d}.png", plane)
        further = np.ascontiguousarray(plane[FURTHER:, FURTHER:])
        write_plane(folder / "images-further-on" / f"plane_{z:03d}.png", further)
        write_plane(folder / "labels" / f"plane_{z:03d}.png", np.ascontiguousarray(wide_label[part]))


if __name__ == "__main__":
    sys.exit(main())
