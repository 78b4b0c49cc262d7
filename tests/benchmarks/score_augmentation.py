"""Does secondary augmentation help? Train compact nets with and without it, same seeds and time; score both.

DATA holds training/images, training/labels, validation/images and validation/labels. Every seed trains with each
strength, by the same recipe and for the same time, one training after the other: on a quiet machine each has the same
processors for as long. From the project's folder:

    python tests/benchmarks/score_augmentation.py DATA OUT --seeds 1,2,3 --strengths 0,3 --time 5m

Nothing is chosen by the validation planes. A call that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.score_real_data import first_planes, run
from cdeep3m.evaluation.scores import HALF, best_threshold, count_volumes, score
from cdeep3m.runs.recipe import followed

RESULT = "scores.json"
"""File of a training whose scores are known."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one training came to: F1 at two thresholds, and what it took."""

    half: float
    chosen: float
    seconds: float
    processor: float
    iterations: dict[str, int]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--time", default="5m", help="for each training, as of cdeep3m train")
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--models", default="1fm")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--strengths", default="0,3", help="of the augmentation, each trained with every seed")
    parser.add_argument("--augspeed", default="1", help="of the predictions")
    parser.add_argument("--roi", help="a part of all volumes, to try this script in minutes")
    parser.add_argument("--also", default="", help="further options of cdeep3m train, such as '--patch_side 64'")
    options = parser.parse_args(argv)
    found: dict[str, list[Found]] = {strength: [] for strength in options.strengths.split(",")}
    print("| seed | augmentation | F1 at 0.5 | F1 at the threshold of training planes | iterations | s | processor-s |")
    print("|---|---|---|---|---|---|---|")
    for seed in options.seeds.split(","):
        for strength, results in found.items():
            results.append(scores_of(options, seed=seed, strength=strength))
            print(row(seed, strength, results[-1]), flush=True)
    for strength, results in found.items():
        halves, chosen = mean(each.half for each in results), mean(each.chosen for each in results)
        print(f"| mean | {strength} | {halves:.3f} | {chosen:.3f} | | | |")
    return 0


def row(seed: str, strength: str, found: Found) -> str:
    iterations = ", ".join(f"{net} {count}" for net, count in found.iterations.items())
    scores = f"{found.half:.3f} | {found.chosen:.3f}"
    return f"| {seed} | {strength} | {scores} | {iterations} | {found.seconds:.0f} | {found.processor:.0f} |"


def scores_of(options: argparse.Namespace, *, seed: str, strength: str) -> Found:
    """Train, predict and score once; what was found before is read."""
    out = options.out / f"seed{seed}_strength{strength}"
    if (out / RESULT).is_file():
        return Found(**json.loads((out / RESULT).read_text()))
    out.mkdir(parents=True, exist_ok=True)
    images, labels = (options.data / "training" / name for name in ("images", "labels"))
    truth = options.data / "validation" / "labels"
    part = ("--roi", options.roi) if options.roi else ()
    before = processor_seconds()
    seconds = run(
        *("train", "--recipe", options.recipe, "--time", options.time, "--models", options.models, "--seed", seed),
        *("--augment", strength, "--no-report", *options.also.split(), *part, images, labels, out / "trained"),
    )
    processor = processor_seconds() - before
    predict = ("predict", "--no-report", "--augspeed", options.augspeed, *part)
    run(*predict, out / "trained", options.data / "validation" / "images", out / "predicted")
    some = [first_planes(folder, out / folder.name) for folder in (images, labels)]
    run(*predict, out / "trained", some[0], out / "predicted_training")
    counts = count_volumes(out / "predicted" / "ensembled", truth_of(truth, out / "truth", part))
    training_truth = truth_of(some[1], out / "training_truth", part)
    threshold = best_threshold(count_volumes(out / "predicted_training" / "ensembled", training_truth))
    plan = followed(out / "trained")
    assert plan is not None, "a training by a recipe says so"
    found = Found(
        half=score(counts, threshold=HALF).f1,
        chosen=score(counts, threshold=threshold).f1,
        seconds=seconds,
        processor=processor,
        iterations=dict(plan.iterations),
    )
    (out / RESULT).write_text(json.dumps(vars(found)))
    return found


def truth_of(labels: Path, cut: Path, part: tuple[str, ...]) -> Path:
    """Return the labels of the part that was predicted."""
    if not part:
        return labels
    if not cut.exists():
        run("convert", "--labels", *part, labels, cut)
    return cut


def processor_seconds() -> float:
    """Return the processor time of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
