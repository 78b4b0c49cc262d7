"""`cdeep3m models`: what trained models hold, which are published, and how they come here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.errors import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cdeep3m.models.info import FileInfo, LayerInfo
    from cdeep3m.models.verify import NetReport
    from cdeep3m.nets.fits import Fit

DESCRIPTION = """\
Trained models: what they hold, which ones are published, and whether they are whole.

  info PATH            say what a .caffemodel, .solverstate, .prototxt or a training folder holds
  list                 name the published models
  fetch MODEL [OUT]    bring a model here: a name of the list, an address of an archive, or an archive on a disk;
                       OUT, by default a folder of the model's name, appears once every file of it has been checked
  verify DIR           check a training folder: can every file be read, do the weights fit the nets

fetch takes
  --address URL   where the archives of the list are, with {accession} or {name} in it (also: CDEEP3M_MODELS_ADDRESS)
  --sha256 HEX    the hash that the archive must have
An interrupted fetch goes on when it is called again.
"""

EXIT_CODES = "exit status: 0 done; 1 wrong usage, or a model that cannot be had or is not whole\n"

USAGE = "cdeep3m models [-h] {info PATH | list | fetch [--address URL] [--sha256 HEX] MODEL [OUT] | verify DIR}"

ADDRESS_VARIABLE = "CDEEP3M_MODELS_ADDRESS"
NOT_WHOLE = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in ACTIONS:
        return ACTIONS[words[0]](words[1:])
    parser = CommandParser("cdeep3m models", usage=USAGE, description=DESCRIPTION, epilog=EXIT_CODES)
    parser.add_argument("action", choices=tuple(ACTIONS), metavar="info|list|fetch|verify")
    parser.parse(words)
    return 1


def _info(argv: Sequence[str]) -> int:
    parser = CommandParser("cdeep3m models info", description="Say what a file or a training folder holds.")
    parser.add_argument("path", type=Path, metavar="PATH", help=".caffemodel, .solverstate, .prototxt, or a folder")
    options = parser.parse(argv)
    return run(lambda: _show_info(options.path), debug=options.debug)


def _list(argv: Sequence[str]) -> int:
    parser = CommandParser("cdeep3m models list", description="Name the published trained models.")
    options = parser.parse(argv)
    return run(_show_list, debug=options.debug)


def _fetch(argv: Sequence[str]) -> int:
    parser = CommandParser("cdeep3m models fetch", description="Bring a trained model here and check it.")
    parser.add_argument(
        "--address",
        metavar="URL",
        default=os.environ.get(ADDRESS_VARIABLE),
        help=f"where the archives of the list are, with {{accession}} or {{name}} in it (also: {ADDRESS_VARIABLE})",
    )
    parser.add_argument("--sha256", metavar="HEX", help="the hash that the archive must have")
    parser.add_argument("model", metavar="MODEL", help="name or accession number, address of an archive, or its file")
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT", help="folder to make (default: the model's name)")
    options = parser.parse(argv)
    return run(lambda: _do_fetch(options), debug=options.debug)


def _verify(argv: Sequence[str]) -> int:
    parser = CommandParser("cdeep3m models verify", description="Check every net of a training folder.")
    parser.add_argument("folder", type=Path, metavar="DIR")
    options = parser.parse(argv)
    return run(lambda: _do_verify(options.folder), debug=options.debug)


ACTIONS = {"info": _info, "list": _list, "fetch": _fetch, "verify": _verify}


def _show_info(path: Path) -> None:
    from cdeep3m.models.info import info, net_infos

    if not path.is_dir():
        _print_info(path, info(path))
        return
    for file, described in net_infos(path):
        _print_info(file, described, layers=False)


def _print_info(path: Path, described: FileInfo, *, layers: bool = True) -> None:
    facts = {key: str(value) for key, value in described.facts.items()}
    if described.layers:
        facts |= _summary(described)
    width = max(map(len, facts), default=0)
    print(f"{path}: {described.kind}")
    for key, value in facts.items():
        print(f"  {key:{width}}  {printable(str(value))}")
    if layers and described.layers:
        _print_layers(described.layers)


def _summary(described: FileInfo) -> dict[str, str]:
    holding = sum(bool(layer.blobs) for layer in described.layers)
    unknown = f", without those of {', '.join(described.unknown)}" if described.unknown else ""
    return {
        "layers": f"{len(described.layers)}, {holding} of them with blobs",
        "parameters": f"{described.parameters:,}{unknown}",
        "fits": fit_in_words(described.fit),
    }


def fit_in_words(fit: Fit | None) -> str:
    """Say which net some weights fit, and how to make it.

    >>> from cdeep3m.nets.fits import Fit
    >>> fit_in_words(Fit("3fm", 1)), fit_in_words(Fit("1fm", 8, least=16, binning=2))
    ('3fm', '1fm at --width 8 --least_channels 16 --binning 2')
    >>> fit_in_words(Fit("5fm", 1, ("layer conv1_1 is missing", "layer conv1_2 is missing")))
    'none of 1fm, 3fm, 5fm; nearest is 5fm: layer conv1_1 is missing (and 1 more)'
    """
    if fit is None:
        return "none of 1fm, 3fm, 5fm"
    given = {"--width": (fit.width, 1), "--least_channels": (fit.least, 2), "--binning": (fit.binning, 1)}
    made = " ".join(f"{option} {value}" for option, (value, usual) in given.items() if value != usual)
    net = f"{fit.net} at {made}" if made else fit.net
    net += "" if fit.classes == 2 else f" of {fit.classes} classes"
    if fit:
        return net
    more = f" (and {len(fit.problems) - 1} more)" if len(fit.problems) > 1 else ""
    return f"none of 1fm, 3fm, 5fm; nearest is {net}: {fit.problems[0]}{more}"


def _print_layers(layers: Sequence[LayerInfo]) -> None:
    rows = [(printable(str(layer.name)), printable(str(layer.type)), _blobs_in_words(layer)) for layer in layers]
    names, kinds = (max(len(row[k]) for row in rows) for k in (0, 1))
    print()
    for name, kind, blobs in rows:
        print(f"  {name:{names}}  {kind:{kinds}}  {blobs}".rstrip())


def _blobs_in_words(layer: LayerInfo) -> str:
    from cdeep3m.nets.shapes import shape_text

    return "(depends on its input)" if layer.blobs is None else ", ".join(map(shape_text, layer.blobs))


def _show_list() -> None:
    from cdeep3m.models.published import published_models

    models = published_models()
    width = max(len(model.name) for model in models)
    for model in models:
        details = [model.images, _voxel_in_words(model.voxel_size_nm)]
        about = "; ".join([model.target, *(detail for detail in details if detail)])
        print(f"{model.name:{width}}  {model.accession}  {model.page}  {about}")


def _voxel_in_words(size: tuple[float, float, float] | None) -> str | None:
    return " x ".join(f"{side:g}" for side in size) + " nm (z, y, x)" if size else None


def _do_fetch(options: argparse.Namespace) -> None:
    from cdeep3m.cli.progress import ProgressDisplay
    from cdeep3m.models.fetch import FetchRequest, default_folder, fetch

    out = options.out or default_folder(options.model)
    request = FetchRequest(source=options.model, out=out, address=options.address, sha256=options.sha256)
    with ProgressDisplay("MB") as report:
        nets = fetch(request, report=report)
    _print_reports(nets)
    print(f"The trained model is in {out}")


def _do_verify(folder: Path) -> int:
    from cdeep3m.models.verify import verify

    reports = verify(folder)
    _print_reports(reports)
    broken = [each.net for each in reports if each.problems]
    if broken:
        print(printable(f"ERROR, {folder}: {', '.join(broken)} not whole"), file=sys.stderr)
        return NOT_WHOLE
    print(f"{folder} is whole")
    return 0


def _print_reports(reports: Sequence[NetReport]) -> None:
    for each in reports:
        print(f"{each.net}: {_report_in_words(each)}")
        for problem in each.problems:
            print(f"  {printable(problem)}")


def _report_in_words(each: NetReport) -> str:
    if each.weights is None:
        return "not trained"
    iteration = "" if each.iteration is None else f"iteration {each.iteration}, "
    return f"{iteration}{each.parameters:,} parameters, fits {fit_in_words(each.fit)}; {each.files} files read"


if __name__ == "__main__":
    sys.exit(main())
