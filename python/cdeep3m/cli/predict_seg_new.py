"""predict_seg_new.bin: predict every plane of one HDF5 stack, as the Caffe tool of that name does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m.cli.common import CommandParser, run
from cdeep3m.cli.gflags import with_two_dashes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DESCRIPTION = """\
Predict the planes of a stack with a trained net; plane k goes to PREFIX_shift_<k>.h5 (/data, float32, (1, 2, x, y)).

The net sees the planes around k, zeros outside the stack, and values as they are. For planes along z, as CDeep3M
predicts them: --shift_axis=2.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse(with_two_dashes(sys.argv[1:] if argv is None else argv))
    return run(lambda: _predict(options), debug=options.debug)


def _parser() -> CommandParser:
    parser = CommandParser("predict_seg_new.bin", description=DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="deploy.prototxt")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="the .caffemodel")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="HDF5 stack: /data, (x, y, z)")
    parser.add_argument("--predict", type=Path, required=True, metavar="PREFIX", help="beginning of the results' names")
    parser.add_argument("--gpu", type=int, default=-1, metavar="N", help="GPU to use; -1 is the CPU (default)")
    parser.add_argument("--mean_value", type=float, default=0.0, metavar="V", help="subtracted from every voxel")
    parser.add_argument(
        "--start_slice", type=int, default=0, metavar="K", help="first plane (default: 0, as for numbers below it)"
    )
    parser.add_argument(
        "--shift_num",
        type=int,
        default=0,
        metavar="K",
        help="the plane after the last one, even outside the stack; 0 is the stack's end (default), below 0: one plane",
    )
    parser.add_argument(
        "--shift_axis", type=int, default=0, metavar="A", help="the planes lie along 0 x (default), 1 y, 2 z"
    )
    parser.add_argument(
        "--shift_stride", type=int, default=1, metavar="S", help="taken, as Caffe's tool does, without any effect"
    )
    return parser


def _predict(options: argparse.Namespace) -> None:
    from cdeep3m.engines.base import TrainedModel
    from cdeep3m.engines.embedded.engine import EmbeddedEngine
    from cdeep3m.engines.embedded.prediction.stacks import predict_file

    model = TrainedModel(net=options.model.stem, deploy=options.model, weights=options.weights)
    net = EmbeddedEngine().load(model, gpu=options.gpu)
    options.predict.parent.mkdir(parents=True, exist_ok=True)
    planes = predict_file(
        net,
        options.data,
        options.predict,
        mean=options.mean_value,
        start=options.start_slice,
        end=options.shift_num,
        axis=options.shift_axis,
    )
    for k in planes:
        print(f"Predicted plane {k}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
