"""Which weights belong to a solver state: one rule for whoever checks, loads, copies or mounts them."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

from cdeep3m.errors import MissingFileError
from cdeep3m.proto.caffemodel import read_state

SUFFIX = ".caffemodel"


def learned_net(state: Path, *, folder: Path = Path()) -> Path:
    """Return the .caffemodel that belongs to a .solverstate.

    The file beside the state that has the recorded name comes first: a run that was copied or moved goes on from its
    own files, whatever has become of those that it was copied from. Then the recorded path counts, then the file
    beside the state that has the state's own name.

    Parameters
    ----------
    state : Path
        The .solverstate; the path that it records may be one of another machine.
    folder : Path
        What a relative recorded path counts from.

    Raises
    ------
    MissingFileError
        The state or its weights are not there.
    FormatError
        The state is damaged.
    """
    recorded = read_state(state).learned_net
    beside = state.parent / PureWindowsPath(recorded).name
    candidates = [beside, folder / recorded] if recorded else []
    for candidate in (*candidates, state.with_suffix(SUFFIX)):
        if candidate.is_file():
            return candidate
    raise MissingFileError(
        f"{beside if recorded else candidate} is not there; {state.name} goes on from it. Copy it beside the state"
    )
