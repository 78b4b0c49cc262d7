"""PreprocessValidation IMAGES LABELS OUT: make the validation stack."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, exact_by_environment, rules_from, run
from cdeep3m.cli.preprocess_training_data import INPUTS, confirm, describe_size, show_usage_as_success

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Make the validation data for runtraining.sh --validation_dir: reads a volume and its labels and writes them as
validation_stack_v1.h5."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    if exact_by_environment() and not (sys.argv[1:] if argv is None else argv):
        return show_usage_as_success(parser())
    args = parser().parse(argv)
    return run(lambda: preprocess(args), debug=args.debug)


def parser() -> CommandParser:
    """Return the command's parser."""
    made = CommandParser("PreprocessValidation", exact=True, description=DESCRIPTION, epilog=INPUTS)
    made.add_argument("images", metavar="IMAGES", help="the volume")
    made.add_argument("labels", metavar="LABELS", help="its labels, of the same size")
    made.add_argument("out", metavar="OUT", help="folder to write to; made when it is missing")
    return made


def preprocess(args: argparse.Namespace) -> None:
    """Read, check and write."""
    from cdeep3m.training.data import load_labelled_volume, write_validation_stack

    data, label = load_labelled_volume(
        args.images, args.labels, rules=rules_from(args), same_size=False, confirm=confirm, scratch=args.out
    )
    print(f"Read {describe_size(data.shape)} of {args.images} with labels of {args.labels}", flush=True)
    print(f"Wrote {write_validation_stack(args.out, data, label, rules=rules_from(args))}")


if __name__ == "__main__":
    sys.exit(main())
