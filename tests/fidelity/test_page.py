"""The fidelity page in docs/ is what its program writes, and says that all is faithful."""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from cdeep3m.maps.agreement import Agreement
from cdeep3m.report.corrections import CORRECTIONS2
from contract_page import rows
from fidelity.measure import (
    COMMANDS,
    READER,
    ROW_TEST,
    cases_of,
    recorded_cases,
    recordings_in,
    situations_of,
    versions,
)
from fidelity.measure import (
    RECORDED as RECORDED_2,
)
from fidelity.page import Cases, Measured, Recordings, Situations, StepErrors, contract_table, corrections_table, page
from recorded_caffe import NETS

DOCS = Path(__file__).parents[2] / "docs"
COMMITTED = (DOCS / "fidelity.md").read_text(encoding="utf-8")
CASES = [
    *(Cases(command=f"`{command}`", recorded=5) for command in COMMANDS.values()),
    Cases(command=READER, recorded=50),
]
CONTRACT = [
    Situations(command=command, rows=sum(row.command == command for row in rows()))
    for command in dict.fromkeys(row.command for row in rows())
]
RECORDINGS = [Recordings(what=what, run=3) for what in RECORDED_2.values()]
AGREEMENT = Agreement(planes=2, voxels=9, largest=1e-6, mean=1e-7, equal_share=1.0, largest_step=0)
STEPS = [StepErrors(net=net, history=1e-3, batch_norm=1e-6, loss=1e-5) for net in NETS]


def measured(**changed) -> Measured:
    predictions = dict.fromkeys(NETS, AGREEMENT)
    made = {
        **{"versions": versions(), "cases": CASES, "contract": CONTRACT, "predictions": predictions, "steps": STEPS},
        "recordings": RECORDINGS,
    }
    return Measured(**(made | changed))


def without_numbers(text: str) -> str:
    return re.sub(r"\d[\d.,e+-]*", "#", text)


def test_the_page_is_in_the_form_that_its_program_gives():
    assert without_numbers(COMMITTED) == without_numbers(page(measured()))
    assert corrections_table() in COMMITTED
    assert corrections_table(CORRECTIONS2, exact="CDeep3M2") in COMMITTED
    assert contract_table(CONTRACT) in COMMITTED


def test_the_page_says_that_all_is_faithful():
    rows = re.findall(r"^\| (.+) \| (\d+) \| (\d+) \| 100\.0 % \|$", COMMITTED, re.MULTILINE)
    assert [name for name, *_ in rows] == [*(case.command for case in CASES), "all"]
    assert all(recorded == identical != "0" for _, recorded, identical in rows)
    assert COMMITTED.count("| within |") == 2 * len(NETS)
    assert "BEYOND" not in COMMITTED


def test_the_page_names_no_place_on_a_machine():
    assert not re.search(r"/(home|root|tmp|work|Users)\b", COMMITTED)


def test_the_page_has_every_recorded_case(reference):
    for family, names in recorded_cases(reference).items():
        assert f"| `{COMMANDS[family]}` | {len(names)} |" in COMMITTED


RECORDED = {"ensemble": ["u8_2", "names"], "postprocess": ["n4"]}


def test_what_differs_is_counted_and_named():
    said = "ensemble:names | exit 1, not 0; 2 of 3 outputs differ\n2 of 3 cases equal\n"
    cases = cases_of(RECORDED, said)
    assert [(case.command, case.recorded, case.identical) for case in cases] == [
        ("`EnsemblePredictions.m`", 2, 1),
        ("`StartPostprocessing.m`", 1, 1),
    ]
    shown = page(measured(cases=cases))
    assert "| all | 3 | 2 | 66.7 % |" in shown
    assert "Differs: `EnsemblePredictions.m`, names" in shown


@pytest.mark.parametrize(
    "said",
    [
        "",
        "3 of 4 cases equal\n",
        "ensemble:names | not run\n3 of 3 cases equal\n",
        "imread:x | y\n2 of 3 cases equal\n",
    ],
)
def test_a_harness_that_was_cut_short_is_no_success(said):
    with pytest.raises(RuntimeError, match="did not judge the 3 recorded cases"):
        cases_of(RECORDED, said)


@pytest.mark.parametrize(
    "changed",
    [
        {"cases": [Cases(command="x", recorded=2, differing=("a",))]},
        {"contract": [Situations(command="x", rows=2, broken=("a",))]},
        {"recordings": [Recordings(what="x", run=2, broken=("a",))]},
        {"predictions": {"1fm": Agreement(planes=1, voxels=9, largest=2e-4, mean=0, equal_share=1, largest_step=0)}},
        {"steps": [StepErrors(net="1fm", history=6e-3, batch_norm=0, loss=0)]},
        {"steps": [StepErrors(net="1fm", history=0, batch_norm=2e-5, loss=0)]},
        {"steps": [StepErrors(net="1fm", history=0, batch_norm=0, loss=float("nan"))]},
    ],
)
def test_one_thing_out_of_order_makes_the_whole_unfaithful(changed):
    assert measured().faithful
    assert not measured(**changed).faithful


def report(*, failing: tuple[str, ...] = (), missing: tuple[str, ...] = ()) -> str:
    names = {row.name: f"{ROW_TEST}[{row.name}]" for row in rows() if row.name not in missing} | {"other": "test_other"}
    cases = (
        f"<testcase name={quoteattr(test)}>{'<failure/>' * (name in failing)}</testcase>"
        for name, test in names.items()
    )
    return f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"


def test_rows_of_the_contract_are_counted_and_those_that_do_not_hold_are_named():
    assert situations_of(report()) == CONTRACT
    first = rows()[0]
    (broken, *_) = situations_of(report(failing=(first.name,)))
    assert broken.broken == (first.situation,)
    shown = page(measured(contract=[broken]))
    assert f"| all | {broken.rows} | {broken.rows - 1} |" in shown
    assert f"Broken: `{first.command}`, {first.situation}" in shown


@pytest.mark.parametrize("changed", [{"missing": (rows()[0].name,)}, {"failing": ("other",)}])
def test_a_contract_that_was_not_run_whole_is_no_success(changed):
    with pytest.raises(RuntimeError, match="did not run as they should"):
        situations_of(report(**changed))


def test_recordings_of_the_second_edition_are_counted_and_named(tmp_path):
    report = tmp_path / "report.xml"
    name = next(iter(RECORDED_2))
    report.write_text(
        f'<testsuite><testcase name="{name}[a]"/><testcase name="{name}[b]"><failure/></testcase>'
        f'<testcase name="{name}[c]"><skipped/></testcase><testcase name="test_other"/></testsuite>'
    )
    first, *others = recordings_in(report)
    assert (first.run, first.broken) == (2, ("b",))
    assert not any(kind.run for kind in others)
    assert "Does not hold: enhanced planes, b" in page(measured(recordings=[first]))


def test_every_kind_of_recordings_has_a_test_of_that_name_and_cases_that_ran():
    tests = "\n".join(path.read_text() for path in (Path(__file__).parents[1] / "edition2").glob("test_*.py"))
    for name, what in RECORDED_2.items():
        assert f"def {name}(" in tests
        assert re.search(rf"^\| {re.escape(what)} \| [1-9]", COMMITTED, re.MULTILINE)
