"""The engine that needs nothing but Python: nets on PyTorch, on the CPU or a CUDA device."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.base import CPU, STACK_OUTPUT, Progress
from cdeep3m.engines.embedded.net.taps import in_one_pass
from cdeep3m.engines.embedded.prediction.predictor import Predictor, read_trained
from cdeep3m.system.files import appending
from cdeep3m.volumes.enhancement import denoise_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cdeep3m.engines.base import Precision, PredictJob, Rehearsal, TrainedModel, TrainJob
    from cdeep3m.volumes.enhancement import Denoiser

logger = logging.getLogger(__name__)


class EmbeddedEngine:
    """Executes prototxt nets on PyTorch, in float32."""

    name = "embedded"

    def __init__(self) -> None:
        self._warned = False

    def check(self) -> Sequence[str]:
        """Return nothing: wherever PyTorch can be imported, this engine runs."""
        return ()

    def gpus(self) -> Sequence[int]:
        """Return the CUDA devices that PyTorch sees."""
        return range(torch.cuda.device_count())

    def device(self, gpu: int) -> str:
        """Return the device and its threads in words."""
        device = self.place(gpu)
        if device.type == "cuda":
            return f"GPU {device.index} ({torch.cuda.get_device_name(device)})"
        threads = torch.get_num_threads()
        return f"CPU ({threads} thread{'s' if threads > 1 else ''})"

    def place(self, gpu: int) -> torch.device:
        """Return the device for GPU number `gpu`: the CPU, with one warning, where there is no such device."""
        if gpu == CPU:
            return torch.device("cpu")
        if 0 <= gpu < torch.cuda.device_count():
            use_plain_float32()
            return torch.device("cuda", gpu)
        if not self._warned:
            self._warned = True
            logger.warning("GPU %d was asked for, but PyTorch sees no such CUDA device here: running on the CPU", gpu)
        return torch.device("cpu")

    def load(self, model: TrainedModel, *, gpu: int = CPU, precision: Precision = "float32") -> Predictor:
        """Read `model` and make it ready."""
        return Predictor(model, self.place(gpu), precision=precision)

    def load_each(
        self, model: TrainedModel, precisions: Sequence[Precision], *, gpu: int = CPU
    ) -> tuple[Predictor, ...]:
        """Read `model` once, and make it ready for each precision."""
        device = self.place(gpu)
        net = read_trained(model, device)
        return tuple(Predictor(model, device, precision=precision, net=net) for precision in precisions)

    def is_apart(self, gpu: int) -> bool:
        """Return whether GPU number `gpu` is one."""
        return self.place(gpu).type != "cpu"

    def wake(self, gpu: int) -> None:
        """Load the libraries of kernels, where nets run on a GPU."""
        if 0 <= gpu < torch.cuda.device_count():
            load_libraries(self.place(gpu))

    def denoiser(self, gpu: int) -> Denoiser:
        """Return what lowers the total variation of planes on GPU number `gpu`, or on the CPU."""
        from cdeep3m.engines.embedded.denoising import denoiser_on

        place = self.place(gpu)
        return denoise_plane if place.type == "cpu" else denoiser_on(place)

    def rehearse(
        self, model: TrainedModel, sides: tuple[int, int], *, gpu: int = CPU, precision: Precision = "float32"
    ) -> Rehearsal:
        """Return what a pass of a canvas costs here."""
        from cdeep3m.engines.embedded.prediction.rehearsal import rehearse

        return rehearse(model, sides, self.place(gpu), precision=precision)

    def reach(self, model: TrainedModel, *, gpu: int = CPU) -> int:
        """Return how far around a voxel a net looks, by its gradient."""
        from cdeep3m.engines.embedded.prediction.reach import reach_of

        return reach_of(model, self.place(gpu))

    def predict(self, job: PredictJob, *, report: Callable[[Progress], None] | None = None) -> None:
        """Predict every plane of every stack, a file each."""
        from cdeep3m.engines.embedded.prediction.stacks import predict_file

        net = self.load(job.model, gpu=job.gpu)
        _note(job.log, f"{job.model.weights} on {self.device(job.gpu)}")
        for done, (stack, folder) in enumerate(job.stacks, start=1):
            folder.mkdir(parents=True, exist_ok=True)
            for z in predict_file(net, stack, folder / STACK_OUTPUT):
                _note(job.log, f"{stack}: plane {z} predicted")
            if report:
                report(Progress(done, len(job.stacks)))

    def train(self, job: TrainJob, *, report: Callable[[Progress], None] | None = None) -> None:
        """Train as the solver says."""
        from cdeep3m.engines.embedded.training.loop import train

        train(job, device=self.place(job.gpu), report=report)


def use_plain_float32() -> None:
    """Make CUDA compute in float32 as it is (no TF32), and the same way every time."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


@torch.inference_mode()
def load_libraries(device: torch.device) -> None:
    """Multiply, convolve and add up a few numbers, so that what does it is in memory before a net needs it."""
    for number in (torch.float32, torch.float16):
        blob = torch.ones((1, 8, 16, 16), dtype=number, device=device).contiguous(memory_format=torch.channels_last)
        torch.mm(blob[0, 0], blob[0, 0])
        torch.conv2d(blob, blob[:, :, :3, :3].expand(8, -1, -1, -1).contiguous(memory_format=torch.channels_last))
    if device.type == "cuda":
        in_one_pass(device)
        torch.cuda.synchronize(device)


def _note(log: Path | None, line: str) -> None:
    if log:
        with appending(log) as file:
            file.write(f"{line}\n")
