"""`cdeep3m COMMAND ...`: one name for everything that new users need."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from cdeep3m import __version__
from cdeep3m.cli.common import CALLED, run
from cdeep3m.cli.streams import settle
from cdeep3m.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "train": ("cdeep3m.cli.train", "train nets on images and labels"),
    "predict": ("cdeep3m.cli.predict", "probability maps of images with a trained model"),
    "convert": ("cdeep3m.cli.convert", "a volume of one format becomes one of another"),
    "preprocess": ("cdeep3m.cli.preprocess_training_data", "images and labels to the HDF5 files of runtraining.sh"),
    "ensemble": ("cdeep3m.cli.ensemble_predictions", "average the probability maps of several nets"),
    "objects": ("cdeep3m.cli.objects", "label, count and measure the objects of probability maps"),
    "score": ("cdeep3m.cli.score", "score probability maps or objects against labels"),
    "report": ("cdeep3m.cli.report", "one page about a training or a prediction, to look at and to mail"),
    "estimate": ("cdeep3m.cli.estimate", "time, memory, disk and cost of a training or a prediction beforehand"),
    "status": ("cdeep3m.cli.status", "what runs here, how far it is, and when it will be done"),
    "validate": ("cdeep3m.cli.runvalidation", "plot loss and accuracy of a training from its log"),
    "models": ("cdeep3m.cli.models", "describe, list, fetch and check trained models"),
    "fidelity": ("cdeep3m.cli.fidelity", "compare the embedded engine with a real Caffe on your model and images"),
    "engines": ("cdeep3m.cli.engines", "which engines can run here, and which images they use"),
    "demo": ("cdeep3m.cli.demo", "train, predict and score on a synthetic volume"),
}
"""Name of each command: its module, whose `main(argv)` returns the exit status, and what it is for."""


def usage() -> str:
    """Return the help text."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {purpose}" for name, (_, purpose) in COMMANDS.items())
    return (
        "usage: cdeep3m [-h] [--version] COMMAND ...\n\n"
        "The commands and the trained models of CDeep3M, on today's machines.\n\n"
        f"commands (cdeep3m COMMAND --help says more):\n{commands}\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names; return its exit status."""
    settle()
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if name in ("-h", "--help", "help"):
        return run(lambda: print(usage(), end=""), debug=False)
    if name == "--version":
        return run(lambda: print(f"cdeep3m {__version__}"), debug=False)
    if name not in COMMANDS:
        found = f"no command {printable(repr(name))}" if name else "no command given"
        print(f"{usage()}\ncdeep3m: {found}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 1
    called = CALLED.set(f"cdeep3m {name}")
    try:
        status: int = import_module(COMMANDS[name][0]).main(rest)
    finally:
        CALLED.reset(called)
    return status


if __name__ == "__main__":
    sys.exit(main())
