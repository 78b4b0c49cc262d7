"""Everything that the fidelity page tells, measured against the reference data."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from cdeep3m import __version__
from cdeep3m.maps.agreement import Agreement, agreement_of
from contract_page import rows
from fidelity.page import Cases, Measured, Recordings, Situations, StepErrors
from recorded_caffe import (
    NETS,
    STEPS,
    batch_norm_error,
    foreground_pairs,
    history_error,
    make_steps,
    outputs,
    predicted,
    recorded_model,
    recorded_volume,
    train_from,
)

CONTRACT_TESTS = Path(__file__).parents[1] / "contract"
ROW_TEST = "test_the_command_does_what_the_page_says"
SCRIPTS = Path(__file__).parents[2] / "scripts"
COMMANDS = {
    "preprocess_training": "PreprocessTrainingData.m",
    "preprocess_validation": "PreprocessValidation.m",
    "def_datapackages": "DefDataPackages.m",
    "preprocess_package": "PreprocessPackage.m",
    "postprocess": "StartPostprocessing.m",
    "merge_largedata": "Merge_LargeData.m",
    "ensemble": "EnsemblePredictions.m",
}
"""Names of the recorded families of cases, and the command that each is about."""
READER = "the image reader (`imread`)"
LOSSES = ((1, "Train"), (6, "Smoothed"))
"""Where Caffe's log tells a loss that was reached from weights and a state of its own: iteration and kind."""
VOLUMES = ("volume_0", "volume_1")


def measure(reference: Path) -> Measured:
    """Run all of it, what takes minutes last."""
    return Measured(
        versions=versions(),
        predictions={net: prediction_of(reference, net) for net in NETS},
        steps=[errors_of_step(reference, net) for net in NETS],
        cases=[*run_cases(reference), imread_cases()],
        contract=run_contract(),
        recordings=recordings_of_edition_2(),
    )


def run_contract() -> list[Situations]:
    """Run the contract's tests in a process of their own; return what holds, by command."""
    with TemporaryDirectory(prefix="fidelity-") as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", str(CONTRACT_TESTS)],
            stdout=sys.stderr,
            check=False,
        )
        return situations_of(report.read_text(encoding="utf-8"))


def situations_of(report: str) -> list[Situations]:
    """Sort what pytest's report says of the contract's rows by command.

    Raises
    ------
    RuntimeError
        A row was not run, or a test beside the rows failed.
    """
    results = {
        case.get("name", ""): not (case.findall("failure") or case.findall("error") or case.findall("skipped"))
        for case in ElementTree.fromstring(report).iter("testcase")
    }
    held = {row: results.get(f"{ROW_TEST}[{row.name}]") for row in rows()}
    others = [name for name, passed in results.items() if not passed and not name.startswith(ROW_TEST)]
    if None in held.values() or others:
        raise RuntimeError(f"the contract's tests did not run as they should: {others or 'rows are missing'}")
    return [
        Situations(
            command=command,
            rows=sum(row.command == command for row in held),
            broken=tuple(row.situation for row, holds in held.items() if row.command == command and not holds),
        )
        for command in dict.fromkeys(row.command for row in held)
    ]


RECORDED = {
    "test_a_plane_is_enhanced_as_recorded": "enhanced planes",
    "test_a_stack_is_augmented_as_recorded": "secondary augmentation",
    "test_a_stack_is_resized_as_recorded": "tertiary augmentation",
    "test_volumes_are_divided_as_recorded": "division into packages",
    "test_packages_are_padded_and_oriented_as_recorded": "padding of packages",
    "test_variations_are_averaged_as_recorded": "averages of variations",
    "test_packages_are_merged_as_recorded": "merging of packages",
    "test_nets_are_averaged_as_recorded": "averages of nets",
    "test_overlays_are_the_recorded_ones": "overlays",
    "test_enhance_stack_writes_what_it_wrote": "`enhance_stack.py`",
    "test_training_data_are_the_recorded_ones": "`PreprocessTrainingData.py`",
    "test_validation_data_are_the_recorded_ones": "`PreprocessValidation.py`",
    "test_defdatapackages_writes_what_it_wrote": "`DefDataPackages.py`",
    "test_preprocesspackage_writes_what_it_wrote": "`PreprocessPackage.py`",
    "test_startpostprocessing_writes_what_it_wrote": "`StartPostprocessing.py`",
    "test_merge_largedata_writes_what_it_wrote": "`Merge_LargeData.py`",
    "test_ensemblepredictions_writes_what_it_wrote": "`EnsemblePredictions.py`",
    "test_create_overlays_writes_what_it_wrote": "`Create_overlays.py`",
    "test_a_prediction_is_the_recorded_one": "`runprediction.sh`",
    "test_augconfig_writes_what_it_wrote": "`augconfig.py`",
    "test_createtrainjob_names_folders_as_they_were_typed": "`CreateTrainJob.py`",
    "test_a_command_ends_with_the_recorded_status": "statuses of commands",
}
"""Tests of the second edition's recordings, and what each is about."""


