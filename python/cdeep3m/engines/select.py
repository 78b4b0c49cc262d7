"""Which engine runs a command: what `--engine`, CDEEP3M_ENGINE and CAFFE_PATH say."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.engines.base import CPU
from cdeep3m.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.engines.base import Engine

ENGINES = ("auto", "embedded", "caffe", "docker")
"""What `--engine` accepts."""


def select_engine(
    name: str = "auto", *, gpu: str = "all", image: str = "", memory: str | None = None
) -> tuple[Engine, list[int]]:
    """Return the engine to use and the GPU numbers to use it on.

    Parameters
    ----------
    name : str
        One of `ENGINES`. "auto" takes "docker" where an image is given, else CDEEP3M_ENGINE, else "caffe" where
        CAFFE_PATH is set, else "embedded".
    gpu : str
        "all", a GPU number, or -1 for the CPU.
    image, memory : str, optional
        Which image the docker engine takes, and the most memory of its containers.

    Returns
    -------
    Engine, list of int
        The GPU numbers are `[CPU]` where the engine runs on the CPU.

    Raises
    ------
    EngineError
        Unknown name, or what stops the engine here.
    """
    name = _resolve("docker" if name == "auto" and image else name)
    if name != "docker" and (image or memory):
        raise EngineError(f"--{'image' if image else 'memory'} is for --engine docker; the engine here is {name}")
    engine = docker_engine(image, memory=memory) if name == "docker" else _make(name)
    if stops := engine.check():
        raise EngineError("; ".join(stops))
    return engine, _gpus(engine, gpu)


def select_caffe(place: str, *, gpu: str = "all") -> tuple[Engine, list[int]]:
    """Return a real Caffe that predicts, and the GPU numbers to use it on.

    Parameters
    ----------
    place : str
        Folder of a Caffe, or the name of a container image that holds one.
    gpu : str
        "all", a GPU number, or -1 for the CPU.

    Returns
    -------
    Engine, list of int
        The GPU numbers are `[CPU]` where the engine runs on the CPU.

    Raises
    ------
    EngineError
        There is no Caffe, or what stops it here.
    """
    from cdeep3m.engines.local import LocalCaffe

    engine = LocalCaffe.at(Path(place)) if Path(place).exists() else _caffe_in_image(place)
    return engine, _gpus(engine, gpu)


def _caffe_in_image(image: str) -> Engine:
    engine = docker_engine(image)
    if stops := engine.check():
        raise EngineError(f"there is no folder {image}, and no image of that name can run: {'; '.join(stops)}")
    return engine


def default_engine() -> str:
    """Return the name of the engine that "auto" means here."""
    return _resolve("auto")


def docker_engine(image: str = "", *, memory: str | None = None) -> Engine:
    """Return the engine that runs the Caffe of an image; default: CDEEP3M_IMAGE, or this project's own."""
    from cdeep3m.engines.docker.engine import DockerCaffe
    from cdeep3m.engines.images import find_image

    return DockerCaffe(find_image(image), memory=memory)


def _resolve(name: str) -> str:
    if name == "auto":
        name = os.environ.get("CDEEP3M_ENGINE") or ("caffe" if os.environ.get("CAFFE_PATH") else "embedded")
    if name not in ENGINES or name == "auto":
        raise EngineError(f"no engine is called {name!r}; choose one of {', '.join(ENGINES)}")
    return name


def _make(name: str) -> Engine:
    if name == "caffe":
        from cdeep3m.engines.local import LocalCaffe

        return LocalCaffe.from_environment()
    demand_torch()
    from cdeep3m.engines.embedded.engine import EmbeddedEngine

    return EmbeddedEngine()


def demand_torch() -> None:
    """Raise EngineError unless the embedded engine has the PyTorch that it needs; without loading it."""
    if importlib.util.find_spec("torch") is None:
        raise EngineError("the embedded engine needs PyTorch: pip install 'cdeep3m[embedded]'")


def _gpus(engine: Engine, gpu: str) -> list[int]:
    if gpu == "all":
        return list(engine.gpus()) or [CPU]
    try:
        return [int(gpu)]
    except ValueError:
        raise EngineError(f"--gpu {gpu!r} is no GPU: expected 'all' or a number (-1 is the CPU)") from None


def names(engines: Sequence[str] = ENGINES) -> str:
    """Return the engine names as help texts list them."""
    return "|".join(engines)
