"""Check everything that runs on a GPU in a few minutes, on a machine without a network if need be.

Writes gpu-check.json and gpu-check.md after every part. From the project's folder:

    make gpu-check
    PYTHONPATH=tests python -m gpu_check --minutes 8 --out build/gpu-check --sample ../mito_testsample
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.base import CPU
from cdeep3m.engines.nvidia import ask
from gpu_check.findings import Report
from gpu_check.parts import PARTS, Check

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parents[2]
PACKAGES = ("torch", "triton", "numpy", "h5py", "protobuf", "pillow", "tifffile")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts; 0 when all that was found is within its bounds."""
    options = parser().parse_args(argv)
    gpu = 0 if torch.cuda.is_available() else CPU
    if gpu == CPU and not options.small:
        print("ERROR, PyTorch sees no CUDA device here: nothing to check", file=sys.stderr)
        return 1
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as for those who install them
    report = Report(options.out, machine())
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        check = Check(
            folder=Path(folder),
            gpu=gpu,
            small=options.small,
            reference=options.reference if options.reference.is_dir() else None,
            sample=options.sample,
            until=time.monotonic() + 60 * options.minutes,
            training=60 * options.training,
        )
        for name in options.parts.split(","):
            run(name, check, report)
    print(report.table())
    return 0 if all(finding.met is not False for finding in report.findings) else 2


def run(name: str, check: Check, report: Report) -> None:
    """Run a part, and keep what it found even when it fails in the middle."""
    begin, found = time.monotonic(), []
    problem = "" if check.left > 0 else "no time was left"
    try:
        for finding in () if problem else PARTS[name](check):
            print(
                f"{name}: {finding.name} {finding.value:.4g} {finding.unit} {finding.note}", file=sys.stderr, flush=True
            )
            found.append(finding)
    except Exception as error:  # the other parts are worth running all the same
        problem = f"{type(error).__name__}: {error}"
        traceback.print_exc()
    report.add(name, found, begin, problem)
    print(f"{name}: {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)


def machine() -> dict[str, object]:
    """Return what this runs on."""
    said = {"python": platform.python_version(), "cuda": torch.version.cuda, "date": time.strftime("%Y-%m-%d %H:%M")}
    said |= {name: _version(name) for name in PACKAGES}
    if torch.cuda.is_available():
        status, driver = ask("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader", "--id=0")
        said["gpu"] = driver.strip() if status == 0 else torch.cuda.get_device_name(0)
        said["cudnn"] = torch.backends.cudnn.version()
    return said


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="gpu_check", description=__doc__.split("\n", 1)[0])
    made.add_argument("--out", type=Path, default=HERE / "build" / "gpu-check")
    made.add_argument("--minutes", type=float, default=8, help="when to be done; default: 8")
    made.add_argument("--training", type=float, default=5, help="minutes of training on the sample; default: 5")
    made.add_argument("--parts", default=",".join(PARTS), help="comma-separated, in order; default: %(default)s")
    made.add_argument("--reference", type=Path, default=HERE.parent / "shared" / "reference", help="Caffe's recordings")
    made.add_argument("--sample", type=Path, help="labelled micrographs to train on")
    made.add_argument("--small", action="store_true", help="tiny nets, on the CPU too: runs the code, measures nothing")
    return made


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


if __name__ == "__main__":
    sys.exit(main())
