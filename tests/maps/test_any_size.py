"""A volume of 1 TB takes the memory of one of 1 GB: it has no stored chunks, so that it needs no disk."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tensorstore")

COPY = """
import sys
import tensorstore as ts
from cdeep3m.maps import copying
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.axes import Selection

side, folder, boxes = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
ts.open(
    {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/virtual.zarr/"},
     "metadata": {"shape": [side] * 3, "data_type": "uint8",
                  "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64] * 3}}}},
    create=True,
).result()

class Enough(Exception):
    pass

def report(done, total):
    if done == boxes:
        # Not ru_maxrss, which begins with what the process that started this one had.
        print(total, next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
        raise Enough

try:
    copying.convert(f"{folder}/virtual.zarr", f"{folder}/copy.zarr", selection=Selection(axes="zyx"), report=report)
except Enough:
    pass
"""


def copied(side: int, folder: Path) -> tuple[int, int]:
    """Boxes of the whole copy, and the largest memory in KB while the first of them are made."""
    folder.mkdir()
    command = [sys.executable, "-c", COPY, str(side), str(folder), "8"]
    total, memory = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240).stdout.split()
    return int(total), int(memory)


@pytest.mark.slow
def test_a_terabyte_takes_the_memory_of_a_gigabyte(tmp_path: Path) -> None:
    small, large = copied(1000, tmp_path / "small"), copied(10_000, tmp_path / "large")
    assert large[0] > 900 * small[0] > 0
    assert large[1] < 1.15 * small[1]
