"""What a prediction costs beside its nets: reading, windows, rounding, PNG, with an engine that returns at once.

A window is one plane in one variant, which an H100 predicts in some 4 ms with short numbers: so many must pass by that
it need not wait.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.bench_scaling import write_images, write_trained
from benchmarks.figures import Figure
from cdeep3m.engines.base import CPU
from cdeep3m.engines.identity import IdentityEngine, IdentityNet, frames_of
from cdeep3m.nets import prototxts
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.tiling.variants import variants_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.settings import Settings
    from cdeep3m.engines.base import Precision, TrainedModel
    from cdeep3m.tiling.variants import Variant

WINDOWS_A_SECOND = 400


class InstantNet(IdentityNet):
    """A net whose average is the middle plane, as 16 bits: of noise, which compresses worse than probabilities."""

    def averaged(
        self,
        windows: Iterable[np.ndarray],
        variants: Sequence[Variant],
        *,
        unrounded: bool = False,
        before_batch: Callable[[], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """Return the middle plane of every window."""
        del variants, unrounded
        for window in windows:
            if before_batch:
                before_batch()
            yield window[self.frames // 2].astype(np.uint16) * 257


class InstantEngine(IdentityEngine):
    """Predicts at once."""

    name = "instant"

    def load(self, model: TrainedModel, *, gpu: int = CPU, precision: Precision = "float32") -> InstantNet:
        """Return a net without weights."""
        del gpu, precision
        return InstantNet(frames_of(model.net))


def figures(settings: Settings) -> Iterator[Figure]:
    """Predict a volume with all nets and variants."""
    planes, side = (2, 64) if settings.small else (40, 1024)
    folder = settings.folder / "pipeline"
    try:
        trained = write_trained(folder / "trained", width=32, nets=prototxts.NETS)
        images = write_images(folder / "images", planes=planes, side=side)
        runs = [measure(trained, images, folder / f"out{k}") for k in range(settings.repeats)]
    finally:
        shutil.rmtree(folder)
    windows = planes * sum(len(variants_for(net, 1)) for net in prototxts.NETS)
    seconds, cores = (min(values) / windows for values in zip(*runs, strict=True))
    yield Figure(name="a window, its net aside", value=1e3 * seconds, unit="ms", target=1e3 / WINDOWS_A_SECOND)
    yield Figure(name="windows a second, nets aside", value=1 / seconds, unit="/s")
    yield Figure(name="processors' time for a window", value=1e3 * cores, unit="ms")


def measure(trained: Path, images: Path, out: Path) -> tuple[float, float]:
    """Return the seconds of a prediction, on the clock and of all processors together."""
    begin, busy = time.perf_counter(), time.process_time()
    predict(PredictRequest(trained=trained, images=images, out=out), InstantEngine(), gpu=CPU)
    return time.perf_counter() - begin, time.process_time() - busy
