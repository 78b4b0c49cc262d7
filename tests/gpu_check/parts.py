"""The parts of a check, in the order in which they run: what is quick and must be right comes first."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks import bench_gpu
from benchmarks.bench_scaling import write_images, write_trained
from benchmarks.bench_training import close, training_net
from benchmarks.settings import HERE, Settings
from cdeep3m.engines.base import CPU, TrainedModel
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.engines.embedded.net.layers import convolution, deconvolution
from cdeep3m.engines.embedded.training.batches import Batches, number_for
from cdeep3m.evaluation.scores import HALF, best_threshold, count_volumes, score
from cdeep3m.maps.agreement import LARGEST_DIFFERENCE, agreement_of
from cdeep3m.nets import prototxts
from cdeep3m.proto import caffe_pb2
from cdeep3m.proto.caffemodel import blob_to_array, read_model
from cdeep3m.runs.trained import iteration_of
from cdeep3m.tiling.variants import variants_for
from gpu_check import layers
from gpu_check.findings import Finding, yes
from random_nets import random_net, write_model
from recorded_caffe import (
    BATCH_NORM_TOLERANCE,
    HISTORY_TOLERANCE,
    LOSS_TOLERANCE,
    NETS,
    STEPS,
    batch_norm_error,
    foreground_pairs,
    history_error,
    make_steps,
    outputs,
    predicted,
    recorded_model,
    recorded_volume,
    train_from,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdeep3m.engines.base import Precision
    from cdeep3m.engines.embedded.prediction.predictor import Predictor
    from cdeep3m.tiling.variants import Variant

PRECISIONS: tuple[Precision, ...] = ("float32", "fast")

FAST_PROBABILITY = 0.02
"""How far float16 may move a probability of the recorded nets; measured 0.003."""

FAST_HISTORY = 0.3
"""How far bfloat16 may move a training step's history, relative to its size; measured 0.07 to 0.21."""

LAYER_TOLERANCE = 1e-5
EAGER = 3
"""How many times as fast as plain PyTorch, one window at a time."""
MEMORY = {"prediction": 8, "training": 11}
"""GB."""
BATCHES_A_SECOND = {"float32": 25, "fast": 100}
FIRST_PLANE = 10
"""Seconds from a command to its first plane."""
ROWS = 12
AFTER_TRAINING = 30
"""Seconds that prediction and scores of the real sample take."""
DEEP_SECONDS, DEEP_BESIDE = 15.5, 25
"""Seconds of a hundred planes with short numbers, at most; and beside them."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a check works with.

    Attributes
    ----------
    folder : Path
        For temporary files.
    gpu : int
        CUDA device, or `CPU`.
    small : bool
        Tiny nets: runs the code, says nothing about speed.
    reference : Path, optional
        Recorded outputs of Caffe.
    sample : Path, optional
        Labelled micrographs: training/images, training/labels, validation/images, validation/labels.
    until : float
        When to be done, by `time.monotonic`.
    training : float
        Seconds of training on the sample, at most.
    """

    folder: Path
    gpu: int
    small: bool
    reference: Path | None
    sample: Path | None
    until: float
    training: float = 300

    @property
    def device(self) -> torch.device:
        """The device."""
        return EmbeddedEngine().place(self.gpu)

    @property
    def width(self) -> int:
        """Divisor of the nets' channels."""
        return 32 if self.small else 1

    @property
    def side(self) -> int:
        """Side of a window."""
        return 64 if self.small else 1024

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.until - time.monotonic()


def conformance(check: Check) -> Iterator[Finding]:
    """Every layer, forward and backward, against the processor."""
    found = {name: layers.difference(name, check.device) for name in layers.CASES}
    worst = max(found, key=lambda name: found[name])
    yield Finding(name="layers: largest difference", value=found[worst], bound=LAYER_TOLERANCE, note=worst)


