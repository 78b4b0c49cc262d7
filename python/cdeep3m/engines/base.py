"""What the pipelines ask of an engine, whatever runs the nets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from cdeep3m.geometry import Placement
from cdeep3m.rules import CORRECTED, Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np

    from cdeep3m.augmentation.settings import Augmentation
    from cdeep3m.engines.learning import Learning
    from cdeep3m.tiling.variants import Variant
    from cdeep3m.volumes.enhancement import Denoiser

CPU = -1
"""The GPU number that means the CPU, as in Caffe's own tools."""

ALL_GPUS = -2
"""The GPU number that means all at once: Caffe's own tool trains one net on them (--gpu=all)."""

Precision = Literal["float32", "fast"]
"""How exactly nets compute: as Caffe does, or with shorter numbers."""


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A net and its weights.

    Attributes
    ----------
    net : str
        Its name: 1fm, 3fm or 5fm, or what the user called another one.
    deploy : Path
        The net that predicts (deploy.prototxt).
    weights : Path
        The weights (.caffemodel).
    label : int
        The class whose probability is predicted (in-process engines only; Caffe's tools write all).
    """

    net: str
    deploy: Path
    weights: Path
    label: int = 1


STACK_OUTPUT = "test.h5"
"""What engines over files call the predictions of a stack, before the number of the plane."""


def plane_file(prefix: str, plane: int | str) -> str:
    """Return the name of the prediction of a plane, as predict_seg_new.bin makes it of its --predict.

    Examples
    --------
    >>> plane_file(STACK_OUTPUT, 7)
    'test.h5_shift_7.h5'
    """
    return f"{prefix}_shift_{plane}.h5"


@dataclass(frozen=True, kw_only=True)
class PredictJob:
    """Predict every plane of some stacks that lie in HDF5 files.

    Attributes
    ----------
    model : TrainedModel
        What predicts.
    stacks : sequence of (Path, Path)
        For each HDF5 file (`/data` of shape (x, y, z)) the folder that gets `test.h5_shift_<z>.h5`, one file a plane.
    gpu : int
        CUDA device, or `CPU`.
    log : Path
        File that gets the engine's own messages.
    """

    model: TrainedModel
    stacks: Sequence[tuple[Path, Path]]
    gpu: int = CPU
    log: Path | None = None


@dataclass(frozen=True)
class LabelledVolume:
    """What a training patch is cut from.

    Attributes
    ----------
    data : ndarray of float32, uint8 or uint16, shape (x, y, z)
        Image values as they are; usually a view or a memory map.
    label : ndarray of a number type, shape (x, y, z)
        Class of every voxel: 0 background, 1 foreground or the first of several classes, 255 what does not count.
    weight : float
        How often patches come from it, compared with other volumes.
    placement : Placement
        Size of a voxel along (z, y, x), as far as it is known.
    """

    data: np.ndarray
    label: np.ndarray
    weight: float = 1.0
    placement: Placement = Placement()


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """Train one net as its solver says.

    Attributes
    ----------
    solver : Path
        The solver.prototxt; paths in it and in its net are relative to `folder`.
    folder : Path
        Working folder of the training.
    gpu : int
        CUDA device, `CPU`, or `ALL_GPUS` where Caffe's own tools train.
    snapshot : Path, optional
        A .solverstate to go on from.
    weights : Path, optional
        A .caffemodel to start from.
    log : Path, optional
        File that gets Caffe's log lines; existing content stays.
    training, validation : sequences of LabelledVolume
        Volumes in memory instead of the files that the net's PatchData layers name (in-process engines only).
    rules : Rules
        Stop where the original stops, at a batch without any background voxel (in-process engines only).
    precision : {"float32", "fast"}
        What convolutions are computed with (in-process engines only); weights stay float32.
    augmentation : Augmentation, optional
        How patches of the training are changed (in-process engines only).
    learning : Learning, optional
        How it learns beyond what the solver says (in-process engines only); None: to the letter what Caffe does.
    after_snapshot : callable, optional
        Called with the weights of every snapshot that is due, and of the last one (in-process engines only); returns
        whether the training ends there.
    """

    solver: Path
    folder: Path
    gpu: int = CPU
    snapshot: Path | None = None
    weights: Path | None = None
    log: Path | None = None
    training: Sequence[LabelledVolume] = field(default=())
    validation: Sequence[LabelledVolume] = field(default=())
    rules: Rules = CORRECTED
    precision: Precision = "float32"
    augmentation: Augmentation | None = None
    learning: Learning | None = None
    after_snapshot: Callable[[Path], bool] | None = None


@dataclass(frozen=True)
class Progress:
    """How far a job is: `done` of `total` (planes or iterations), and the last loss of a training."""

    done: int
    total: int
    loss: float | None = None


@runtime_checkable
class Engine(Protocol):
    """Runs nets over files, as Caffe's tools do."""

    name: str

    def check(self) -> Sequence[str]:
        """Return what would stop this engine here, a sentence each with its remedy; empty when it is usable."""

    def gpus(self) -> Sequence[int]:
        """Return the numbers of the CUDA devices that this engine can use here; empty: the CPU alone."""

    def device(self, gpu: int) -> str:
        """Return in words what would run a job on `gpu` ("CPU, 2 threads, float32")."""

    def predict(self, job: PredictJob, *, report: Callable[[Progress], None] | None = None) -> None:
        """Run `job`; raise EngineError when it fails."""

    def train(self, job: TrainJob, *, report: Callable[[Progress], None] | None = None) -> None:
        """Run `job` to the solver's max_iter; raise EngineError when it fails."""


class LoadedNet(Protocol):
    """A net in memory, ready to predict.

    Attributes
    ----------
    frames : int
        Planes that the net sees at once.
    """

    frames: int

    def foreground(self, windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Predict the middle plane of every window, in order.

        Parameters
        ----------
        windows : iterable of ndarray of uint8, uint16, float32 or float64, shape (frames, y, x)
            Raw image values; both sides multiples of 16. Neighbours of one shape may be predicted together; as few are
            read ahead as a batch holds.

        Yields
        ------
        ndarray of float32, shape (y, x)
            Probability of the foreground class, in [0, 1].
        """

    def averaged(
        self,
        windows: Iterable[np.ndarray],
        variants: Sequence[Variant],
        *,
        unrounded: bool = False,
        before_batch: Callable[[], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """Predict the middle plane of every window in each of its variants, and average them, in order.

        Predictions are undone, summed in double in the order of `variants`, divided by their number and rounded to 16
        bits (merge_16_probs).

        Parameters
        ----------
        windows : iterable of ndarray of uint8, uint16, float32 or float64, shape (frames, y, x)
            As for `foreground`, in the volume's own orientation; at most one is read ahead.
        variants : sequence of Variant
            In ascending order; at least one.
        unrounded : bool
            Yield the mean itself.
        before_batch : callable, optional
            Called before each few variants are predicted, and at least once a window; what it raises ends the
            prediction.

        Yields
        ------
        ndarray of uint16, or of float64 where it is unrounded, shape (y, x)
        """


@runtime_checkable
class ParallelEngine(Engine, Protocol):
    """An engine whose jobs run outside this process, side by side when several threads ask for them."""

    def stop(self) -> None:
        """End all jobs that run, and start no others; their calls raise EngineError."""


@runtime_checkable
class DenoisingEngine(Engine, Protocol):
    """An engine that can lower the total variation of planes on its device, for models that expect enhanced images."""

    def denoiser(self, gpu: int) -> Denoiser:
        """Return what takes a plane (float32, shape (y, x)) and a weight, and returns the plane denoised."""


@runtime_checkable
class InProcessEngine(Engine, Protocol):
    """An engine that predicts arrays, so that a pipeline can stream without files in between."""

    def load(self, model: TrainedModel, *, gpu: int = CPU, precision: Precision = "float32") -> LoadedNet:
        """Read `model` and make it ready; raise NetError when weights and net do not fit."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a net costs on a canvas.

    Attributes
    ----------
    frames : int
        Planes that it sees at once.
    seconds : float
        For a pass: one variant of one plane.
    memory : int
        Bytes of its blobs, at most at once.
    weights : int
        Bytes of its weights.
    """

    frames: int
    seconds: float
    memory: int
    weights: int


@runtime_checkable
class RehearsingEngine(InProcessEngine, Protocol):
    """An engine that can tell what a net will cost before its weights are read."""

    def rehearse(
        self, model: TrainedModel, sides: tuple[int, int], *, gpu: int = CPU, precision: Precision = "float32"
    ) -> Rehearsal:
        """Return what a pass of a canvas of such sides, (y, x), costs."""


@runtime_checkable
class PairingEngine(InProcessEngine, Protocol):
    """An engine that reads a model once to predict with either precision."""

    def load_each(
        self, model: TrainedModel, precisions: Sequence[Precision], *, gpu: int = CPU
    ) -> tuple[LoadedNet, ...]:
        """Read `model`, and make a net of it for each precision, which threads of their own may use; see `load`."""

    def is_apart(self, gpu: int) -> bool:
        """Return whether nets run on another device than this program, which has time for more meanwhile."""


@runtime_checkable
class WakingEngine(InProcessEngine, Protocol):
    """An engine whose device takes a while to get ready."""

    def wake(self, gpu: int) -> None:
        """Load what any net will need on GPU number `gpu`."""


@runtime_checkable
class ReachingEngine(InProcessEngine, Protocol):
    """An engine that can tell how far around a voxel its nets look."""

    def reach(self, model: TrainedModel, *, gpu: int = CPU) -> int:
        """Return within how many voxels along y and x nearly all lies that decides over a voxel."""
