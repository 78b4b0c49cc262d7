"""The fidelity page: from what was measured to Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdeep3m.maps.agreement import LARGEST_DIFFERENCE, LARGEST_STEP, SMALLEST_EQUAL_SHARE
from cdeep3m.report.corrections import CORRECTIONS, CORRECTIONS2
from edition2.recordings import NOT_REPEATED
from recorded_caffe import BATCH_NORM_TOLERANCE, HISTORY_TOLERANCE, LOSS_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdeep3m.maps.agreement import Agreement
    from cdeep3m.report.corrections import Correction


@dataclass(frozen=True, kw_only=True)
class Cases:
    """Recorded cases of one command: how many there are, and which differ in exact mode."""

    command: str
    recorded: int
    differing: tuple[str, ...] = ()

    @property
    def identical(self) -> int:
        return self.recorded - len(self.differing)


@dataclass(frozen=True, kw_only=True)
class StepErrors:
    """Errors of one training step of a net."""

    net: str
    history: float
    batch_norm: float
    loss: float

    @property
    def within_tolerance(self) -> bool:
        return (
            self.history <= HISTORY_TOLERANCE
            and self.batch_norm <= BATCH_NORM_TOLERANCE
            and self.loss <= LOSS_TOLERANCE
        )


@dataclass(frozen=True, kw_only=True)
class Situations:
    """Rows of docs/contract.md about one command: how many there are, and which do not hold."""

    command: str
    rows: int
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """Recorded cases of CDeep3M2 of one kind: how many were run, and which do not hold."""

    what: str
    run: int
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Everything that the page tells.

    Attributes
    ----------
    versions : str
        What ran, in words.
    cases : sequence of Cases
    contract : sequence of Situations
    predictions : mapping of net to Agreement
    steps : sequence of StepErrors
    recordings : sequence of Recordings
    """

    versions: str
    cases: Sequence[Cases]
    contract: Sequence[Situations]
    predictions: dict[str, Agreement]
    steps: Sequence[StepErrors]
    recordings: Sequence[Recordings]

    @property
    def faithful(self) -> bool:
        """Whether all cases are identical and everything else is within its tolerance."""
        return (
            not any(case.differing for case in self.cases)
            and not any(command.broken for command in self.contract)
            and all(agreement.within_tolerance for agreement in self.predictions.values())
            and all(step.within_tolerance for step in self.steps)
            and not any(kind.broken for kind in self.recordings)
        )


def page(measured: Measured) -> str:
    """Return the page's text."""
    return "\n\n".join(
        [
            "# Fidelity",
            INTRODUCTION.format(versions=measured.versions),
            "## Exact mode",
            EXACT,
            cases_table(measured.cases),
            *(f"Differs: {case.command}, {name}" for case in measured.cases for name in case.differing),
            "## Corrections",
            CORRECTED,
            corrections_table(),
            "## The contract",
            CONTRACT,
            contract_table(measured.contract),
            *(f"Broken: `{of.command}`, {situation}" for of in measured.contract for situation in of.broken),
            "## Predictions",
            PREDICTIONS.format(
                difference=LARGEST_DIFFERENCE, share=f"{100 * SMALLEST_EQUAL_SHARE:g}", step=LARGEST_STEP
            ),
            predictions_table(measured.predictions),
            "## Training",
            TRAINING.format(history=HISTORY_TOLERANCE, batch_norm=BATCH_NORM_TOLERANCE, loss=LOSS_TOLERANCE),
            steps_table(measured.steps),
            "## The second edition",
            SECOND_EDITION,
            recordings_table(measured.recordings),
            NOT_COMPARED,
            table(("recorded case", "why"), [(f"`{name}`", why) for name, why in NOT_REPEATED.items()]),
            *(f"Does not hold: {kind.what}, {case}" for kind in measured.recordings for case in kind.broken),
            SECOND_CORRECTED,
            corrections_table(CORRECTIONS2, exact="CDeep3M2"),
            "## On your own model and images",
            OWN,
        ]
    )


def cases_table(cases: Sequence[Cases]) -> str:
    recorded, identical = sum(case.recorded for case in cases), sum(case.identical for case in cases)
    rows = [(case.command, case.recorded, case.identical, share(case.identical, case.recorded)) for case in cases]
    total = ("all", recorded, identical, share(identical, recorded))
    return table(("command", "recorded cases", "bit-identical", "share"), [*rows, total])


