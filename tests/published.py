"""A small published model: the folder of two compact nets, and archives of it."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

from cdeep3m.nets.prototxts import deploy
from cdeep3m.proto import caffemodel, prototxt
from random_nets import random_net

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 32
NETS = ("1fm", "3fm")


def make_published(folder: Path) -> Path:
    """Write deploy.prototxt and trained weights of two nets to `folder`; return it."""
    for net in NETS:
        message = deploy(net, width=WIDTH, sides=(48, 64))
        (folder / net / "trainedmodel").mkdir(parents=True)
        prototxt.write(folder / net / "deploy.prototxt", message)
        weights = folder / net / "trainedmodel" / f"{net}_classifer_iter_30000.caffemodel"
        caffemodel.write_model(weights, random_net(message).to_message())
    return folder


def archive_of(folder: Path, path: Path, *, top: str = "sbem_mitochondria") -> Path:
    """Archive `folder` under the name `top`; return the path of the archive."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        tar.add(folder, arcname=top)
    return path
