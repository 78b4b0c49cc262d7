"""PreprocessTrainingData IMAGES LABELS OUT: make the 16 training stacks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, exact_by_environment, rules_from, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Make the training data for runtraining.sh: reads a volume and its labels and writes them in 16 orientations as
training_full_stacks_v1.h5 to _v16.h5."""

INPUTS = """\
IMAGES and LABELS are folders of .png or .tif files with one plane each, .tif or .tiff stacks, or .h5 files with one
dataset of shape (x, y, z). Images are 8- or 16-bit gray. Labels hold 0 for background and one other value for
foreground. Sides shorter than 325 pixels are filled with zeros."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    if exact_by_environment() and not (sys.argv[1:] if argv is None else argv):
        return show_usage_as_success(parser())
    args = parser().parse(argv)
    return run(lambda: preprocess(args), debug=args.debug)


def parser() -> CommandParser:
    """Return the command's parser."""
    made = CommandParser("PreprocessTrainingData", exact=True, description=DESCRIPTION, epilog=INPUTS)
    made.add_argument("images", metavar="IMAGES", help="the volume")
    made.add_argument("labels", metavar="LABELS", help="its labels, of the same size")
    made.add_argument("out", metavar="OUT", help="folder to write to; made when it is missing")
    return made


def preprocess(args: argparse.Namespace) -> None:
    """Read, check and write."""
    from cdeep3m.training.data import load_labelled_volume, write_training_stacks

    data, label = load_labelled_volume(
        args.images, args.labels, rules=rules_from(args), confirm=confirm, scratch=args.out
    )
    print(f"Read {describe_size(data.shape)} of {args.images} with labels of {args.labels}", flush=True)
    files = write_training_stacks(args.out, data, label, rules=rules_from(args))
    print(f"Wrote {len(files)} training stacks to {args.out}")


def describe_size(shape: tuple[int, ...]) -> str:
    """Return the size of a (z, y, x) volume in words."""
    z, y, x = shape
    return f"{z} plane{'s' * (z != 1)} of {x} x {y} pixels"


def confirm(question: str) -> None:
    """Ask a question of the original's on standard input: any line goes on, its end stops.

    Raises
    ------
    InputError
        When there is no line to read.
    """
    from cdeep3m.errors import InputError

    try:
        input(f"{question} Enter to go on, Ctrl-C to stop: ")
    except EOFError:
        print()
        raise InputError(f"{question} Nobody answered") from None


def show_usage_as_success(made: CommandParser) -> int:
    """Print the usage and return 0, as PreprocessTrainingData.m does without arguments (exact mode only)."""
    made.print_usage(sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
