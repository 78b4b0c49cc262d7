"""Which files a training reads, and where it writes: what a container must see of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdeep3m.errors import FormatError, MissingFileError
from cdeep3m.proto.prototxt import read_net, read_solver
from cdeep3m.system.files import text_with_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.message import Message

    from cdeep3m.engines.base import TrainJob
    from cdeep3m.proto.caffe_pb2 import SolverParameter

LISTS = ("data_source", "label_source", "source")
"""Fields of a layer that name a list of files, one a line."""

FILES = ("class_prob_mapping_file",)
"""Fields of a layer that name a file."""

MOST_LINES = 4
"""Of a name of a file."""


@dataclass(frozen=True)
class TrainingFiles:
    """What a training touches.

    Attributes
    ----------
    reads : tuple of Path
        Solver, nets, lists and what they list, snapshot and weights, as they are named.
    snapshots : Path
        The folder that gets the snapshots.
    max_iter : int
        The iteration at which it ends.
    """

    reads: tuple[Path, ...]
    snapshots: Path
    max_iter: int


def training_files(job: TrainJob) -> TrainingFiles:
    """Return the files of a training, absolute and as the solver and its nets name them.

    Raises
    ------
    MissingFileError
        One of them is not there; the message says who names it.
    FormatError
        A list is empty.
    """
    folder = job.folder.absolute()
    solver = read_solver(job.solver)
    nets = [_there(folder / name, job.solver) for name in _net_names(solver)]
    reads = [job.solver.absolute(), *nets]
    for net in nets:
        reads += _files_of(read_net(net), folder, net)
    for message in (solver.net_param, solver.train_net_param, *solver.test_net_param):
        reads += _files_of(message, folder, job.solver)
    start = [_there(path.absolute(), job.solver) for path in (job.snapshot, job.weights) if path]
    snapshots = (folder / f"{solver.snapshot_prefix}_").parent
    if not snapshots.is_dir():
        raise MissingFileError(f"the folder {snapshots} of snapshot_prefix in {job.solver} is not there; make it")
    return TrainingFiles(tuple(dict.fromkeys([*reads, *start])), snapshots, solver.max_iter)


def _net_names(solver: SolverParameter) -> list[str]:
    return [name for name in (solver.net, solver.train_net, *solver.test_net) if name]


def _files_of(net: Message, folder: Path, named_in: Path) -> list[Path]:
    """Return the files that the layers of `net` name, and those in their lists."""
    found = []
    for field, name in _strings(net):
        if field in FILES:
            found.append(_there(folder / name, named_in))
        elif field in LISTS:
            listing = _there(folder / name, named_in)
            found += [listing, *read_list(listing, folder)]
    return found


def listed_files(listing: Path, folder: Path) -> list[Path]:
    """Return the files that a list names, one a line; relative names count from `folder`, empty lines do not count.

    Names may hold line feeds: lines that are no file by themselves are one with those that follow, where that is one.
    """
    lines = text_with_names(listing).split("\n")
    found, at = [], 0
    while at < len(lines):
        ends = range(at + 1, min(len(lines), at + MOST_LINES) + 1)
        end = next((end for end in ends if (folder / "\n".join(lines[at:end]).strip()).is_file()), at + 1)
        name = "\n".join(lines[at:end]).strip()
        found += [folder / name] * bool(name)
        at = end
    return found


def read_list(listing: Path, folder: Path) -> list[Path]:
    """Read a list of files (train_file.txt), as `listed_files` does, and make sure that they are there.

    Parameters
    ----------
    listing : Path
    folder : Path
        Working folder of the training.

    Raises
    ------
    MissingFileError
        The list or a file in it is not there.
    FormatError
        The list is empty.
    """
    try:
        files = listed_files(listing, folder)
    except FileNotFoundError:
        raise MissingFileError(f"{listing} is not there; expected a list of .h5 files, one a line") from None
    if not files:
        raise FormatError(f"{listing} is empty; expected a list of .h5 files, one a line")
    return [_there(file, listing) for file in files]


def _strings(message: Message) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of every string in `message`, however deep."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        for item in values:
            if field.type == field.TYPE_STRING and item:
                yield field.name, item
            elif field.type == field.TYPE_MESSAGE:
                yield from _strings(item)


def _there(path: Path, named_in: Path) -> Path:
    if not path.is_file():
        raise MissingFileError(f"{path} is not there, but {named_in} needs it")
    return path
