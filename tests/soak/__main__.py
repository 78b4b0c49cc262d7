"""`python -m soak [--minutes M] [--counts FILE]`: trials with seeds that count on, and counts that add up."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from soak import kinds, strangers
from soak.trial import load

SHARES = {"kill": 6, "starve": 2, "early": 1, "damage": 4}
"""Trials of each kind in a round; of damaged files so many times `TOGETHER`."""
TOGETHER = 25
"""So many damaged files are read by one process, one after another."""


def main() -> int:
    """Run rounds of trials until the time is over; return 1 when anything was wrong."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=240)
    parser.add_argument("--counts", type=Path, default=Path("soak.json"), help="goes on from the seeds in it")
    parser.add_argument("--only", choices=SHARES, help="one kind alone")
    parser.add_argument("--seed", type=int, help="this trial of --only alone, once more")
    options = parser.parse_args()
    load()
    counts = json.loads(options.counts.read_text()) if options.counts.exists() else {}
    end = time.monotonic() + 60 * options.minutes
    with TemporaryDirectory(prefix="soak-samples-") as made:
        samples = kinds.make_samples(Path(made)) if options.only in (None, "damage") else Path(made)
        reference = kinds.references() if options.only != "damage" else {}
        if options.seed is not None:
            return _report(options.only, options.seed, _trials(options.only, options.seed, 1, reference, samples)[0])
        if not options.only:
            _add(counts, "strangers", *strangers.all_of_them())
        while time.monotonic() < end:
            for kind, trials in SHARES.items():
                for _ in range(trials if options.only in (None, kind) else 0):
                    seed, count = counts.get(kind, {}).get("trials", 0), TOGETHER if kind == "damage" else 1
                    for k, wrong in enumerate(_trials(kind, seed, count, reference, samples)):
                        _report(kind, seed + k, wrong)
                        _add(counts, kind, 1, [f"seed {seed + k}: {words}" for words in wrong])
            options.counts.write_text(json.dumps(counts, indent=1) + "\n")
    print(json.dumps({kind: {"trials": one["trials"], "wrong": len(one["wrong"])} for kind, one in counts.items()}))
    return int(any(one["wrong"] for one in counts.values()))


def _trials(kind: str, seed: int, count: int, reference: dict, samples: Path) -> list[list[str]]:
    """Return what was wrong with some trials, seeds counting on."""
    if kind == "damage":
        return kinds.damage(range(seed, seed + count), samples)
    return [getattr(kinds, kind)(seed + k, reference) for k in range(count)]


def _add(counts: dict, kind: str, trials: int, wrong: list[str]) -> None:
    found = counts.setdefault(kind, {"trials": 0, "wrong": []})
    found["trials"] += trials
    found["wrong"] += wrong


def _report(kind: str, seed: int, wrong: list[str]) -> int:
    for words in wrong:
        print(f"WRONG {kind} --seed {seed}: {words}", flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