def recorded_predictions(check: Check) -> Iterator[Finding]:
    """What Caffe predicted, at either precision."""
    for net in NETS if check.reference else ():
        with tempfile.TemporaryDirectory(dir=check.folder) as folder:
            model = recorded_model(check.reference, net, Path(folder))
            data, expected = recorded_volume(check.reference, net, "volume_0")
            for precision, bound in zip(PRECISIONS, (LARGEST_DIFFERENCE, FAST_PROBABILITY), strict=True):
                found = predicted(model, data, gpu=check.gpu, precision=precision)
                same = agreement_of(foreground_pairs(found, expected))
                note = f"{same.equal_share:.2%} of the 8-bit values are equal, largest step {same.largest_step}"
                value = float(np.abs(found - expected).max())
                yield Finding(name=f"Caffe's {net}, {precision}: probability", value=value, bound=bound, note=note)
                if precision == "float32":
                    yield yes(f"Caffe's {net}, {precision}: 8-bit values within tolerance", same.within_tolerance)


def recorded_steps(check: Check) -> Iterator[Finding]:
    """Training steps that Caffe recorded, at either precision."""
    for net in NETS if check.reference else ():
        steps = check.reference / STEPS / net
        expected = outputs(steps / "out.log")
        for precision, bound in zip(PRECISIONS, (HISTORY_TOLERANCE, FAST_HISTORY), strict=True):
            with tempfile.TemporaryDirectory(dir=check.folder) as name:
                folder = Path(name)
                make_steps(steps, folder)
                state = steps / f"{net}_classifer_iter_1.solverstate"
                log = train_from(folder, state, device=str(check.device), precision=precision)
                loss = abs(log[1, "Train", 0] - expected[1, "Train", 0])
                title = f"Caffe's step of {net}, {precision}"
                yield Finding(name=f"{title}: history", value=history_error(folder, steps, net), bound=bound)
                if precision == "float32":
                    error = batch_norm_error(folder, steps, net)
                    yield Finding(name=f"{title}: BatchNorm", value=error, bound=BATCH_NORM_TOLERANCE)
                    yield Finding(name=f"{title}: loss", value=loss, bound=LOSS_TOLERANCE)
                else:
                    yield Finding(name=f"{title}: loss", value=loss, bound=30 * LOSS_TOLERANCE)


def gpu_tests(check: Check) -> Iterator[Finding]:
    """The tests that need a GPU."""
    if check.gpu == CPU:
        return
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-W", "default"]
    ended = subprocess.run([*command, HERE / "tests" / "engines"], cwd=HERE, capture_output=True, text=True)
    lines = ended.stdout.strip().splitlines() or [ended.stderr[-200:]]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    yield yes("tests that need a GPU", ended.returncode == 0, "; ".join([lines[-1], *failed]))
    if ended.returncode:
        print(ended.stdout[-4000:], file=sys.stderr)


def repeatability(check: Check) -> Iterator[Finding]:
    """A training with a seed, twice; a prediction that is stopped, goes on, and ends as one that is not."""
    data = check.folder / "repeat"
    images = write_images(data / "images", planes=2 if check.small else 6, side=64 if check.small else 256)
    labels = data / "labels"
    shutil.copytree(images, labels)
    for path in labels.iterdir():
        _threshold(path)
    size = ["--width", 32 if check.small else 8, "--patch_side", 48, "--numiterations", 2, "--iter_size", 2]
    runs = [data / f"run{k}" for k in range(2)]
    running = [_begun(check, "train", *size, "--seed", 3, "--1fmonly", images, labels, run) for run in runs]
    said = [_ended(process) for process in running]
    weights = [_weights(sorted((run / "1fm" / "trainedmodel").glob("*.caffemodel"))[-1]) for run in runs]
    unsure = sorted(set(re.findall(r"(\w+) does not have a deterministic implementation", said[0])))
    yield yes("a training with --seed repeats bit for bit", weights[0] == weights[1], ", ".join(unsure))
    options = ["--models", "1fm", "--fit", *(["--augspeed", 10] if check.small else []), runs[0], images]
    whole = _begun(check, "predict", *options, data / "whole")
    stopped = _stopped(check, "predict", *options, data / "stopped")
    _command(check, "predict", *options, data / "stopped")
    _ended(whole)
    same = _planes(data / "whole" / "1fm") == _planes(data / "stopped" / "1fm")
    yield yes("a prediction that was stopped goes on to the same bytes", same, f"stopped at {stopped} planes")


