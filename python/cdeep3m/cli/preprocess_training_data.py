"""PreprocessTrainingData IMAGES LABELS OUT: make the 16 training stacks."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, add_overwrite_option, exact_by_environment, rules_from, run
from cdeep3m.cli.volume_options import add_selection_options, address_of, refuse_selection

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cdeep3m.rules import Rules
    from cdeep3m.training.volumes_given import Given

DESCRIPTION = """\
Make the training data for runtraining.sh: reads volumes and their labels and writes each in 16 orientations, as
training_full_stacks_v1.h5 to _v16.h5; with SEC, TER or several volumes as training_full_stacks_v<volume>_<1..16>.h5.

  SEC  -1: enhance the images (contrast, denoising), as the second edition does where nothing is said; 0: take them as
       they are; 1 to 10: strength of the secondary augmentation; or an .ini file of strengths (augconfig.py)
  TER  0 to 10: strength of the tertiary augmentation (resizing)"""

USAGE = "%(prog)s [--exact] [--edition 1|2] [--seed N] [--debug] IMAGES LABELS [SEC [TER]] ... OUT"
FEWEST = 3

INPUTS = """\
IMAGES and LABELS are folders of .png or .tif files with one plane each, .tif or .tiff stacks, or .h5 files with one
dataset of shape (x, y, z). Images are 8- or 16-bit gray. Labels hold 0 for background and one other value for
foreground. Sides shorter than 325 pixels are filled with zeros."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    if exact_by_environment() and not (sys.argv[1:] if argv is None else argv):
        return show_usage_as_success(parser())
    made = parser()
    args = made.parse(argv)
    if len(args.words) < FEWEST:
        made.error("too few arguments; expected IMAGES LABELS OUT")
    if problem := _problem_with(args.words):
        made.error(problem)
    return run(lambda: preprocess(args), debug=args.debug)


def _problem_with(words: Sequence[str]) -> str:
    """Return what is wrong with the arguments; empty when they can be taken apart."""
    from cdeep3m.errors import InputError
    from cdeep3m.training.volumes_given import volumes_given

    try:
        volumes_given(words, default="0")
    except InputError as error:
        return str(error)
    return ""


def parser() -> CommandParser:
    """Return the command's parser."""
    made = CommandParser("PreprocessTrainingData", exact=True, description=DESCRIPTION, epilog=INPUTS, usage=USAGE)
    made.fewest_of_edition_2 = FEWEST
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of the augmentations (default: 0)")
    made.add_argument("words", nargs="*", metavar="IMAGES LABELS [SEC [TER]] ... OUT", help="what to read and write")
    add_selection_options(made)
    add_overwrite_option(made)
    return made


def preprocess(args: argparse.Namespace) -> None:
    """Read, check and write."""
    from cdeep3m.errors import InputError
    from cdeep3m.rules import ORIGINAL
    from cdeep3m.runs.made_of import STACKS, MadeOf, files_of
    from cdeep3m.system.files import demand_apart
    from cdeep3m.tiling.variants import VARIANTS
    from cdeep3m.training.file_names import TRAINING
    from cdeep3m.training.volumes_given import SECONDARY, volumes_given

    rules = rules_from(args)
    volumes, out = volumes_given(args.words, default="-1" if args.edition == 2 else "0")
    if rules is ORIGINAL and len(args.words) > FEWEST:
        raise InputError("release 1.6.3 takes IMAGES LABELS OUT alone; leave out --exact, or name --edition 2")
    if args.edition == 2 and SECONDARY.fullmatch(out):
        raise InputError(f"{out} is a strength to CDeep3M2, and no OUT follows; name a folder (./{out} for this one)")
    demand_apart(out, [path for given in volumes for path in (given.images, given.labels)])
    if rules.second_edition:
        from cdeep3m.training.as_edition_2 import chance_of, write_training_data

        refuse_selection(args)
        count = write_training_data(volumes, out, chance=chance_of(args.seed), confirm=confirm)
    elif args.edition == 1 and len(args.words) == FEWEST:
        _as_the_first_edition(args, rules)
        return
    else:
        from cdeep3m.training.volume_files import write_volumes

        volumes = [_selected(given, args) for given in volumes]
        made_of = MadeOf(
            kind=TRAINING,
            settings={
                "images": files_of(*(given.images for given in volumes)),
                "labels": files_of(*(given.labels for given in volumes)),
                "SEC and TER": ", ".join(f"{given.secondary} {given.tertiary}" for given in volumes),
                "--seed": str(args.seed),
                STACKS: str(len(volumes) * len(VARIANTS)),
            },
            overwrite=args.overwrite,
        )
        made_of.demand(out)
        count = write_volumes(volumes, out, seed=args.seed, begin=lambda names: made_of.claim(out, writes=names))
    print(f"Wrote {count} training stacks of {len(volumes)} volume{'s' * (len(volumes) > 1)} to {out}")


def _selected(given: Given, args: argparse.Namespace) -> Given:
    """Return a volume with the part of it that the options choose."""
    images, labels = (str(path) for path in (given.images, given.labels))
    return replace(given, images=address_of(images, args), labels=address_of(labels, args, labels=True))


def _as_the_first_edition(args: argparse.Namespace, rules: Rules) -> None:
    from cdeep3m.runs.gray_range import write_range
    from cdeep3m.runs.made_of import STACKS, MadeOf, files_of
    from cdeep3m.system.files import LEFT_TO_SYSTEM
    from cdeep3m.training.data import STACK_FILES, load_labelled_volume, training_range, write_training_stacks
    from cdeep3m.training.file_names import TRAINING

    images_word, labels_word, out = args.words
    images, labels = address_of(images_word, args), address_of(labels_word, args, labels=True)
    made_of = MadeOf(
        kind=TRAINING,
        settings={
            "images": files_of(images),
            "labels": files_of(labels),
            "--exact": str(rules.octave_images),
            STACKS: "16",
        },
        overwrite=args.overwrite,
        refuse=not rules.octave_images,
    )
    made_of.demand(out)
    data, label = load_labelled_volume(images, labels, rules=rules, confirm=confirm, scratch=out)
    print(f"Read {describe_size(data.shape)} of {images_word} with labels of {labels_word}", flush=True)
    made_of.claim(out, writes=STACK_FILES.values())
    found = training_range(images, labels, data)
    files = write_training_stacks(out, data, label, rules=rules, put_back=False)
    write_range(Path(out), found, naming=LEFT_TO_SYSTEM)  # as the stacks are
    print(f"Wrote {len(files)} training stacks to {out}")


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
