"""Measure the seams between tiles of real micrographs, where tiles meet and where they are blended, and F1 both ways.

DATA holds validation/images and validation/labels, as the original's mito_testsample does; MODEL is the folder of a
training. Every plane becomes 2048 x 2048 pixels: mirrored over its edges and cut so that the row and the column where
tiles meet go through as many labelled pixels as there are. Steps are larger there in any map, so each map is measured
on the borders of the other, too, where it has none. From the project's folder:

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
    print("| tiles | border / elsewhere | the same without a border | quotient | F1 at 0.5 | best F1 | threshold |")
    print("|---|---|---|---|---|---|---|")
    maps, told = {}, {}
    for name, more in (("meet", ()), ("blended", ("--blend",))):
        words = ("predict", "--augspeed", "10", "--models", options.net, "--no-report", *more)
        out = folder / name
        command = [Path(sys.executable).parent / "cdeep3m", *words, options.model, folder / "images", out]
        subprocess.run([*map(str, command)], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        maps[name] = read_all(open_volume(out / options.net)).astype(np.float32)
        told[name] = (out / "predict.config").read_text()
    reach = next(int(line.split("=")[1]) for line in told["blended"].splitlines() if line.startswith("reach="))
    print(f"The net looks {reach} voxels far", file=sys.stderr)
    blended = Tiling.of((1, SIDE, SIDE), reach=reach)
    middle = np.array(blended.seams[0])
    lines = {"meet": [[BORDER]], "blended": [(middle + shift * blended.blend // 2).tolist() for shift in (-1, 0, 1)]}
    for name, other in (("meet", "blended"), ("blended", "meet")):
        known = [at for at in lines[name] if name == "meet" or BORDER not in at]
        pairs = [(ratio(maps[name], at), ratio(maps[other], at)) for at in known]
        here, there = max(pairs, key=lambda pair: pair[0] / pair[1])
        counts = count_volumes(folder / name / options.net, folder / "labels")
        best = best_threshold(counts)
        half, most = (score(counts, threshold=threshold).f1 for threshold in (HALF, best))
        print(
            f"| {name} | {here:.3f} | {there:.3f} | {here / there:.3f} | {half:.4f} | {most:.4f} | {best / 255:.2f} |"
        )


def ratio(maps: np.ndarray, lines: list[int]) -> float:
    """Return the mean step of maps (z, y, x) across rows and columns, over the mean step elsewhere."""
    steps = [np.abs(np.diff(maps, axis=axis)).mean((0, 3 - axis)) for axis in (1, 2)]
    at = np.isin(np.arange(1, SIDE), lines)
    return float(np.concatenate([one[at] for one in steps]).mean() / np.concatenate([one[~at] for one in steps]).mean())


def write(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write planes of SIDE x SIDE, whose borders go through as many labelled pixels as there are."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for z, (image, label) in enumerate(zip(images, labels, strict=True)):
        wide_label = (np.pad(label, label.shape[0], mode="symmetric") > 0).astype(np.uint8)
        wide = np.pad(image, image.shape[0], mode="symmetric")
        room = wide.shape[0] - SIDE
        top, left = (int(wide_label.mean(axis)[BORDER : BORDER + room].argmax()) for axis in (1, 0))
        part = slice(top, top + SIDE), slice(left, left + SIDE)
        write_plane(folder / "images" / f"plane_{z:03d}.png", np.ascontiguousarray(wide[part]))
        write_plane(folder / "labels" / f"plane_{z:03d}.png", np.ascontiguousarray(wide_label[part]))


if __name__ == "__main__":
    sys.exit(main())
