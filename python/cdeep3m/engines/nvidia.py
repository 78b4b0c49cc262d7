"""What nvidia-smi knows of this machine's GPUs and their driver."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass

Version = tuple[int, int]

FIELDS = ("index", "name", "memory.total", "driver_version", "compute_cap")
SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU.

    Attributes
    ----------
    index : int
        Its number in nvidia-smi.
    name : str
        Its model, "Tesla V100-SXM2-32GB".
    memory : int
        Its memory, MiB; 0 where it is not known.
    driver : str
        Version of the driver.
    capability : tuple of int, optional
        Its compute capability, (7, 0); old drivers do not tell.
    """

    index: int
    name: str
    memory: int
    driver: str
    capability: Version | None = None

    def __str__(self) -> str:
        capability = f", compute capability {dotted(self.capability)}" if self.capability else ""
        return f"GPU {self.index} ({self.name}{capability}, driver {self.driver})"


@dataclass(frozen=True, kw_only=True)
class TorchBuild:
    """What the PyTorch here was built for.

    Attributes
    ----------
    version : str
        Its version.
    cuda : tuple of int, optional
        Its CUDA; None: built for the CPU.
    architectures : tuple of (int, int)
        Compute capabilities that it has code for, ascending; empty where that is not known.
    devices : int
        How many GPUs it sees.
    threads : int
        How many threads it uses on the CPU.
    """

    version: str
    cuda: Version | None = None
    architectures: tuple[Version, ...] = ()
    devices: int = 0
    threads: int = 1


def ask(*arguments: str) -> tuple[int, str]:
    """Run nvidia-smi; return its exit status and what it says; 127 where there is none, 124 where it hangs."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return 127, ""
    try:
        done = subprocess.run([smi, *arguments], capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return 124, ""
    except OSError as error:
        return 126, str(error)
    return done.returncode, done.stdout + done.stderr


def list_gpus() -> list[Gpu]:
    """Return this machine's GPUs, none where nvidia-smi is absent or fails."""
    for fields in (FIELDS, FIELDS[:-1]):
        status, text = ask(f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
        if status == 0:
            return parse_gpus(text)
    return []


def parse_gpus(text: str) -> list[Gpu]:
    """Return the GPUs in what `nvidia-smi --query-gpu=... --format=csv,noheader,nounits` printed.

    Examples
    --------
    >>> print(*parse_gpus("0, Tesla V100-SXM2-32GB, 32510, 535.183.01, 7.0"))
    GPU 0 (Tesla V100-SXM2-32GB, compute capability 7.0, driver 535.183.01)
    """
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.count(",") >= 3]
    return [
        Gpu(
            index=int(row[0]),
            name=row[1],
            memory=int(row[2]) if row[2].isdigit() else 0,
            driver=row[3],
            capability=version(row[4]) if len(row) > 4 else None,
        )
        for row in rows
        if row[0].isdigit()
    ]


def visible_gpus() -> list[Gpu]:
    """Return the GPUs that programs see here, in the order in which they number them: CUDA_VISIBLE_DEVICES counts.

    Entries that are no numbers (UUIDs) stand for the GPU at their place; what follows a -1 is not seen, as CUDA has it.
    """
    gpus = list_gpus()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return gpus
    seen: list[Gpu] = []
    for place, entry in enumerate(name.strip() for name in chosen.split(",")):
        index = int(entry) if re.fullmatch(r"-?\d+", entry) else place if entry else -1
        if not 0 <= index < len(gpus):
            break
        seen.append(gpus[index])
    return seen


def driver_problem() -> str:
    """Return why nvidia-smi, which is there, cannot list GPUs; empty where it can, or where there is none."""
    status, text = ask("-L")
    if status in (0, 127):
        return ""
    said = " ".join(text.split()) or f"nvidia-smi ended with status {status}"
    return f"the NVIDIA driver does not work here ({said}): reinstall it, or restart the machine after an update"


def newest_cuda() -> Version | None:
    """Return the newest CUDA that the driver can run, None where it is not known."""
    status, text = ask()
    return parse_newest_cuda(text) if status == 0 else None


def parse_newest_cuda(text: str) -> Version | None:
    """Return the CUDA version in the heading of what nvidia-smi printed.

    Examples
    --------
    >>> parse_newest_cuda("| NVIDIA-SMI 535.183.01  Driver Version: 535.183.01  CUDA Version: 12.2 |")
    (12, 2)
    """
    match = re.search(r"CUDA Version:\s*([\d.]+)", text)
    return version(match[1]) if match else None


def version(text: str | None) -> Version | None:
    """Return "12.4" as numbers, None for what is no version.

    Examples
    --------
    >>> version("12.4"), version("9"), version("[N/A]")
    ((12, 4), (9, 0), None)
    """
    match = re.match(r"(\d+)(?:\.(\d+))?", text or "")
    return (int(match[1]), int(match[2] or 0)) if match else None


def dotted(number: Version) -> str:
    """Return a version as people write it.

    Examples
    --------
    >>> dotted((7, 0))
    '7.0'
    """
    return ".".join(map(str, number))
