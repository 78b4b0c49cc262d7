"""`cdeep3m fidelity`: compare the embedded engine with a real Caffe, on the user's own model and images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cdeep3m.engines.base import Engine, TrainedModel
    from cdeep3m.maps.agreement import Agreement
    from cdeep3m.volumes import Volume

DESCRIPTION = """\
Predict IMAGES with every net of MODEL, once with the embedded engine and once with a real Caffe, and compare.

  MODEL   folder of a training or of a released CDeep3M model, or one .caffemodel
  IMAGES  folder of .png or .tif images, or one .tif or .h5 stack

Every net's planes are predicted in one orientation. Caffe and the embedded engine agree when no probability differs by
more than 1e-4, at least 99.9 % of the 8-bit values are equal, and none differs by more than 1.
"""

EXIT_CODES = "exit status: 0 all nets agree; 1 some do not, or an error"
HEADER = f"{'net':8}{'planes':>7}{'largest difference':>20}{'mean difference':>17}{'equal 8-bit values':>20}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = CommandParser("cdeep3m fidelity", description=DESCRIPTION, epilog=EXIT_CODES)
    parser.add_argument(
        "--caffe",
        required=True,
        metavar="PATH_OR_IMAGE",
        help="folder of a Caffe with its tools, or the name of a container image that holds them",
    )
    parser.add_argument("--models", metavar="LIST", help="nets to compare, such as 1fm,3fm (default: all of MODEL)")
    parser.add_argument(
        "--planes", type=int, metavar="N", help="compare N planes from the middle of IMAGES (default: all)"
    )
    parser.add_argument("--gpu", default="all", metavar="all|N", help="GPU to use; -1 is the CPU (default: all)")
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("images", type=Path, metavar="IMAGES")
    options = parser.parse(argv)
    return run(lambda: _compare(options), debug=options.debug)


def _compare(options: argparse.Namespace) -> int:
    from cdeep3m.engines.select import select_caffe, select_engine
    from cdeep3m.volumes import open_volume

    models = models_of(options.model, options.models)
    volume = open_volume(options.images)
    caffe, caffe_gpus = select_caffe(options.caffe, gpu=options.gpu)
    embedded, gpus = select_engine("embedded", gpu=options.gpu)
    engines = (embedded, gpus[0]), (caffe, caffe_gpus[0])
    for name, (engine, gpu) in zip(("Embedded engine", "Caffe"), engines, strict=True):
        print(f"{name}: {engine.device(gpu)}")
    print(f"\n{HEADER}", flush=True)
    agree = [_compare_net(engines, model, volume, options.planes) for model in models]
    print("\nThe engines agree." if all(agree) else "\nThe engines DO NOT agree.")
    return 0 if all(agree) else 1


def _compare_net(
    engines: tuple[tuple[Engine, int], tuple[Engine, int]], model: TrainedModel, volume: Volume, planes: int | None
) -> bool:
    from cdeep3m.cli.progress import ProgressDisplay
    from cdeep3m.report.comparison import compare_engines

    with ProgressDisplay("package") as display:
        found = compare_engines(
            engines, model, volume, planes=planes, report=lambda progress: display(model.net, progress)
        )
    print(row(model.net, found), flush=True)
    return found.within_tolerance


def models_of(path: Path, nets: str | None) -> list[TrainedModel]:
    """Return the models of a training's folder, all or those that are listed, or the one of a .caffemodel."""
    from cdeep3m.errors import MissingModelError
    from cdeep3m.runs.trained import TrainedRun, model_at

    if path.is_file():
        return [model_at(path)]
    trained = TrainedRun(path)
    wanted = [net.strip() for net in nets.split(",")] if nets else trained.default_nets()
    if not wanted:
        raise MissingModelError(f"no trained net in {path}; expected folders such as 1fm, each with trainedmodel/")
    return [trained.model(net) for net in wanted]


def row(net: str, found: Agreement) -> str:
    """Return a line of the table.

    Examples
    --------
    >>> from cdeep3m.maps.agreement import Agreement
    >>> row("1fm", Agreement(planes=5, voxels=9, largest=2e-6, mean=1e-7, equal_share=1.0, largest_step=0))
    '1fm           5             2.0e-06          1.0e-07          100.0000 %  agrees'
    """
    verdict = "agrees" if found.within_tolerance else f"DIFFERS, by up to {found.largest_step} of 255"
    return f"{net:8}{found.planes:7}{found.largest:20.1e}{found.mean:17.1e}{100 * found.equal_share:18.4f} %  {verdict}"


if __name__ == "__main__":
    sys.exit(main())
