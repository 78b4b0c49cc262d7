"""What is made of nvidia-smi's output, on machines of several ages."""

from __future__ import annotations

import pytest

from cdeep3m.engines import nvidia
from cdeep3m.engines.nvidia import Gpu

TWO = "0, Tesla V100-SXM2-32GB, 32510, 535.183.01, 7.0\n1, NVIDIA GeForce GTX 1080, 8192, 535.183.01, 6.1\n"
OLD = "0, Tesla K80, 11441, 396.44\n"
HEADING = (
    "+---------------------------------------------------------------------------------------+\n"
    "| NVIDIA-SMI 535.183.01             Driver Version: 535.183.01   CUDA Version: 12.2     |\n"
)
OLD_HEADING = "| NVIDIA-SMI 396.44                 Driver Version: 396.44                    |\n"
BROKEN = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n\n"
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.90\n"


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """A function that puts an nvidia-smi on PATH, which answers as a shell script says."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def make(script: str) -> None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}")
        (tmp_path / "nvidia-smi").chmod(0o755)

    return make


def answering(text: str, status: int = 0) -> str:
    return f"echo '{text.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'; exit {status}\n"


def test_gpus_are_listed_with_all_that_is_known(smi):
    smi(answering(TWO))
    assert nvidia.list_gpus() == [
        Gpu(index=0, name="Tesla V100-SXM2-32GB", memory=32510, driver="535.183.01", capability=(7, 0)),
        Gpu(index=1, name="NVIDIA GeForce GTX 1080", memory=8192, driver="535.183.01", capability=(6, 1)),
    ]


def test_old_driver_that_knows_no_capability_is_asked_without(smi):
    smi(
        'case "$1" in *compute_cap*) echo \'Field "compute_cap" is not a valid field to query.\'; exit 2;; esac\n'
        + answering(OLD)
    )
    assert nvidia.list_gpus() == [Gpu(index=0, name="Tesla K80", memory=11441, driver="396.44")]


def test_values_that_are_not_available_are_unknown(smi):
    smi(answering("0, GRID A100, [N/A], 535.1, [N/A]"))
    assert nvidia.list_gpus() == [Gpu(index=0, name="GRID A100", memory=0, driver="535.1")]


@pytest.mark.parametrize(("heading", "cuda"), [(HEADING, (12, 2)), (OLD_HEADING, None)])
def test_newest_cuda_is_in_the_heading(smi, heading, cuda):
    smi(answering(heading))
    assert nvidia.newest_cuda() == cuda


@pytest.mark.parametrize(("said", "status"), [(BROKEN, 9), (MISMATCH, 18), ("", 255)])
def test_driver_that_does_not_work_is_told_in_one_line(smi, said, status):
    smi(answering(said, status))
    assert nvidia.list_gpus() == []
    assert nvidia.driver_problem().startswith("the NVIDIA driver does not work here")
    assert "\n" not in nvidia.driver_problem()


def test_machine_without_nvidia_smi_has_no_gpu_and_no_problem(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (nvidia.list_gpus(), nvidia.driver_problem(), nvidia.newest_cuda()) == ([], "", None)


def test_nvidia_smi_that_hangs_is_given_up(smi, monkeypatch):
    monkeypatch.setattr(nvidia, "SECONDS", 0.2)
    smi("exec /bin/sleep 60\n")
    assert nvidia.list_gpus() == []


@pytest.mark.parametrize(
    ("visible", "seen"), [("1", [1]), ("1,0", [1, 0]), ("", []), ("-1", []), ("0,-1,1", [0]), ("GPU-5fa0,1", [0, 1])]
)
def test_programs_see_what_cuda_visible_devices_leaves_them(smi, monkeypatch, visible, seen):
    smi(answering(TWO))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.index for gpu in nvidia.visible_gpus()] == seen
