"""Train compact nets on labelled micrographs, predict others and score them: what the nets learn from real data.

DATA holds training/images, training/labels, validation/images and validation/labels, as the original's
mito_testsample does. Scores are counted voxel by voxel, with the maps cut at probability 0.5 and at the threshold that
is best on the first planes of the training images. From the project's folder:

    python tests/benchmarks/score_real_data.py DATA OUT
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from cdeep3m.evaluation.scores import HALF, Scores, best_threshold, count_volumes, score

BIN = Path(sys.executable).parent
NETS = ("1fm", "3fm", "5fm")
TRAINING = (
    *("--width", "8", "--patch_side", "160", "--bn_fraction", "0.95", "--iter_size", "1", "--base_learn", "0.3"),
    *("--average_loss", "16", "--snapshot_interval", "250", "--test_interval", "250", "--seed", "1"),
)
TRAINING_PLANES = 4


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--iterations", type=int, default=1000)
    options = parser.parse_args(argv)
    data, out = options.data, options.out
    images, labels = (data / "training" / name for name in ("images", "labels"))
    seconds = {
        "training": run(
            "train", *TRAINING, "--numiterations", f"{options.iterations}", images, labels, out / "trained"
        ),
        "prediction": run("predict", out / "trained", data / "validation" / "images", out / "predicted"),
    }
    some = [first_planes(folder, out / folder.name) for folder in (images, labels)]
    run("predict", "--augspeed", "10", out / "trained", some[0], out / "predicted_training")
    print("\n".join(table(out, data / "validation" / "labels", some[1])))
    print("\n".join(f"{name}: {value:.0f} s" for name, value in seconds.items()))
    return 0


def run(command: str, *words: object) -> float:
    """Run a command of cdeep3m; return the seconds that it took."""
    start = time.perf_counter()
    subprocess.run([BIN / "cdeep3m", command, *map(str, words)], check=True)
    return time.perf_counter() - start


def first_planes(folder: Path, few: Path) -> Path:
    """Link the first files of a folder into another one, and return that."""
    few.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir())[:TRAINING_PLANES]:
        if not (few / path.name).exists():
            (few / path.name).symlink_to(path.absolute())
    return few


def table(out: Path, truth: Path, training_truth: Path) -> list[str]:
    """Return a row for each net and the ensemble, as Markdown."""
    rows = [
        "| | F1 at 0.5 | precision | recall | threshold | F1 | precision | recall |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in (*NETS, "ensembled"):
        counts = count_volumes(out / "predicted" / name, truth)
        threshold = best_threshold(count_volumes(out / "predicted_training" / name, training_truth))
        at_half, at_threshold = (cells(score(counts, threshold=t)) for t in (HALF, threshold))
        rows.append(f"| {name} | {at_half} | {threshold / 255:.2f} | {at_threshold} |")
    return rows


def cells(scores: Scores) -> str:
    return f"{scores.f1:.3f} | {scores.precision:.3f} | {scores.recall:.3f}"


if __name__ == "__main__":
    sys.exit(main())