def corrections_table(corrections: Sequence[Correction] = CORRECTIONS, *, exact: str = "the original") -> str:
    rows = [(c.number, c.defect, c.corrected) for c in corrections]
    return table(("", f"{exact}, and exact mode", "by default"), rows)


def recordings_table(recordings: Sequence[Recordings]) -> str:
    rows = [(kind.what, kind.run, kind.run - len(kind.broken)) for kind in recordings]
    total = ("all", sum(kind.run for kind in recordings), sum(kind.run - len(kind.broken) for kind in recordings))
    return table(("step or command", "recorded cases run", "hold"), [*rows, total])


def contract_table(contract: Sequence[Situations]) -> str:
    rows = [(f"`{of.command}`", of.rows, of.rows - len(of.broken)) for of in contract]
    total = ("all", sum(of.rows for of in contract), sum(of.rows - len(of.broken) for of in contract))
    return table(("command", "situations", "as the contract says"), [*rows, total])


def predictions_table(predictions: dict[str, Agreement]) -> str:
    rows = [
        (
            net,
            found.planes,
            f"{found.largest:.1e}",
            f"{found.mean:.1e}",
            f"{100 * found.equal_share:.4f} %",
            found.largest_step,
            verdict(found.within_tolerance),
        )
        for net, found in predictions.items()
    ]
    differences = ("largest difference", "mean difference", "equal 8-bit values", "largest 8-bit difference")
    return table(("net", "planes", *differences, ""), rows)


def steps_table(steps: Sequence[StepErrors]) -> str:
    rows = [
        (step.net, f"{step.history:.1e}", f"{step.batch_norm:.1e}", f"{step.loss:.1e}", verdict(step.within_tolerance))
        for step in steps
    ]
    return table(("net", "history, relative L2", "BatchNorm, relative", "loss, absolute", ""), rows)


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def verdict(within: bool) -> str:
    return "within" if within else "BEYOND"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, *rows]
    first, *others = [f"| {' | '.join(map(str, line))} |" for line in lines]
    return "\n".join([first, "|---" * len(heads) + "|", *others])


INTRODUCTION = """\
Where the results are the original's, bit for bit, where they differ on purpose, and how closely the embedded engine
follows real Caffe: {versions}. Written by a program that ran everything below; it
needs the reference data, recorded from release 1.6.3 on Octave 7.3 and from a CPU build of DeepEM3D's Caffe fork, in
`../shared/reference` or `CDEEP3M_REFERENCE`:

```
make fidelity
```"""

EXACT = """\
Recorded runs of the original's commands, repeated with `CDEEP3M_EXACT=1`. A case is identical when the exit status says
the same and every array and text that was written is the recorded one, its type included."""

CORRECTED = """\
Without exact mode the results are the same bytes, but where the original loses or corrupts data. Each row has tests of
both modes, and of identity where its condition does not hold (`make test TESTS="-m correction"`)."""

CONTRACT = """\
The exit statuses, files and markers of [contract.md](contract.md), each row run with real files and stubs of Caffe's
tools."""

PREDICTIONS = """\
Narrow nets of DeepEM3D's topology that Caffe trained and predicted with. Tolerance: no probability differs by more than
{difference:g}, at least {share} % of the 8-bit values are equal, and none differs by more than {step}."""

TRAINING = """\
One step from Caffe's own weights, state and batches. Tolerance: {history:g} for the history of all blobs but those of
BatchNorm, {batch_norm:g} for each of those, {loss:g} for the reported loss."""

SECOND_EDITION = """\
CDeep3M2 2.1.5, which `--exact --edition 2` (or `CDEEP3M_EXACT=1 CDEEP3M_EDITION=2`) reproduces: recorded runs, repeated
step by step and as whole commands. A case holds when status, names, texts and arrays are the recorded ones; but where a
value lies within rounding of the next one (denoising: at most 0.5 % of a plane's bytes, by 1), at the borders of skewed
images, and where an elastic distortion looks beyond the image. Exact enhancement takes some 12 s a plane of 1024 x
1024; by default an accelerated solver gives the same bytes but for one in some hundred, by 1."""

NOT_COMPARED = """\
Cases that are steps and commands count twice. Every recorded case is run at least once, but these, which cannot be:"""

SECOND_CORRECTED = """\
Without exact mode, what CDeep3M2 loses or corrupts is corrected. Each row has tests."""

OWN = """\
With a real Caffe at hand, its tools in a folder, the same comparison runs on any model and images:

```
cdeep3m fidelity --caffe /opt/caffe trained images
```

The [user guide](user-guide.md#cdeep3m-fidelity) says more.
"""
