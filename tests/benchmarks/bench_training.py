"""How fast a training batch is, forward and backward, against the machine's own best rate of convolution.

Both are measured in one process, taking turns. From the project's folder:

    python tests/benchmarks/bench_training.py                      1fm, 5 patches of 320 x 320, whole width
    python tests/benchmarks/bench_training.py --net 3fm --side 64 --width 16 --batches 2
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bench_prediction import Result, best_rate, count, wait_for
from benchmarks.figures import Figure
from cdeep3m.engines.base import CPU, LabelledVolume
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.embedded.fast.training_steps import merged
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.engines.embedded.training.batches import Batches, number_for
from cdeep3m.nets import prototxts
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import TRAIN
from cdeep3m.system.memory import kept_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.settings import Settings
    from cdeep3m.engines.base import Precision

PASSES = 3
"""Forward, and backward for the bottoms and for the weights: each does the same operations."""


def figures(settings: Settings) -> Iterator[Figure]:
    """Measure the three nets, each in a process of its own."""
    size = ("--side", 64, "--width", 16, "--batches", 1) if settings.small else ("--batches", 4)
    for net in ("1fm",) if settings.small else prototxts.NETS:
        result = Result(**settings.program(__file__, "--net", net, *size))
        limit = result.operations / result.rate
        name = f"training, a batch of {net}"
        yield Figure(name=name, value=min(result.seconds), unit="s", peak=limit, target=1.6, aim="ratio")
        yield Figure(name=f"{name}, memory", value=result.memory / 1e9, unit="GB", target=5)


def measure(
    net: str = "1fm",
    *,
    side: int = 320,
    width: int = 1,
    batches: int = 4,
    gpu: int = CPU,
    precision: Precision = "float32",
) -> Result:
    """Train on random patches, measuring convolutions in between."""
    device = EmbeddedEngine().place(gpu)
    number = number_for(precision, device)
    with tempfile.TemporaryDirectory() as folder:
        made = training_net(net, side, width, Path(folder), device)
        running = Batches(made, number=number, replayed=device.type == "cuda")
        seconds, rate = [], 0.0
        with kept_memory():
            for _ in range(batches):
                rate = max(rate, best_rate(1024 * side // 320, device, number or torch.float32))
                start = time.perf_counter()
                step(running)
                wait_for(device)
                seconds.append(time.perf_counter() - start)
        close(made)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Result(PASSES * count(made), rate, seconds, memory)


def training_net(net: str, side: int, width: int, folder: Path, device: torch.device) -> Net:
    """Return a net that draws patches of `side` from a random volume."""
    prototxt.write(folder / prototxts.LABEL_CLASS_SELECTION, prototxts.label_class_selection())
    rng = np.random.default_rng(0)
    shape = (side + 8, side + 8, 20)
    data, label = rng.integers(0, 256, shape, dtype=np.uint8), rng.integers(0, 2, shape, dtype=np.uint8)
    message = prototxts.train_val(net, width=width, patch_side=side)
    sources = {"volumes": [LabelledVolume(data, label)]}
    return Net(message, phase=TRAIN, device=device, folder=folder, sources=sources, rewrite=merged)


def step(batches: Batches) -> None:
    """Compute the gradients of one batch."""
    for item in batches.net.learnable:
        if not batches.replayed:
            item.blob.grad = None
    batches.run()


def close(net: Net) -> None:
    """Stop reading ahead."""
    for layer in net.layers:
        if hasattr(layer, "close"):
            layer.close()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="1fm", choices=prototxts.NETS)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--width", type=int, default=1, help="divisor of the nets' channels")
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--gpu", type=int, default=CPU, help="number of a CUDA device; default: the CPU")
    parser.add_argument("--precision", choices=("float32", "fast"), default="float32")
    parser.add_argument("--json", action="store_true", help="print the attributes of the result")
    options = parser.parse_args(argv)
    size = {"side": options.side, "width": options.width, "batches": options.batches}
    result = measure(options.net, **size, gpu=options.gpu, precision=options.precision)
    print(json.dumps(asdict(result)) if options.json else str(result).replace("plane", "batch"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
