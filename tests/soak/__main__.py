"""`python -m soak [--minutes M] [--counts FILE]`: trials with seeds that count on, and counts that add up."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from soak import disk, kinds, strangers
from soak.counts import of_kind, summary
from soak.trial import load

SHARES = {"kill": 8, "starve": 6, "early": 3, "damage": 6}
"""Trials of each kind in a round; of damaged files so many times `TOGETHER`."""
TOGETHER = 50
"""So many damaged files are read by one process, one after another."""


def main() -> int:
    """Run rounds of trials until the time is over; return 1 when anything was wrong."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=240)
    parser.add_argument("--counts", type=Path, default=Path("soak.json"), help="goes on from the seeds in it")
    parser.add_argument("--begin", type=int, default=0, metavar="SEED", help="where seeds begin in new counts")
    parser.add_argument("--only", choices=SHARES, help="one kind alone")
    parser.add_argument(
        "--commands", default="", metavar="LIST", help="strike these alone, as in predictworker.sh,caffe"
    )
    parser.add_argument("--seed", type=int, help="this trial of --only alone, once more")
    parser.add_argument("--no-strangers", action="store_true", help="leave hostile situations out, which do not vary")
    options = parser.parse_args()
    disk.begin_with("soak")
    load()
    counts = json.loads(options.counts.read_text()) if options.counts.exists() else {}
    commands = tuple(filter(None, options.commands.split(",")))
    end = time.monotonic() + 60 * options.minutes
    with TemporaryDirectory(prefix="soak-samples-", dir=kinds.memory_disk()) as made:
        samples = kinds.make_samples(Path(made)) if options.only in (None, "damage") else Path(made)
        reference = kinds.references(commands) if options.only != "damage" else {}
        if options.seed is not None:
            return _report(
                options.only, options.seed, _trials(options.only, options.seed, 1, reference, samples, commands)[0]
            )
        if not options.only and not options.no_strangers:
            situations, wrong = strangers.all_of_them()
            _add(of_kind(counts, "strangers", options.begin), [kinds.Found({"situations": situations}, wrong)])
        while time.monotonic() < end:
            for kind, trials in SHARES.items():
                if options.only in (None, kind):
                    _round(of_kind(counts, kind, options.begin), kind, trials, reference, samples, commands)
            options.counts.write_text(json.dumps(counts, indent=1) + "\n")
    print("\n".join(summary(counts)))
    return int(any(one["wrong"] for one in counts.values()))


def _round(
    counts: dict[str, Any], kind: str, trials: int, reference: dict, samples: Path, commands: tuple[str, ...]
) -> None:
    for _ in range(trials):
        begin, seed = time.monotonic(), counts["begin"] + counts["trials"]
        found = _trials(kind, seed, TOGETHER if kind == "damage" else 1, reference, samples, commands)
        for k, one in enumerate(found):
            _report(kind, seed + k, one)
            one.wrong = [f"seed {seed + k}: {words}" for words in one.wrong]
        _add(counts, found)
        counts["seconds"] += time.monotonic() - begin


def _trials(
    kind: str, seed: int, count: int, reference: dict, samples: Path, commands: tuple[str, ...]
) -> list[kinds.Found]:
    """Make some trials, seeds counting on."""
    if kind == "damage":
        return kinds.damage(range(seed, seed + count), samples)
    return [getattr(kinds, kind)(seed + k, reference, commands) for k in range(count)]


def _add(counts: dict[str, Any], found: list[kinds.Found]) -> None:
    struck = Counter(counts["struck"])
    for one in found:
        struck.update(one.struck)
        counts["wrong"] += one.wrong
    counts["trials"] += len(found)
    counts["struck"] = dict(sorted(struck.items()))


def _report(kind: str, seed: int, found: kinds.Found) -> int:
    for words in found.wrong:
        print(f"WRONG {kind} --seed {seed}: {words}", flush=True)
    return int(bool(found.wrong))


if __name__ == "__main__":
    sys.exit(main())
