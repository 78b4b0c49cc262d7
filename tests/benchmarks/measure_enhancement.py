"""What enhancing a plane takes, beside a pass of the first layers of 1fm: processor seconds of one thread.

    OMP_NUM_THREADS=1 python tests/benchmarks/measure_enhancement.py [IMAGE]

IMAGE is a micrograph, mirrored or cut to 1024 x 1024; without one, a synthetic plane with noise is enhanced alone.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from cdeep3m.edition2 import enhancement as edition2
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.proto import caffe_pb2, prototxt
from cdeep3m.volumes.enhancement import enhance

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 1024
TIMES = 3
NET = Path(__file__).parents[2] / "caffe_models" / "inception_residual_train_prediction_1fm" / "deploy.prototxt"
AFTER_FIRST = "reshape"
"""The layer that follows conv1_1 and conv1_2, their BatchNorm, Scale and ReLU."""


def main() -> int:
    torch.set_num_threads(1)
    planes = {"noisy synthetic plane": noisy()}
    if sys.argv[1:]:
        planes["micrograph"] = micrograph(Path(sys.argv[1]))
    first = seconds(first_layers())
    print(f"conv1_1 and conv1_2 of 1fm: {first:.2f} s")
    for name, plane in planes.items():
        taken = seconds(lambda plane=plane: enhance(plane))
        print(f"{name}: enhanced in {taken:.2f} s, {taken / first:.2f} x")
        print(f"{name}: enhanced exactly in {seconds(lambda plane=plane: edition2.enhance(plane), times=1):.1f} s")
    return 0


def noisy() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    smooth = 120 + 60 * np.sin(y / 19) * np.cos(x / 23)
    return np.clip(smooth + np.random.default_rng(1).normal(0, 12, (SIDE, SIDE)), 0, 255).astype(np.uint8)


def micrograph(path: Path) -> np.ndarray:
    plane = np.array(Image.open(path))
    missing = [(0, max(0, SIDE - side)) for side in plane.shape]
    return np.pad(plane, missing, mode="reflect")[:SIDE, :SIDE]


def first_layers() -> Callable[[], object]:
    message = prototxt.read_net(NET)
    del message.layer[[layer.name for layer in message.layer].index(AFTER_FIRST) :]
    net = Net(message, phase=caffe_pb2.TEST)
    (name,) = net.inputs
    images = torch.rand(net.input_shapes[name])

    def run() -> object:
        with torch.inference_mode():
            return net.forward({name: images})

    run()
    return run


def seconds(work: Callable[[], object], *, times: int = TIMES) -> float:
    """Return the processor time of the fastest of some runs."""
    taken = []
    for _ in range(times):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return min(taken)


if __name__ == "__main__":
    raise SystemExit(main())
