"""Does secondary augmentation help? Train compact nets with and without it, same seeds and iterations; score both.

DATA holds training/images, training/labels, validation/images and validation/labels. Every seed trains twice, so that
the six trainings and their predictions take hours on a processor. From the project's folder:

    python tests/benchmarks/score_augmentation.py DATA OUT --seeds 1,2,3 --strength 3
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.score_real_data import first_planes, run
from cdeep3m.evaluation.scores import HALF, best_threshold, count_volumes, score

TRAINING = (
    *("--width", "8", "--patch_side", "160", "--bn_fraction", "0.95", "--iter_size", "1", "--base_learn", "0.3"),
    *("--average_loss", "16", "--snapshot_interval", "250", "--test_interval", "250"),
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--models", default="1fm,3fm,5fm")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--strength", default="3")
    options = parser.parse_args(argv)
    found: dict[str, list[float]] = {}
    print("| seed | augmentation | F1 at 0.5 | F1 at the threshold of the training images | training, s |")
    print("|---|---|---|---|---|")
    for seed in options.seeds.split(","):
        for strength in ("0", options.strength):
            half, chosen, seconds = scores_of(options, seed=seed, strength=strength)
            found.setdefault(strength, []).append(chosen)
            print(f"| {seed} | {strength} | {half:.3f} | {chosen:.3f} | {seconds:.0f} |", flush=True)
    for strength, values in found.items():
        print(f"| mean | {strength} | | {mean(values):.3f} | |")
    return 0


def scores_of(options: argparse.Namespace, *, seed: str, strength: str) -> tuple[float, float, float]:
    """Train, predict and score once: F1 at 0.5, F1 at the best threshold of training images, seconds of training."""
    data, out = options.data, options.out / f"seed{seed}_strength{strength}"
    out.mkdir(parents=True, exist_ok=True)
    images, labels = (data / "training" / name for name in ("images", "labels"))
    asked = (*TRAINING, "--models", options.models, "--numiterations", options.iterations, "--seed", seed)
    seconds = run("train", *asked, "--augment", strength, images, labels, out / "trained")
    run("predict", out / "trained", data / "validation" / "images", out / "predicted")
    some = [first_planes(folder, out / folder.name) for folder in (images, labels)]
    run("predict", "--augspeed", "10", out / "trained", some[0], out / "predicted_training")
    counts = count_volumes(out / "predicted" / "ensembled", data / "validation" / "labels")
    threshold = best_threshold(count_volumes(out / "predicted_training" / "ensembled", some[1]))
    return score(counts, threshold=HALF).f1, score(counts, threshold=threshold).f1, seconds


if __name__ == "__main__":
    raise SystemExit(main())