def out_of_memory(check: Check) -> Iterator[Finding]:
    """A prediction with less memory than its batches want."""
    if check.device.type != "cuda":
        return
    net = _predictor(check, "1fm", "float32")
    windows, variants = [_window(net, check)], variants_for("1fm", 1)
    expected = next(net.averaged(windows, variants))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(check.device).total_memory
    torch.cuda.reset_peak_memory_stats()
    next(net.averaged(windows, variants))
    enough = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.7 * enough / total, check.device)
    try:
        found = next(net.averaged(windows, variants))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, check.device)
    step = int(np.abs(found.astype(int) - expected.astype(int)).max())
    note = f"{0.7 * enough / 1e9:.1f} GB instead of {enough / 1e9:.1f} GB"
    yield Finding(name="short of memory: largest step of 65535", value=step, bound=4, note=note)


def speed(check: Check) -> Iterator[Finding]:
    """Planes of the full-size nets with all variants, beside plain PyTorch on one window at a time."""
    made = random_net(prototxts.deploy("1fm", width=check.width, sides=(check.side, check.side)))
    plain = Net(made.message, phase=caffe_pb2.TEST, device=check.device)
    for layer, source in zip(plain.layers, made.layers, strict=True):
        for blob, values in zip(layer.blobs, source.blobs, strict=True):
            blob.detach().copy_(values)
    eager = {}
    for name, allowed in (("float32", False), ("TF32, PyTorch's default", True)):
        with plain_pytorch(tf32=allowed):
            eager[name] = _eager(plain, check)
        yield Finding(name=f"1fm, a window in plain PyTorch, {name}", value=eager[name], unit="s")
    del plain, made
    for precision in PRECISIONS:
        for name in ("1fm",) if check.small or precision == "float32" else NETS:
            seconds, memory = _per_window(check, name, precision)
            title = f"{name}, a window, {precision}"
            yield Finding(name=title, value=seconds, unit="s")
            if name == "1fm":
                for other, taken in eager.items():
                    times = f"{title}: times as fast as plain PyTorch, {other}"
                    yield Finding(name=times, value=taken / seconds, bound=EAGER, side="least")
                if memory:
                    yield Finding(name=f"{title}: memory", value=memory, unit="GB", bound=MEMORY["prediction"])


def training_speed(check: Check) -> Iterator[Finding]:
    """Batches of the full-size nets."""
    for net in NETS[:1] if check.small else NETS:
        for precision in reversed(PRECISIONS):
            seconds, memory = _per_batch(check, precision, net)
            name = f"training of {net}, {precision}"
            bound = BATCHES_A_SECOND[precision]
            yield Finding(name=f"{name}: batches a second", value=1 / seconds, bound=bound, side="least")
            if memory:
                yield Finding(name=f"{name}: memory", value=memory, unit="GB", bound=MEMORY["training"])


def kernels(check: Check) -> Iterator[Finding]:
    """What takes the time of a plane and of a batch."""
    for precision in PRECISIONS:
        net = _predictor(check, "1fm", precision)
        work = partial(_predict, net, [_window(net, check)], variants_for("1fm", 1))
        yield from _profiled(f"plane, {precision}", work, check)
        del net, work
    for precision in PRECISIONS:
        with tempfile.TemporaryDirectory(dir=check.folder) as folder, _as_trained():
            net = _training_net(check, Path(folder))
            batches = Batches(net, number=number_for(precision, check.device))
            for _ in range(2):
                batches.run()
            yield from _profiled(f"batch, {precision}", batches.run, check)
            close(net)


def first_command(check: Check) -> Iterator[Finding]:
    """Two planes by all nets: Python's compiled sources and Triton's kernels are there for all that follows."""
    trained, images = _nets_and_images(check)
    few = _first_files(images, check.folder / "few" / "images", 2)
    yield from _predicted(check, "fast", trained, few, note="the first command of all on this machine")
    kept = any(Path(torch.__file__).parent.glob("__pycache__/*.pyc"))
    yield Finding(name="Python keeps PyTorch's compiled sources", value=float(kept))


