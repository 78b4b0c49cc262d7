"""The options that choose what runs the nets, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add --gpu, --engine, and what belongs to the docker engine."""
    parser.add_argument("--gpu", default="all", metavar="all|N", help="GPU to use; -1 is the CPU (default: all)")
    parser.add_argument(
        "--engine", default="auto", metavar="NAME", help="auto, embedded, caffe or docker (default: auto)"
    )
    parser.add_argument(
        "--image", metavar="NAME", help="image whose Caffe runs the nets: --engine docker (also: CDEEP3M_IMAGE)"
    )
    parser.add_argument("--memory", metavar="LIMIT", help="most memory of a container, such as 16g (default: all)")


def container_options(options: argparse.Namespace) -> dict[str, str]:
    """Return what `add_engine_options` parsed for the docker engine, as `select_engine` takes it."""
    given = {"image": options.image, "memory": options.memory}
    return {name: value for name, value in given.items() if value is not None}
