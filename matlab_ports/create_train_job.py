"""What a training's folder is told about its files (CreateTrainJob.m).

No deviations.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TRAINING_STACKS = 16
"""Files that a training needs: one per variant."""


def bytewise(paths: Iterable[str]) -> list[str]:
    """Return `paths` sorted as their bytes, the order in which the original lists files.

    Examples
    --------
    >>> bytewise(["v1.h5", "v2.h5", "v10.h5"])
    ['v1.h5', 'v10.h5', 'v2.h5']
    """
    return sorted(paths, key=os.fsencode)


def list_file(paths: Iterable[str]) -> str:
    """Return the content of train_file.txt or valid_file.txt: a path a line, bytewise order.

    Examples
    --------
    >>> list_file(["/aug/v2.h5", "/aug/v10.h5"]).split()
    ['/aug/v10.h5', '/aug/v2.h5']
    """
    return "".join(f"{path}\n" for path in bytewise(paths))


def snapshot_name(net: str) -> str:
    """Return what the names of a net's snapshots begin with; "classifer" is spelled so in every published model.

    Examples
    --------
    >>> snapshot_name("3fm")
    '3fm_classifer'
    """
    return f"{net}_classifer"


def snapshot_prefix(out: str, net: str) -> str:
    """Return where the snapshots of a net go, and what their names begin with.

    Examples
    --------
    >>> snapshot_prefix("/out", "3fm")
    '/out/3fm/trainedmodel/3fm_classifer'
    """
    return os.path.join(out, net, "trainedmodel", snapshot_name(net))
