"""`cdeep3m engines`: which engines can run here, and which images they may use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cdeep3m.engines.doctor import GpuFacts, Verdict
    from cdeep3m.engines.images import Image

DESCRIPTION = """\
Say of each engine whether it can run here, and what to do where it cannot.

  list                 the images that the docker engine knows, and what each is pinned to
  pin IMAGE [DIGEST]   run only what IMAGE is now (it is pulled where it is absent), or what DIGEST says
  unpin IMAGE          take what IMAGE is at the next run, and pin that

An image is pinned at its first run: another content under the same name is refused from then on.
"""

EXIT_CODES = "exit status: 0 done; 1 no engine can run here, wrong usage, or an error"

ACTIONS = ("check", "list", "pin", "unpin")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("cdeep3m engines", description=DESCRIPTION, epilog=EXIT_CODES)
    parser.add_argument(
        "--image", default="", metavar="NAME", help="image to look at (default: CDEEP3M_IMAGE, or ours)"
    )
    parser.add_argument("action", nargs="?", default="check", metavar="list|pin|unpin")
    parser.add_argument("name", nargs="?", default="", metavar="IMAGE")
    parser.add_argument("digest", nargs="?", default="", metavar="DIGEST")
    options = parser.parse(argv)
    if options.action not in ACTIONS:
        parser.error(f"{options.action!r} is none of {', '.join(ACTIONS)}")
    if options.action in ("pin", "unpin") and not options.name:
        parser.error(f"{options.action} needs the name of an image")
    if options.action in ("check", "list") and options.name:
        parser.error(f"{options.action} takes no {options.name!r}; --image names an image")
    commands = {"check": _check, "list": _list, "pin": _pin, "unpin": _unpin}
    return run(lambda: commands[options.action](options), debug=options.debug)


def _check(options: argparse.Namespace) -> int:
    from cdeep3m.engines.doctor import examine, gather_gpus
    from cdeep3m.engines.images import find_image
    from cdeep3m.engines.select import default_engine

    verdicts = examine(find_image(options.image))
    print(gpu_lines(gather_gpus()))
    print()
    for verdict in verdicts:
        print(lines_of(verdict))
    print(f"\n--engine auto is {default_engine()} here.")
    return 0 if any(verdict.usable for verdict in verdicts) else 1


def gpu_lines(facts: GpuFacts) -> str:
    """Return what is known of the GPUs, a line each."""
    if not facts.gpus:
        return f"GPUs: none{f'; {facts.problem}' if facts.problem else ''}"
    cuda = f"; the driver runs CUDA up to {'.'.join(map(str, facts.newest_cuda))}" if facts.newest_cuda else ""
    return "\n".join(f"{gpu}, {gpu.memory} MiB{cuda}" for gpu in facts.gpus)


def lines_of(verdict: Verdict) -> str:
    """Return a verdict as its user reads it.

    Examples
    --------
    >>> from cdeep3m.engines.doctor import Verdict
    >>> print(lines_of(Verdict("caffe", False, "", ("no tools: set CAFFE_PATH",))))
    caffe     not usable
              - no tools: set CAFFE_PATH
    """
    state = f"usable: {verdict.summary}" if verdict.usable else "not usable"
    return "\n".join([f"{verdict.engine:10}{state}", *(f"{'':10}- {remark}" for remark in verdict.remarks)])


def _list(_options: argparse.Namespace) -> None:
    from cdeep3m.engines.images import CATALOGUE, Image, Lock, config_folder, known_images

    lock = Lock()
    pins = lock.pins()
    known = known_images()
    others = [Image(name=name, reference=name) for name in pins if name not in {i.reference for i in known.values()}]
    for image in [*known.values(), *others]:
        print(describe(image, image.digest or pins.get(image.reference, "")))
    print(f"\nImages of your own: {config_folder() / CATALOGUE}\nPins: {lock.path}")


def describe(image: Image, pin: str) -> str:
    """Return an image's entry in the list."""
    versions = {"CUDA": image.cuda, "compute capability from": image.oldest, "up to": image.newest}
    needs = " ".join(f"{name} {'.'.join(map(str, number))}" for name, number in versions.items() if number)
    lines = [image.purpose, needs, f"pinned: {pin}" if pin else "not pinned: its first run, or `pin`, does it"]
    return "\n".join([image.name, *(f"    {line}" for line in lines if line)])


def _pin(options: argparse.Namespace) -> None:
    from cdeep3m.engines.images import Lock, find_image

    image, lock = find_image(options.name), Lock()
    if options.digest:
        lock.pin(image, options.digest)
    else:
        from cdeep3m.engines.docker.contents import digest_of, find, pull
        from cdeep3m.engines.docker.daemon import connect

        client = connect()
        lock.pin(image, digest_of(find(client, image) or pull(client, image), image.reference))
    print(f"{image.name} is {lock.pin_of(image)} from now on ({lock.path})")


def _unpin(options: argparse.Namespace) -> None:
    from cdeep3m.engines.images import Lock, find_image

    image, lock = find_image(options.name), Lock()
    if lock.unpin(image):
        print(f"{image.name} is pinned no longer; its next run pins what it is then")
    else:
        print(f"{image.name} was not pinned")


if __name__ == "__main__":
    sys.exit(main())