def whole_volume(check: Check, precision: Precision, needed: float) -> Iterator[Finding]:
    """One command: all nets and variants on 100 planes, with the share of the time that the GPU computes."""
    if check.left < needed and not check.small:
        yield yes(f"whole volume, {precision}", False, "no time was left")
        return
    target = bench_gpu.WHOLE_VOLUME[precision]
    yield from _predicted(check, precision, *_nets_and_images(check), target=target)


def deep_volume(check: Check) -> Iterator[Finding]:
    """The same planes ten times, or as often as there is time for: what a command takes to start hardly counts."""
    trained, images = _nets_and_images(check)
    times = 2 if check.small else min(10, int((check.left - DEEP_BESIDE) / DEEP_SECONDS))
    if times < 2:
        yield yes("deep volume, fast", False, "no time was left")
        return
    deep = check.folder / "deep" / "images"
    deep.mkdir(parents=True)
    for time_ in range(times):
        for path in sorted(images.iterdir()):
            (deep / f"{time_}_{path.name}").symlink_to(path.absolute())
    yield from _predicted(check, "fast", trained, deep)


def _nets_and_images(check: Check) -> tuple[Path, Path]:
    return bench_gpu.nets_and_images(check.folder / "volume", _settings_of(check))


def _settings_of(check: Check) -> Settings:
    return Settings(folder=check.folder, small=check.small, repeats=1)


def _predicted(
    check: Check, precision: Precision, trained: Path, images: Path, *, target: float | None = None, note: str = ""
) -> Iterator[Finding]:
    for figure in bench_gpu.predicted(check.gpu, precision, _settings_of(check), trained, images, target=target):
        bound = None if note else figure.target
        yield Finding(name=figure.name, value=figure.value, unit=figure.unit, bound=bound, note=note)


def first_plane(check: Check) -> Iterator[Finding]:
    """From a command to its first plane."""
    folder = check.folder / "first"
    trained = write_trained(folder / "trained", width=check.width)
    images = write_images(folder / "images", planes=2, side=check.side)
    options = ["--models", "1fm", "--precision", "fast", *(["--fit"] if check.small else [])]
    begin = time.monotonic()
    process = subprocess.Popen(_words(check, "predict", *options, trained, images, folder / "out"))
    plane = folder / "out" / "1fm" / "Segmented_0001.png"
    while not plane.exists() and process.poll() is None:
        time.sleep(0.02)
    seconds = time.monotonic() - begin
    process.wait()
    yield Finding(name="from a command to its first plane, fast", value=seconds, unit="s", bound=FIRST_PLANE)
    shutil.rmtree(folder)


def real_sample(check: Check) -> Iterator[Finding]:
    """Some minutes of the full-size 1fm on real micrographs, by the recipe `best`, and its score on others."""
    if check.sample is None:
        return
    seconds = min(check.training, check.left - AFTER_TRAINING)
    if seconds < 30 and not check.small:
        yield yes("training on the real sample", False, "no time was left")
        return
    images, labels = (check.sample / "training" / name for name in ("images", "labels"))
    out = check.folder / "sample"
    tiny = ("--width", 32, "--patch_side", 64, "--batch", 2, "--numiterations", 4, "--snapshots", 2, "--augspeed", 10)
    options = ("--recipe", "best", "--models", "1fm", "--precision", "fast")
    size = tiny[:-2] if check.small else ("--time", f"{seconds:.0f}s")
    begin = time.monotonic()
    _command(check, "train", *options, *size, images, labels, out / "trained")
    took = time.monotonic() - begin
    weights = sorted((out / "trained" / "1fm" / "trainedmodel").glob("*.caffemodel"), key=iteration_of)
    count = 1 if check.small else 10
    validation = _first_files(check.sample / "validation" / "images", out / "validation", count)
    truth = _first_files(check.sample / "validation" / "labels", out / "truth", count)
    speed = tiny[-2:] if check.small else ()
    _command(check, "predict", *options[2:], *speed, out / "trained", validation, out / "predicted")
    counts = count_volumes(out / "predicted" / "1fm", truth)
    at_half, best = score(counts, threshold=HALF), score(counts, threshold=best_threshold(counts))
    exact = f"precision {at_half.precision:.3f}, recall {at_half.recall:.3f}"
    note = f"{iteration_of(weights[-1])} iterations in {took:.0f} s; {exact}"
    yield Finding(name="real sample, 1fm by the recipe best: F1 at 0.5", value=at_half.f1, note=note)
    note = f"{best_threshold(counts) / 255:.2f}"
    yield Finding(name="real sample, 1fm: F1 at the best threshold of these planes", value=best.f1, note=note)