def recordings_of_edition_2() -> list[Recordings]:
    """Run the tests of the recordings, and count what held; skipped cases do not count."""
    with TemporaryDirectory(prefix="fidelity-") as folder:
        report = Path(folder) / "report.xml"
        tests = Path(__file__).parents[1] / "edition2"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", str(tests)],
            stdout=sys.stderr,
            check=False,
            cwd=tests.parents[1],
        )
        return recordings_in(report)


def recordings_in(report: Path) -> list[Recordings]:
    """Return what a JUnit report tells of the recordings."""
    run: dict[str, list[str]] = {name: [] for name in RECORDED}
    broken: dict[str, list[str]] = {name: [] for name in RECORDED}
    for case in ElementTree.parse(report).iter("testcase"):
        name, _, recorded = case.attrib["name"].partition("[")
        if name in RECORDED and case.find("skipped") is None:
            run[name].append(recorded.rstrip("]"))
            if case.find("failure") is not None or case.find("error") is not None:
                broken[name].append(recorded.rstrip("]"))
    return [Recordings(what=what, run=len(run[name]), broken=tuple(broken[name])) for name, what in RECORDED.items()]


def versions() -> str:
    torch, numpy = (version(name).split("+")[0] for name in ("torch", "numpy"))
    return f"cdeep3m {__version__}, Python {platform.python_version()}, NumPy {numpy}, PyTorch {torch} on a CPU"


def run_cases(reference: Path) -> list[Cases]:
    """Run the recorded cases through scripts/ with the reference's own harness."""
    recorded = recorded_cases(reference)
    with TemporaryDirectory(prefix="fidelity-") as folder:
        commands = linked_commands(Path(folder) / "commands", reference.parent / "data" / "mito_testsample")
        harness = subprocess.run(
            ["bash", str(reference / "octave" / "run_cases.sh"), str(commands)],
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "PARITY_ROOT": str(Path(folder) / "run"),
            },
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    print(harness.stdout, file=sys.stderr)
    return cases_of(recorded, harness.stdout)


def linked_commands(folder: Path, sample: Path) -> Path:
    """Make a folder of commands as the harness wants it: scripts/, and the real sample where it is there."""
    folder.mkdir()
    (folder.parent / "run").mkdir()
    for script in SCRIPTS.iterdir():
        (folder / script.name).symlink_to(script)
    if sample.is_dir():
        (folder / sample.name).symlink_to(sample)
    return folder


def recorded_cases(reference: Path) -> dict[str, list[str]]:
    """Names of the recorded runs of every family."""
    tables = {family: json.loads((reference / "octave" / f"{family}.json").read_text()) for family in COMMANDS}
    return {family: [name for name, case in cases.items() if case.get("runs")] for family, cases in tables.items()}


def cases_of(recorded: dict[str, list[str]], said: str) -> list[Cases]:
    """Sort what the harness said by command.

    Raises
    ------
    RuntimeError
        Its own total is not that of its lines: it was cut short.
    """
    differing = re.findall(r"^(\w+):(\S+) \| ", said, re.MULTILINE)
    known = [(family, name) for family, name in differing if name in recorded.get(family, ())]
    total = sum(map(len, recorded.values()))
    if not re.search(rf"^{total - len(known)} of {total} cases equal$", said, re.MULTILINE) or known != differing:
        raise RuntimeError(f"run_cases.sh did not judge the {total} recorded cases; it said: {said[-2000:]}")
    return [
        Cases(
            command=f"`{COMMANDS[family]}`",
            recorded=len(names),
            differing=tuple(name for of, name in differing if of == family),
        )
        for family, names in recorded.items()
    ]


def imread_cases() -> Cases:
    """Read an image of every recorded kind."""
    from test_imread import TABLE, is_as_recorded

    with TemporaryDirectory() as folder:
        differing = [name for name in TABLE if not is_as_recorded(name, Path(folder))]
    return Cases(command=READER, recorded=len(TABLE), differing=tuple(differing))


def prediction_of(reference: Path, net: str) -> Agreement:
    with TemporaryDirectory() as folder:
        model = recorded_model(reference, net, Path(folder))
        volumes = [recorded_volume(reference, net, volume) for volume in VOLUMES]
        return agreement_of(
            pair for data, expected in volumes for pair in foreground_pairs(predicted(model, data), expected)
        )


def errors_of_step(reference: Path, net: str) -> StepErrors:
    steps = reference / STEPS / net
    with TemporaryDirectory() as made:
        folder = Path(made)
        make_steps(steps, folder)
        expected = outputs(steps / "out.log")
        losses = [
            abs(train_from(folder, steps / f"{net}_classifer_iter_{k}.solverstate")[k, kind, 0] - expected[k, kind, 0])
            for k, kind in LOSSES
        ]
        return StepErrors(
            net=net,
            history=history_error(folder, steps, net),
            batch_norm=batch_norm_error(folder, steps, net),
            loss=max(losses),
        )
