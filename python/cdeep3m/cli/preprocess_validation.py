"""PreprocessValidation IMAGES LABELS OUT: make the validation stack."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, add_overwrite_option, exact_by_environment, rules_from, run
from cdeep3m.cli.preprocess_training_data import (
    FEWEST,
    INPUTS,
    confirm,
    describe_size,
    show_usage_as_success,
)
from cdeep3m.cli.volume_options import add_selection_options, address_of, refuse_selection

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Make the validation data for runtraining.sh --validation_dir: reads a volume and its labels and writes them as
validation_stack_v1.h5.

  SEC  -1: enhance the images, as the second edition does where nothing is said; anything else: take them as they are"""


USAGE = "%(prog)s [--exact] [--edition 1|2] [--debug] IMAGES LABELS [SEC] OUT"
WITH_SECONDARY = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    if exact_by_environment() and not (sys.argv[1:] if argv is None else argv):
        return show_usage_as_success(parser())
    made = parser()
    args = made.parse(argv)
    if len(args.words) not in (FEWEST, WITH_SECONDARY):
        made.error(f"found {len(args.words)} arguments; expected IMAGES LABELS OUT")
    if len(args.words) == WITH_SECONDARY and not rules_from(args).second_edition:
        _check_secondary(made, args.words[2])
    return run(lambda: preprocess(args), debug=args.debug)


def _check_secondary(made: CommandParser, word: str) -> None:
    """End with the usage where SEC is none; CDeep3M2 takes any word for 0."""
    from cdeep3m.training.volumes_given import SECONDARY

    if not SECONDARY.fullmatch(word):
        made.error(f"found {word}; expected IMAGES LABELS [SEC] OUT, with a number for SEC")


def parser() -> CommandParser:
    """Return the command's parser."""
    made = CommandParser("PreprocessValidation", exact=True, description=DESCRIPTION, epilog=INPUTS, usage=USAGE)
    made.fewest_of_edition_2 = FEWEST
    made.add_argument("words", nargs="*", metavar="IMAGES LABELS [SEC] OUT", help="what to read and write")
    add_selection_options(made)
    add_overwrite_option(made)
    return made


def preprocess(args: argparse.Namespace) -> None:
    """Read, check and write."""
    from cdeep3m.system.files import demand_apart

    rules = rules_from(args)
    images, labels, *secondary, out = args.words
    demand_apart(out, (images, labels))
    wanted = secondary[0] if secondary else "-1" if args.edition == 2 else "0"
    if rules.second_edition:
        from cdeep3m.training.as_edition_2 import write_validation_data
        from cdeep3m.training.volumes_given import Given

        refuse_selection(args)
        print(f"Wrote {write_validation_data(Given(images, labels, wanted), out, confirm=confirm)}")
        return
    from cdeep3m.runs.made_of import MadeOf, files_of
    from cdeep3m.training.data import load_labelled_volume, write_validation_stack
    from cdeep3m.training.file_names import VALIDATION
    from cdeep3m.volumes.enhancement import Enhancement

    named = address_of(images, args), address_of(labels, args, labels=True)
    made_of = MadeOf(
        kind=VALIDATION,
        settings={
            "images": files_of(named[0]),
            "labels": files_of(named[1]),
            "SEC": wanted,
            "--exact": str(rules.octave_images),
        },
        overwrite=args.overwrite,
        refuse=not rules.octave_images,
    )
    made_of.demand(out)
    data, label = load_labelled_volume(
        *named,
        rules=rules,
        same_size=False,
        confirm=confirm,
        scratch=out,
        enhancement=Enhancement() if wanted == "-1" else None,
    )
    print(f"Read {describe_size(data.shape)} of {images} with labels of {labels}", flush=True)
    made_of.claim(out)
    print(f"Wrote {write_validation_stack(out, data, label, rules=rules)}")


if __name__ == "__main__":
    sys.exit(main())
