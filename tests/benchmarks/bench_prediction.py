"""How fast a plane is predicted, against the machine's own best rate of convolution with the same numbers.

Both are measured in one process, taking turns, and the best of several tries counts: so other work on the machine
disturbs the ratio little. From the project's folder:

    python tests/benchmarks/bench_prediction.py                    1fm, 1024 x 1024, whole width
    python tests/benchmarks/bench_prediction.py --net 3fm --side 256 --width 8 --planes 2
    python tests/benchmarks/bench_prediction.py --precision fast
    python tests/benchmarks/bench_prediction.py --gpu 0
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bench_scaling import predict, write_images, write_trained
from benchmarks.figures import Figure
from cdeep3m.engines.base import CPU
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.embedded.net.layers.convolution import Kernelled
from cdeep3m.engines.embedded.prediction.batches import number_for
from cdeep3m.nets import prototxts
from random_nets import random_net, write_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.settings import Settings
    from cdeep3m.engines.base import Precision

CONVOLUTIONS = ((256, 256, 256, 1), (384, 384, 256, 2), (64, 96, 512, 1))
"""Big 3x3 convolutions of the nets: channels, outputs, side at whole width, stride."""

FIRST = 23 / 6 / 1.85
"""The most that a command with one plane may take, in times of the limit: a sixth of Caffe's 23 s, there 1.85 s."""

LAYOUTS = (torch.contiguous_format, torch.channels_last)

PROCESSOR = torch.device("cpu")

GPU_WINDOWS = 32
"""Planes of one try on a GPU, where reading results and preparing planes overlap with the net."""

GPU_CONVOLUTIONS = 10
"""Convolutions of one try on a GPU, which runs behind the program."""


@dataclass(frozen=True)
class Result:
    """What was measured.

    Attributes
    ----------
    operations : int
        Floating-point operations for a plane.
    rate : float
        The best rate of convolution, operations a second.
    seconds : list of float
        Time of each plane.
    memory : int
        Most memory that the process held so far, bytes.
    """

    operations: int
    rate: float
    seconds: list[float]
    memory: int

    @property
    def ratio(self) -> float:
        """Time of the fastest plane, in times what its operations take at the best rate."""
        return min(self.seconds) * self.rate / self.operations

    def __str__(self) -> str:
        planes = ", ".join(f"{seconds:.2f}" for seconds in self.seconds)
        return (
            f"{self.operations / 1e9:.1f} GFLOP a plane; best convolution {self.rate / 1e9:.1f} GFLOP/s\n"
            f"seconds a plane: {planes}\n"
            f"best plane / plane at the best rate: {self.ratio:.2f}\n"
            f"peak memory: {self.memory / 1e9:.2f} GB"
        )


def figures(settings: Settings) -> Iterator[Figure]:
    """Measure the three nets, each in a process of its own; and a command that predicts one plane."""
    size = ("--side", 64, "--width", 16, "--planes", 1) if settings.small else ("--planes", 5)
    limits = []
    for net in ("1fm",) if settings.small else prototxts.NETS:
        result = Result(**settings.program(__file__, "--net", net, *size))
        limits.append(result.operations / result.rate)
        name = f"prediction, a plane of {net}"
        yield Figure(name=name, value=min(result.seconds), unit="s", peak=limits[-1], target=1.33, aim="ratio")
        yield Figure(name=f"{name}, memory", value=result.memory / 1e9, unit="GB", target=2)
    seconds = min(first_plane(settings) for _ in range(settings.repeats))
    yield Figure(
        name="runprediction.sh, one plane of 1fm", value=seconds, unit="s", peak=limits[0], target=FIRST, aim="ratio"
    )


def first_plane(settings: Settings) -> float:
    """Return the seconds of a command that predicts one plane with 1fm, from its start to its end."""
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        trained = write_trained(Path(folder) / "trained", width=32 if settings.small else 1)
        images = write_images(Path(folder) / "images", planes=1, side=64 if settings.small else 1024)
        return predict([images], trained, settings)


def measure(
    net: str = "1fm",
    *,
    side: int = 1024,
    width: int = 1,
    planes: int = 5,
    precision: Precision = "float32",
    gpu: int = CPU,
) -> Result:
    """Predict random planes with a random net, measuring convolutions in between."""
    device, windows = EmbeddedEngine().place(gpu), 1 if gpu == CPU else GPU_WINDOWS
    number = torch.float32 if gpu == CPU else number_for(precision, device)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        made = random_net(prototxts.deploy(net, width=width, sides=(side, side)))
        operations = count(made)
        predictor = EmbeddedEngine().load(write_model(made, Path(folder), net), gpu=gpu, precision=precision)
        del made
        window = np.random.default_rng(0).integers(0, 256, (predictor.frames, side, side), dtype=np.uint8)
        seconds, rate = [], 0.0
        for _ in range(planes):
            rate = max(rate, best_rate(side, device, number))
            start = time.perf_counter()
            for _ in predictor.foreground([window] * windows):
                pass
            seconds.append((time.perf_counter() - start) / windows)
    return Result(operations, rate, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def count(net) -> int:
    """Return the operations of a net's convolutions and deconvolutions for its inputs as declared."""
    shapes, total = dict(net.input_shapes), 0
    for layer in net.layers:
        bottoms = [shapes[name] for name in layer.bottoms]
        total += sum(layer.operations(shape) for shape in bottoms) if isinstance(layer, Kernelled) else 0
        shapes.update(zip(layer.tops, layer.top_shapes(*bottoms), strict=True))
    return total


def best_rate(side: int, device: torch.device = PROCESSOR, number: torch.dtype = torch.float32) -> float:
    """Return the best of the big convolutions' rates, their sides in proportion to `side`."""
    rates = []
    times = 1 if device.type == "cpu" else GPU_CONVOLUTIONS
    for channels, outputs, whole_side, stride in CONVOLUTIONS:
        for layout in LAYOUTS:
            blobs = torch.rand(1, channels, *[whole_side * side // 1024] * 2), torch.rand(outputs, channels, 3, 3)
            bottom, weight = (blob.to(device, number).to(memory_format=layout) for blob in blobs)
            wait_for(device)
            start = time.perf_counter()
            for _ in range(times):
                top = functional.conv2d(bottom, weight, None, stride, 1)
            wait_for(device)
            operations = 2 * weight.numel() * top.shape[2] * top.shape[3]
            rates.append(times * operations / (time.perf_counter() - start))
    return max(rates)


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="1fm", choices=prototxts.NETS)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--width", type=int, default=1, help="divisor of the nets' channels")
    parser.add_argument("--planes", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "fast"), default="float32")
    parser.add_argument("--gpu", type=int, default=CPU, help="number of a CUDA device; default: the CPU")
    parser.add_argument("--json", action="store_true", help="print the attributes of the result")
    options = parser.parse_args(argv)
    size = {"side": options.side, "width": options.width, "planes": options.planes}
    result = measure(options.net, **size, precision=options.precision, gpu=options.gpu)
    print(json.dumps(asdict(result)) if options.json else result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