PARTS: dict[str, Callable[[Check], Iterator[Finding]]] = {
    "conformance": conformance,
    "predictions": recorded_predictions,
    "steps": recorded_steps,
    "tests": gpu_tests,
    "memory": out_of_memory,
    "command": first_command,
    "volume-fast": partial(whole_volume, precision="fast", needed=45),
    "training": training_speed,
    "first": first_plane,
    "speed": speed,
    "repeatability": repeatability,
    "kernels": kernels,
    "volume-float32": partial(whole_volume, precision="float32", needed=120),
    "sample": real_sample,
    "deep": deep_volume,
}
"""In order."""


def _predictor(check: Check, name: str, precision: Precision) -> Predictor:
    folder = check.folder / "models" / name
    if not folder.exists():
        folder.mkdir(parents=True)
        made = random_net(prototxts.deploy(name, width=check.width, sides=(check.side, check.side)))
        write_model(made, folder, name)
    (weights,) = folder.glob("*.caffemodel")
    model = TrainedModel(net=name, deploy=folder / prototxts.DEPLOY, weights=weights)
    return EmbeddedEngine().load(model, gpu=check.gpu, precision=precision)


def _predict(net: Predictor, windows: Sequence[np.ndarray], variants: Sequence[Variant]) -> list[np.ndarray]:
    return list(net.averaged(windows, variants))


def _window(net: Predictor, check: Check) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (net.frames, check.side, check.side), dtype=np.uint8)


@contextmanager
def plain_pytorch(*, tf32: bool) -> Iterator[None]:
    """Let nets convolve as a user's own program would: PyTorch's operators, channels first."""

    def convolve(bottom, weight, bias, kernel, *, groups=1):
        return torch.convolution(bottom, weight, bias, *_settings(kernel, transposed=False), groups)

    def deconvolve(bottom, weight, bias, kernel, *, groups=1):
        return torch.convolution(bottom, weight, bias, *_settings(kernel, transposed=True), groups)

    before = convolution.convolve, deconvolution.deconvolve
    convolution.convolve, deconvolution.deconvolve = convolve, deconvolve
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=tf32):
            yield
    finally:
        convolution.convolve, deconvolution.deconvolve = before


def _settings(kernel, *, transposed: bool) -> tuple:
    return kernel.stride, kernel.pad, kernel.dilation, transposed, (0,) * len(kernel.size)


def _eager(net: Net, check: Check) -> float:
    """Return the seconds of a window, all voxels as they come, one after another."""
    shape = next(iter(net.input_shapes.values()))
    blob = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(check.device).float()
    with torch.inference_mode():
        net.forward({net.inputs[0]: blob})
        return _seconds(lambda: next(iter(net.forward({net.inputs[0]: blob}).values())).cpu(), 1)


