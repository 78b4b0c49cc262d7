"""The page of a training: what was trained on what, how loss and scores went, and what to try next."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdeep3m.errors import FormatError
from cdeep3m.evaluation.learning_curves import ITERATION, Curves, Table
from cdeep3m.evaluation.run_findings import curves_of, findings_of_net, next_steps
from cdeep3m.report.charts import Axis, Line, line_chart
from cdeep3m.report.page import duration, render, safe, share, size
from cdeep3m.runs.events import Event, read_events, seconds_spent
from cdeep3m.runs.recipe import followed
from cdeep3m.runs.states import JobState, RunState, state_of, training_events
from cdeep3m.runs.validation import validation_of

if TYPE_CHECKING:
    from pathlib import Path

    from cdeep3m.evaluation.diagnosis import Finding


@dataclass(frozen=True)
class _Net:
    """What one net's log and events tell."""

    job: JobState
    curves: Curves | None
    events: list[Event]
    findings: list[Finding]

    @property
    def data(self) -> dict[str, Any]:
        return next((dict(event.values) for event in reversed(self.events) if event.name == "data"), {})


def training_page(folder: Path, *, price: float | None = None) -> str:
    """Return the page of a training.

    Parameters
    ----------
    folder : Path
        Of the training, finished or not.
    price : float, optional
        Of an hour on the device, in any currency.

    Raises
    ------
    MissingExtraError
        Without jinja2.
    """
    state = state_of(folder)
    nets = [_net(folder, job) for job in state.jobs] if state else []
    findings = list(dict.fromkeys(finding for net in nets for finding in net.findings))
    data = next((net.data for net in nets if net.data), {})
    return render(
        "training.html.j2",
        {
            "title": f"Training: {folder.resolve().name}",
            "lead": _lead(state),
            "made": time.strftime("%Y-%m-%d"),
            "findings": findings,
            "warnings": list(dict.fromkeys(state.warnings)) if state else [],
            "checked": "losses fall, and nothing is wrong with the labels as far as could be seen",
            "nets": [_shown(net, price) for net in nets],
            "data": _data_rows(data),
            "patches": data.get("patches", []),
            "steps": _steps(nets, findings, by_recipe=followed(folder) is not None),
            "facts": [*_facts(state, nets), *_validation(folder, nets)],
        },
    )


def _net(folder: Path, job: JobState) -> _Net:
    events = read_events(training_events(folder, job.name))
    curves = curves_of(folder, job.name)
    data = next((event.values for event in reversed(events) if event.name == "data"), {})
    return _Net(job, curves, events, findings_of_net(curves, data))


def _lead(state: RunState | None) -> str:
    if state is None:
        return "no training"
    return f"{', '.join(job.name for job in state.jobs)}; {state.state}"


def _shown(net: _Net, price: float | None) -> dict[str, Any]:
    seconds = seconds_spent(net.events)
    loss, score = _last(net.curves.train, "loss") if net.curves else None, None
    if net.curves:
        score = _last(net.curves.test, "acc")
    ended = [event.values for event in net.events if event.name == "ended" and "memory" in event.values]
    return {
        "name": net.job.name,
        "iterations": f"{net.job.done} of {net.job.total}",
        "loss": "–" if loss is None else f"{loss:.4g}",
        "score": "–" if score is None else f"{score:.3f}",
        "seconds": duration(seconds) if seconds else "–",
        "rate": f"{net.job.rate:.3g}" if net.job.rate else "–",
        "memory": size(ended[-1]["memory"]) if ended else "–",
        "cost": f"{seconds / 3600 * price:.3g}" if seconds and price else None,
        "loss_chart": _loss_chart(net),
        "score_chart": _score_chart(net),
    }


def _loss_chart(net: _Net) -> Any:
    if net.curves is None:
        return None
    lines = [*_lines(net.curves.train, "loss", "training"), *_lines(net.curves.test, "loss", "validation")]
    values = [value for line in lines for value in line.y if value > 0]
    if not values:
        return None
    y = Axis("loss", min(values), max(values), log=max(values) > 3 * min(values))
    return safe(line_chart(lines, _iterations(net), y, title=f"Loss of {net.job.name}"))


def _score_chart(net: _Net) -> Any:
    lines = _lines(net.curves.test, "acc", "") if net.curves else []
    if not lines:
        return None
    title = f"Validation accuracy of {net.job.name}"
    return safe(line_chart(lines, _iterations(net), Axis("accuracy", 0, 1), title=title))


def _iterations(net: _Net) -> Axis:
    tables = [net.curves.train, net.curves.test] if net.curves else []
    reached = [row[0] for table in tables for row in table.rows]
    return Axis("iteration", 0, max(reached, default=1) or 1)


def _lines(table: Table, part: str, kind: str) -> list[Line]:
    if not table.rows:
        return []
    names = [name for name in table.outputs if part in name.lower()]
    return [
        Line(
            " ".join(filter(None, (kind, name if len(names) > 1 or not kind else ""))),
            table.column(ITERATION),
            table.column(name),
        )
        for name in names
    ]


def _last(table: Table, part: str) -> float | None:
    name = next((output for output in table.outputs if part in output.lower()), None)
    return table.column(name)[-1] if name and table.rows else None


def _data_rows(data: dict[str, Any]) -> list[tuple[str, str]]:
    if not data:
        return []
    depth, height, width = data["shape"]
    return [
        ("volume", f"{depth} planes of {width} x {height} pixels, {data['type']}"),
        ("orientations or files", str(data.get("volumes", "–"))),
        ("foreground in the labels", share(data["foreground"])),
        ("validation", "a volume of its own" if data.get("validation") else "the training volume itself"),
    ]


def _steps(nets: list[_Net], findings: list[Finding], *, by_recipe: bool) -> list[str]:
    if findings:
        return [f"first: {finding.remedy}" for finding in findings]
    steps = [step for net in nets for step in next_steps(net.curves, net.data, findings, by_recipe=by_recipe)]
    return list(dict.fromkeys(steps))


def _validation(folder: Path, nets: list[_Net]) -> list[tuple[str, str]]:
    """Return how snapshots did on held-out planes, which of them predict, and how their maps are calibrated."""
    rows = []
    for net in nets:
        try:
            record = validation_of(folder / net.job.name)
        except FormatError:
            continue
        if record is None:
            continue
        shown = record.best if record.keep == "best" else next(reversed(record.scored), None)
        if shown:
            which = f"iteration {shown.iteration}, the {record.keep} one"
            rows.append((f"{net.job.name}: on {record.planes}", f"{shown.words} before any calibration ({which})"))
        if record.calibration:
            rows.append((f"{net.job.name}: calibration", record.calibration.words))
        rows += [(f"{net.job.name}: calibration, class {one.label}", one.words) for one in record.further]
    return rows


def _facts(state: RunState | None, nets: list[_Net]) -> list[tuple[str, str]]:
    began = next((event.values for net in nets for event in reversed(net.events) if event.name == "began"), {})
    facts = [
        ("engine, device", state.engine if state else ""),
        ("machine", state.host if state else ""),
        ("recipe", state.recipe if state else ""),
        ("release", f"cdeep3m {began['version']}" if "version" in began else ""),
    ]
    return [(name, value) for name, value in facts if value]
