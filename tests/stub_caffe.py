"""Caffe's two tools as shell scripts that record how they are called, and behave as a test says.

Each call adds a line to `calls`: the tool, its arguments, and GLOG_log_dir. Before it does anything a tool reads shell
code from `behaviour`, in which $here is the tools' folder and $solver or $data what the tool works on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.volumes.hdf5 import write_datasets

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = """#!/bin/sh
here=$(dirname "$0")
echo "$(basename "$0") $* GLOG_log_dir=$GLOG_log_dir" >> "$here/calls"
for word in "$@"; do
    case $word in
        --solver=*) solver=${word#*=} ;;
        --data=*) data=${word#*=} ;;
        --predict=*) predict=${word#*=} ;;
    esac
done
echo "written by glog itself" > "${GLOG_log_dir:-/tmp}/$(basename "$0").INFO"
echo "I1122 17:47:32.295583  5892 caffe.cpp:185] Using GPUs 0" >&2
[ -e "$here/behaviour" ] && . "$here/behaviour"
"""

TRAIN = """
prefix=$(sed -n 's/^snapshot_prefix: "\\(.*\\)"/\\1/p' "$solver")
last=$(sed -n 's/^max_iter: \\([0-9]*\\).*/\\1/p' "$solver")
echo "I1122 17:47:32.295583  5892 solver.cpp:237] Iteration 0, loss = 0.7"
echo weights > "${prefix}_iter_$last.caffemodel"
echo state > "${prefix}_iter_$last.solverstate"
"""

PREDICT = """
for plane in $(seq 0 $(($(cat "$here/planes") - 1))); do
    ln "$here/plane.h5" "${predict}_shift_$plane.h5"
done
"""

GPUS = """#!/bin/sh
case $* in
    *index,name*) for gpu in $(seq 0 $(({count} - 1))); do echo "$gpu, Stub GPU, 32510, 535.183.01, 7.0"; done ;;
esac
"""


class StubCaffe:
    """The tools in the folder `<root>/.build_release/tools`.

    Attributes
    ----------
    root : Path
        What CAFFE_PATH names.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.tools = root, root / ".build_release" / "tools"
        self.tools.mkdir(parents=True)
        self.predicts(planes=7)
        for name, work in (("caffe.bin", TRAIN), ("predict_seg_new.bin", PREDICT)):
            executable(self.tools / name, BEGIN + work)

    def behaves(self, code: str) -> None:
        """Run shell code at the start of every call."""
        (self.tools / "behaviour").write_text(code)

    def predicts(self, *, planes: int, side: int = 1024) -> None:
        """Predict so many planes of every stack, each 0.5 everywhere."""
        (self.tools / "planes").write_text(str(planes))
        write_datasets(self.tools / "plane.h5", {"data": np.full((1, 2, side, side), 0.5, np.float32)})

    def calls(self) -> list[list[str]]:
        """Tool, arguments and GLOG_log_dir of every call so far."""
        calls = self.tools / "calls"
        return [line.split() for line in calls.read_text().splitlines()] if calls.exists() else []

    def passed(self, flag: str) -> list[str]:
        """Values of a flag in all calls, sorted."""
        words = (word for call in self.calls() for word in call)
        return sorted(word.removeprefix(f"{flag}=") for word in words if word.startswith(f"{flag}="))


def stub_gpus(folder: Path, count: int) -> None:
    """Write an nvidia-smi that lists so many GPUs."""
    executable(folder / "nvidia-smi", GPUS.replace("{count}", str(count)))


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