def _per_window(check: Check, name: str, precision: Precision) -> tuple[float, float]:
    """Return the seconds of a window and variant, and the memory that the GPU gave, GB."""
    net, variants = _predictor(check, name, precision), variants_for(name, 1)
    windows = [_window(net, check)] * (1 if check.small else 8 // (len(variants) // 8))
    _reset(check)
    list(net.averaged(windows[:1], variants))
    seconds = _seconds(lambda: list(net.averaged(windows, variants)), 1) / len(windows) / len(variants)
    return seconds, _reserved(check)


def _training_net(check: Check, folder: Path, name: str = "1fm") -> Net:
    return training_net(name, 64 if check.small else prototxts.PATCH_SIDE, check.width, folder, check.device)


def _per_batch(check: Check, precision: Precision, name: str) -> tuple[float, float]:
    """Return the seconds of a batch, and the memory that the GPU gave, GB."""
    _reset(check)
    cuda = check.device.type == "cuda"
    with tempfile.TemporaryDirectory(dir=check.folder) as folder, _as_trained():
        net = _training_net(check, Path(folder), name)
        batches = Batches(net, number=number_for(precision, check.device), replayed=cuda)
        for _ in range(5 if cuda else 1):
            batches.run()
        seconds = _seconds(batches.run, 1 if check.small else 20)
        close(net)
    return seconds, _reserved(check)


def _as_trained() -> AbstractContextManager[None]:
    """Choose kernels as a training without a seed does."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False)


def _profiled(name: str, work: Callable[[], object], check: Check) -> Iterator[Finding]:
    """Run `work` once more under PyTorch's profiler; the kernels that take most."""
    if check.device.type != "cuda":
        return
    from torch.profiler import ProfilerActivity, profile

    work()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        work()
        torch.cuda.synchronize()
    events = sorted(seen.key_averages(), key=lambda event: -event.self_device_time_total)
    total = sum(event.self_device_time_total for event in events)
    note = f"{sum(event.count for event in events)} calls"
    yield Finding(name=f"{name}: all kernels", value=total / 1e3, unit="ms", note=note)
    for event in events[:ROWS]:
        share = f"{event.self_device_time_total / total:.0%}, {event.count} calls"
        yield Finding(name=f"{name}: {event.key[:70]}", value=event.self_device_time_total / 1e3, unit="ms", note=share)


def _seconds(work: Callable[[], object], times: int) -> float:
    """Return the seconds of each of some calls."""
    _wait()
    begin = time.perf_counter()
    for _ in range(times):
        work()
    _wait()
    return (time.perf_counter() - begin) / times


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _reset(check: Check) -> None:
    if check.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _reserved(check: Check) -> float:
    return torch.cuda.max_memory_reserved() / 1e9 if check.device.type == "cuda" else 0.0


def _words(check: Check, command: str, *words: object) -> list[str]:
    begin = [sys.executable, "-m", "cdeep3m.cli.main", command, "--gpu", check.gpu, "--engine", "embedded"]
    return [str(word) for word in (*begin, *words)]


def _begun(check: Check, command: str, *words: object) -> subprocess.Popen[str]:
    """Start a command."""
    words = _words(check, command, *words)
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _ended(process: subprocess.Popen[str]) -> str:
    """Wait for a command; return what it said."""
    said = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(f"{process.args} ended with {process.returncode}: {said[-600:]}")
    return said


def _command(check: Check, command: str, *words: object) -> None:
    """Run a command."""
    _ended(_begun(check, command, *words))


def _weights(path: Path) -> list[bytes]:
    """Return the values of a model: the paths in its layers differ from run to run."""
    return [blob_to_array(blob).tobytes() for layer in read_model(path).layer for blob in layer.blobs]


def _stopped(check: Check, command: str, *words: object) -> int:
    """Run a command to its first plane and end it there; return how many planes it left."""
    folder = Path(str(words[-1])) / "1fm"
    process = subprocess.Popen(_words(check, command, *words), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(folder.glob("Segmented_*.png")):
        time.sleep(0.005)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait()
    return len(_planes(folder))


def _planes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("Segmented_*.png"))}


def _threshold(path: Path) -> None:
    """Make labels of an image: its bright voxels."""
    from PIL import Image

    with Image.open(path) as image:
        voxels = np.asarray(image)
    Image.fromarray((voxels > 127).astype(np.uint8)).save(path)


def _first_files(folder: Path, few: Path, count: int) -> Path:
    """Link the first files of a folder into another one, and return that."""
    few.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir())[:count]:
        os.symlink(path.absolute(), few / path.name)
    return few
