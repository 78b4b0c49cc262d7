"""Study what each choice of a recipe brings: train nets on a part of a labelled volume, score them on the rest of it.

DATA holds training/images and training/labels, as the original's mito_testsample does; its validation volume is looked
at with `--held validation` alone. Every choice has the same processor-seconds: `SPEED` turns them into steps, so that a
GPU, which is quicker, answers for the processors of a laptop. From the project's folder:

    PYTHONPATH=tests python -m benchmarks.study_learning DATA build/study.jsonl --device cuda --jobs 14

Some six minutes on one H200 (start nvidia-cuda-mps-control first, so that the jobs share it), days on two cores.
`--choices important --seeds 3 --minutes 4.5` tries those that matter, what matters most first, and keeps what is done
when the time is up; the same command goes on with what the file lacks. The table of docs/learning.md is what `--table`
makes of the file.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import sys
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from cdeep3m.engines.embedded.fast.training_steps import merged
from cdeep3m.engines.embedded.net.executor import Net
from cdeep3m.nets.binning import binned, enlarged
from cdeep3m.nets.inception import class_scores, stem_3d
from cdeep3m.nets.prototxts import FRAMES, NetMake, made, narrowed
from cdeep3m.nets.spec import input_blob
from cdeep3m.proto import caffe_pb2
from cdeep3m.volumes import open_volume, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.pool import IMapIterator

SPEED = {8: 0.26, 6: 0.205, 4: 0.172, 3: 0.132, 2: 0.098}
"""Million pixels of patches that a processor-second trains, by the divisor of the channels (2 cores of an AMD EPYC)."""
BINNED = 3
"""So many times as many of pixels that are binned 2 x 2."""

SIDES = ("conv_deconv2_2x", "conv_deconv3_4x", "conv_deconv4_8x", "conv_deconv5_16x")
"""The four scores whose sum the nets give, for losses of their own."""

HELD = {"right": np.s_[:, :, 768:], "bottom": np.s_[:, 768:], "top": np.s_[:, :256]}
REST = {"right": np.s_[:, :, :736], "bottom": np.s_[:, :736], "top": np.s_[:, 288:]}
"""What is scored and what is learnt from, with 32 pixels between them."""

VALIDATION = "validation"
"""Held out: the validation volume, of which nothing is ever chosen; all of the training volume is learnt from."""
ELSEWHERE = "elsewhere"
"""Held out: the right halves of the validation planes; `halves` says what is learnt from."""
LEFT, RIGHT = np.s_[:, :, :480], np.s_[:, :, -480:]
"""Halves of planes, with 64 pixels between them."""
SIDE_STEP = 32
"""Sides of planes are multiples of it, so that nets that bin take them whole."""

LARGE = 2000
"""A false body of so many pixels of a plane, or more, is a large one: twice what half of the sample's mitochondria
are."""
BRIGHTER = 10
"""How much brighter, and darker, the held-out images are shown as well: as the validation planes are brighter."""

PIECES, REACH = 5, 2.5
"""Of curves of gray values: straight lines, and standard deviations from the mean to where they end."""

OUTSIDE = -1
"""Label of pixels that a turned patch takes from outside the volume: they are not learnt from."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way to train one net.

    Attributes
    ----------
    name, net : str
        Its row in the table; which net.
    seconds : float
        Processor-seconds.
    width, least : int
        Divisor of the numbers of channels, and the least number that it leaves.
    side, batch : int
        Patches.
    rate, decay, head_rate : float
        AdamW's, and the factor on the rate for the four heads.
    dice, balance, smoothing, auxiliary : float
        Weight of soft Dice beside cross-entropy, how far classes are balanced, label smoothing, weight of the sides'
        losses.
    turns : bool
        Patches are turned by any angle and enlarged by up to `scale`, not by quarters alone.
    scale, elastic, noise, jitter, rare : float
        Augmentation; share of patches around foreground.
    curve, shade : float
        Gray values go through a curve of this strength; foreground becomes darker or brighter by up to so many standard
        deviations.
    filler : str
        Of convolutions: "original" or "msra".
    residual, kept : float
        Factor of the residual sums; what BatchNorm keeps.
    binning : int
        Pixels along a side of the squares that a net averages before it looks.
    smoothly : bool
        Whether these squares overlap in predictions.
    area : float
        Share of a plane's part that is learnt from: 1, a half, a quarter ...
    places : int
        Where `ELSEWHERE` is held out: of how many places the halves are that are learnt from, 1 or 2.
    held, seed
        Which part is held out; source of all chance.
    """

    name: str
    net: str = "3fm"
    seconds: float = 1500
    width: int = 4
    least: int = 16
    side: int = 256
    batch: int = 6
    rate: float = 2e-3
    decay: float = 0.01
    head_rate: float = 1.0
    dice: float = 1.0
    balance: float = 0.0
    smoothing: float = 0.0
    auxiliary: float = 0.0
    turns: bool = True
    scale: float = 0.15
    elastic: float = 0.0
    noise: float = 0.0
    jitter: float = 0.2
    curve: float = 0.0
    shade: float = 0.0
    rare: float = 0.0
    filler: str = "original"
    residual: float = 0.1
    kept: float = 0.95
    binning: int = 1
    smoothly: bool = True
    area: float = 1.0
    places: int = 1
    held: str = "right"
    seed: int = 1

    @property
    def steps(self) -> int:
        """Steps that the processor-seconds suffice for."""
        speed = SPEED[self.width] * (BINNED if self.binning > 1 else 1)
        return int(self.seconds * speed * 1e6 / (self.batch * self.side**2))


BASE = Choice(name="a quarter of the channels")
WHOLE = replace(BASE, name="1fm alone, an eighth of the channels", net="1fm", width=8)
QUICK = replace(WHOLE, name="the recipe quick", turns=False, scale=0.0)
"""What the recipe `quick` does: quarter turns alone."""
BINNED_QUICK = replace(QUICK, name="quick, binned", binning=2, side=320, batch=4)
CHOICES = (
    BASE,
    WHOLE,
    QUICK,
    BINNED_QUICK,
    replace(BINNED_QUICK, name=f"{BINNED_QUICK.name}, turned by any angle", turns=True, scale=0.15),
    replace(BINNED_QUICK, name=f"{BINNED_QUICK.name}, noise", noise=0.4),
    replace(BINNED_QUICK, name=f"{BINNED_QUICK.name}, squares that do not overlap", smoothly=False),
    replace(BINNED_QUICK, name=f"{BINNED_QUICK.name}, gray values twice as jittered", jitter=0.4),
    replace(BINNED_QUICK, name=f"{BINNED_QUICK.name}, foreground of any shade", shade=0.4),
    replace(BINNED_QUICK, name=f"{BINNED_QUICK.name}, curves of gray values", curve=0.7),
    replace(BINNED_QUICK, name=f"{BINNED_QUICK.name}, half of the area", area=0.5),
    replace(BINNED_QUICK, name=f"{BINNED_QUICK.name}, a quarter of the area", area=0.25),
    replace(BINNED_QUICK, name=f"{BINNED_QUICK.name}, halves of two places", places=2),
    replace(QUICK, name=f"{QUICK.name}, half of the area", area=0.5),
    replace(QUICK, name=f"{QUICK.name}, a quarter of the area", area=0.25),
    *(replace(QUICK, name=f"{QUICK.name}, {seconds} s", seconds=seconds) for seconds in (5000, 20000)),
    *(replace(BASE, name=f"{net} alone", net=net) for net in ("1fm", "5fm")),
    replace(BASE, name="an eighth of the channels", width=8),
    replace(BASE, name="an eighth, 2 at least, quarter turns", width=8, least=2, turns=False, scale=0.0),
    replace(BASE, name="a third of the channels", width=3),
    replace(BASE, name="half of the channels", width=2, least=32),
    replace(BASE, name="32 channels at least", least=32),
    replace(BASE, name="losses of the four sides", auxiliary=0.3),
    replace(BASE, name="msra", filler="msra"),
    replace(BASE, name="msra, residual sums of 1", filler="msra", residual=1.0),
    replace(
        BASE,
        name="msra, losses of the sides, residual sums of 1, rate 0.003",
        filler="msra",
        auxiliary=0.3,
        residual=1.0,
        rate=3e-3,
    ),
    *(replace(BASE, name=f"rate {rate}", rate=rate) for rate in (1e-3, 5e-3)),
    replace(BASE, name="heads three times as fast", head_rate=3.0),
    replace(BASE, name="quarter turns alone", turns=False, scale=0.0),
    replace(BASE, name="classes half balanced", balance=0.5),
    replace(BASE, name="patches of 160, 12 a step", side=160, batch=12),
    replace(BASE, name="3 patches a step", batch=3),
    replace(BASE, name="30 % around foreground", rare=0.3),
    replace(BASE, name="elastic, noise", elastic=4.0, noise=0.2),
    replace(BASE, name="cross-entropy alone", dice=0.0),
    replace(BASE, name="decay 0.1", decay=0.1),
    replace(BASE, name="gray values twice as jittered", jitter=0.4),
    replace(BASE, name="BatchNorm keeps 0.98", kept=0.98),
    replace(BASE, name="smoothed labels", smoothing=0.05),
    replace(BASE, name="5000 s", seconds=5000),
    replace(BASE, name="5000 s, half of the channels", seconds=5000, width=2, least=32),
)
FIRST = (
    QUICK.name,
    f"{QUICK.name}, a quarter of the area",
    BASE.name,
    f"{QUICK.name}, half of the area",
    "an eighth of the channels",
    "1fm alone",
    "half of the channels",
)
THEN = ("3 patches a step", "patches of 160, 12 a step", "cross-entropy alone", "quarter turns alone", "msra")
"""The choices that matter, and those that matter less."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=math.inf, help="when to stop; what is done by then is kept")
    parser.add_argument("--seconds", type=float, help="processor-seconds of each run, other than its choice's own")
    parser.add_argument("--held", nargs="+", choices=[*HELD, VALIDATION, ELSEWHERE], default=["right", "bottom"])
    parser.add_argument("--choices", nargs="+", default=["all"], help="names of rows, 'important' or 'all'")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args(argv)
    if options.table:
        print("\n".join(table(options.out)))
        return 0
    until = time.monotonic() + 60 * options.minutes
    there = [run["choice"] for run in runs_in(options.out)]
    wanted = runs(options.choices, seeds=options.seeds, held=options.held, seconds=options.seconds)
    todo = [(options, run) for run in wanted if asdict(run) not in there]
    done = 0
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool, options.out.open("a") as out:
        for line in until_time_is_up(pool.imap_unordered(_study, todo, chunksize=1), until):
            out.write(line + "\n")
            out.flush()
            done += 1
    print(f"{done} of {len(todo)} runs are done, {len(wanted) - len(todo)} were there", file=sys.stderr)
    return 0


def runs(names: Sequence[str], *, seeds: int, held: Sequence[str], seconds: float | None = None) -> list[Choice]:
    """Return the runs that are asked for, in the order in which they are worth most: all choices, then another seed."""
    named = {choice.name: lasting(choice, seconds) if seconds else choice for choice in CHOICES}
    tiers = (FIRST, THEN) if list(names) == ["important"] else (list(named) if list(names) == ["all"] else names,)
    missing = [name for tier in tiers for name in tier if name not in named]
    if missing:
        raise SystemExit(f"ERROR, no choice {missing[0]!r}; there are {', '.join(named)}")
    return [
        replace(named[name], held=part, seed=seed + 1)
        for tier in tiers
        for seed in range(seeds)
        for name in tier
        for part in held
    ]


def lasting(choice: Choice, seconds: float) -> Choice:
    """Return a choice that takes other processor-seconds, under a name that says so."""
    return replace(choice, name=f"{choice.name}, in {seconds:g} s", seconds=seconds)


def until_time_is_up(results: IMapIterator[str], until: float) -> Iterator[str]:
    """Yield results as they come, until a time by `time.monotonic`; say which error took the place of one."""
    while True:
        left = until - time.monotonic()
        try:
            result = results.next(None if left == math.inf else max(0.0, left))
        except (StopIteration, multiprocessing.TimeoutError):
            return
        except RuntimeError as error:  # such as too little memory on the GPU: others may fit
            print(f"a run failed: {error}", file=sys.stderr)
            continue
        yield result


def _study(job: tuple[argparse.Namespace, Choice]) -> str:
    options, choice = job
    torch.set_num_threads(1)
    begin = time.monotonic()
    seen, known, unseen, truth = parts(options.data, choice)
    mean, deviation = seen.mean(), seen.std()
    seen, known = ((seen - mean) / deviation).to(options.device), known.to(options.device)
    trains = time.process_time()
    _, net = trained(choice, seen, known)
    processor = round(time.process_time() - trains)
    planes = range(1, len(unseen), 3) if choice.held in HELD else range(len(unseen))

    def maps(brighter: int = 0) -> torch.Tensor:
        return predicted(choice, net, ((unseen + brighter - mean) / deviation).to(options.device), planes)

    made, sought, some = maps(), truth[list(planes)], range(1, len(seen), 6)
    others = {
        "learnt": scores(predicted(choice, net, seen, some), known[list(some)].cpu())["f1"],
        "brighter": scores(maps(BRIGHTER), sought)["f1"],
        "darker": scores(maps(-BRIGHTER), sought)["f1"],
    }
    found = {**scores(made, sought), **without_large_bodies(made, sought), **others}
    seconds = round(time.monotonic() - begin, 1)
    took = {"processor": processor, "clock": seconds}
    return json.dumps({"choice": asdict(choice), "steps": choice.steps, **found, **took})


def parts(data: Path, choice: Choice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return images and labels that a choice learns from, and those that it is scored on; axes (z, y, x)."""
    training = _volume(data / "training")
    if choice.held in HELD:
        learnt, held = REST[choice.held], HELD[choice.held]
        seen, known, unseen, truth = (volume[part].contiguous() for part in (learnt, held) for volume in training)
        return part_of(seen, choice.area), part_of(known, choice.area), unseen, truth
    validation = _volume(data / "validation")
    if choice.held == VALIDATION:
        seen, known = (part_of(volume, choice.area) for volume in training)
        return seen, known, *validation
    seen, known = (halves(*volumes, places=choice.places) for volumes in zip(training, validation, strict=True))
    unseen, truth = (volume[RIGHT].contiguous() for volume in validation)
    return seen, known, unseen, truth


def halves(training: torch.Tensor, validation: torch.Tensor, *, places: int) -> torch.Tensor:
    """Return as many halves of planes, whether they are of one place or of two; for nets that see one plane.

    They are the left halves of the training planes, and as many others as there are validation planes: the right halves
    of training planes, evenly through the volume, or the left halves of the validation planes.
    """
    count = len(validation)
    evenly = [index * len(training) // count for index in range(count)]
    return torch.cat([training[LEFT], validation[LEFT] if places > 1 else training[RIGHT][evenly]])


def _volume(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images as they are and labels of 0 and 1, shape (z, y, x), float32."""
    images, labels = (torch.from_numpy(read_all(open_volume(folder / name))).float() for name in ("images", "labels"))
    return images, (labels > 0).float()


def part_of(volume: torch.Tensor, area: float) -> torch.Tensor:
    """Return a volume (z, y, x) whose planes are halved along their longer side until about `area` of them is left."""
    while area < 1:
        longer = 1 if volume.shape[1] >= volume.shape[2] else 2
        half = volume.shape[longer] // (2 * SIDE_STEP) * SIDE_STEP
        volume, area = volume.narrow(longer, 0, half), area * 2
    return volume.contiguous()


def build(choice: Choice, *, predicts: bool = False) -> caffe_pb2.NetParameter:
    """Return the net of a choice, which trains or predicts."""
    message = caffe_pb2.NetParameter()
    frames = FRAMES[choice.net]
    data = input_blob(message, "data", (choice.batch, 1, choice.side, choice.side, frames))
    scores = class_scores(stem_3d(binned(data, choice.binning, predicts=predicts and choice.smoothly), frames))
    enlarged(scores, choice.binning, classes=2, predicts=predicts)
    for layer in message.layer:
        if layer.eltwise_param.coeff and len(layer.bottom) == 2:
            layer.eltwise_param.coeff[1] = choice.residual
    narrow = narrowed(message, choice.width, least=choice.least)
    return made(narrow, NetMake(bn_fraction=choice.kept, initialisation=choice.filler))


def trained(choice: Choice, images: torch.Tensor, labels: torch.Tensor) -> tuple[Net, Net]:
    """Train a net on a volume (z, y, x), return it and the one that predicts; on a GPU a step is recorded once."""
    seeded = torch.Generator().manual_seed(choice.seed)
    device: dict[str, Any] = {"device": images.device}
    train = Net(build(choice), phase=caffe_pb2.TRAIN, generator=seeded, rewrite=merged, **device)
    for item in train.learnable:
        item.blob.requires_grad_(item.blob.requires_grad and item.lr_mult > 0)
    known = [item for item in train.learnable if item.blob.requires_grad]
    groups = defaultdict(list)
    for item in known:
        factor = choice.head_rate if "deconv" in item.layer.name or "fc1" in item.layer.name else 1.0
        groups[factor, choice.decay if item.blob.dim() > 1 else 0.0].append(item.blob)
    settings = [{"params": blobs, "weight_decay": decay, "factor": factor} for (factor, decay), blobs in groups.items()]
    adam = torch.optim.AdamW(settings, lr=choice.rate, betas=(0.9, 0.99), fused=images.is_cuda)
    blobs = [item.blob for item in known]
    step = Step(choice, train, blobs)
    draws = torch.Generator(device=images.device).manual_seed(choice.seed)
    for index in range(choice.steps):
        step.run(*patches(choice, images, labels, draws))
        torch.nn.utils.clip_grad_norm_(blobs, 5.0)
        for group in adam.param_groups:
            group["lr"] = choice.rate * share_of_rate(index, choice.steps) * group["factor"]
        adam.step()
    test = Net(build(choice, predicts=True), phase=caffe_pb2.TEST, **device)
    test.load_weights(train.to_message())
    return train, test


def share_of_rate(index: int, steps: int) -> float:
    """Return the share of the base rate: up to 1 within a twentieth of the steps, then along a cosine to 0."""
    warm = max(1, steps // 20)
    if index < warm:
        return (index + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (index - warm) / max(1, steps - warm)))


class Step:
    """One batch forwards and backwards."""

    def __init__(self, choice: Choice, net: Net, blobs: list[torch.Tensor]) -> None:
        self.choice, self.net, self.blobs = choice, net, blobs
        self.seen, self.graph = 0, torch.cuda.CUDAGraph() if net.context.device.type == "cuda" else None
        self.given: tuple[torch.Tensor, torch.Tensor] | None = None

    def run(self, data: torch.Tensor, label: torch.Tensor) -> None:
        """Leave the gradients of a batch in the blobs."""
        self.seen += 1
        for blob in self.blobs:
            blob.grad = torch.zeros_like(blob) if blob.grad is None else blob.grad.zero_()
        if self.graph is None or self.seen <= 5:
            self.plainly(data, label)
            return
        if self.given is None:
            self.given = data.clone(), label.clone()
            torch.cuda.synchronize()
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.plainly(*self.given)
        for mine, blob in zip(self.given, (data, label), strict=True):
            mine.copy_(blob)
        self.graph.replay()

    def plainly(self, data: torch.Tensor, label: torch.Tensor) -> None:
        """Run a batch as it is written."""
        sides = SIDES if self.choice.auxiliary else ()
        made = self.net.forward({"data": data}, keep=sides)
        total = loss(self.choice, made[self.net.outputs[0]], label)
        for name in sides:
            total = total + self.choice.auxiliary * loss(self.choice, made[name], label)
        total.backward()


def loss(choice: Choice, scores: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Return cross-entropy and soft Dice of scores (n, 2, x, y)."""
    valid, truth = (label != OUTSIDE).float(), label.clamp_min(0)
    logs = functional.log_softmax(scores.float(), 1)
    error = -(1 - choice.smoothing) * logs.gather(1, truth[:, None])[:, 0] - choice.smoothing * logs.mean(1)
    share = ((truth * valid).sum() / valid.sum()).clamp(0.02, 0.98)
    weight = valid * torch.where(truth > 0, 0.5 / share, 0.5 / (1 - share)) ** choice.balance
    found = logs[:, 1].exp() * valid
    dice = 1 - (2 * (found * truth).sum() + 1) / (found.sum() + (truth * valid).sum() + 1)
    return (error * weight).sum() / weight.sum() + choice.dice * dice


def patches(
    choice: Choice, images: torch.Tensor, labels: torch.Tensor, draws: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw augmented patches: data (n, 1, side, side, frames) and labels (n, side, side)."""
    (planes, *sides), count, side, frames = images.shape, choice.batch, choice.side, FRAMES[choice.net]
    device = images.device

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=draws, device=device)

    z = torch.randint(planes, (count,), generator=draws, device=device)
    centre = torch.stack([draw(count) * (length - side) + side / 2 for length in sides], -1)
    if choice.rare:
        z, centre = _around_foreground(choice, labels, z, centre, draws)
    order = torch.where(draw(count) < 0.5, -1, 1)[:, None] * (torch.arange(frames, device=device) - frames // 2)
    windows = images[(z[:, None] + order).clamp(0, planes - 1)]
    angle = draw(count) * 2 * math.pi
    angle = angle if choice.turns else (angle / (math.pi / 2)).floor() * (math.pi / 2)
    size = torch.exp((draw(count) * 2 - 1) * choice.scale)
    mirror = torch.where(draw(count) < 0.5, -1.0, 1.0)
    line = torch.arange(side, device=device) - (side - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    y, x = y[None], x[None] * mirror[:, None, None]
    cosine, sine = (torch.cos(angle) * size)[:, None, None], (torch.sin(angle) * size)[:, None, None]
    places = torch.stack([cosine * y - sine * x, sine * y + cosine * x], -1) + centre[:, None, None]
    if choice.elastic:
        shape = (count, 2, side // 32 + 3, side // 32 + 3)
        shifts = torch.randn(shape, generator=draws, device=device) * choice.elastic
        shifts = functional.interpolate(shifts, size=(side, side), mode="bicubic", align_corners=True)
        places = places + shifts.permute(0, 2, 3, 1)
    scaled = ((places + 0.5) / torch.tensor(sides, device=device) * 2 - 1).flip(-1)
    data = functional.grid_sample(windows, scaled, mode="bicubic", padding_mode="reflection", align_corners=False)
    label = functional.grid_sample(labels[z][:, None], scaled, mode="nearest", align_corners=False)[:, 0].long()
    label = torch.where((scaled.abs() > 1).any(-1), OUTSIDE, label)
    contrast, brightness = ((draw(count, 1, 1, 1) * 2 - 1) * choice.jitter for _ in range(2))
    data = data * (1 + contrast) + 1.5 * brightness
    if choice.curve:
        data = torch.stack([curved(patch, choice.curve, draws) for patch in data])
    if choice.shade:
        inside = (label > 0).float()[:, None]
        for _ in range(2):  # smooth edges, or a net would see where the shade ends
            inside = functional.avg_pool2d(inside, 5, 1, 2)
        data = data + inside * (draw(count, 1, 1, 1) * 2 - 1) * choice.shade
    data = data + torch.randn(data.shape, generator=draws, device=device) * (draw(count, 1, 1, 1) * choice.noise)
    return data.permute(0, 2, 3, 1)[:, None].contiguous(), label


def curved(patch: torch.Tensor, strength: float, draws: torch.Generator) -> torch.Tensor:
    """Return a patch seen through a rising curve: `PIECES` lines of drawn slopes, between -`REACH` and `REACH`."""
    slopes = torch.exp((torch.rand(PIECES, generator=draws, device=patch.device) * 2 - 1) * strength)
    slopes *= PIECES / slopes.sum()
    begins = slopes.cumsum(0) - slopes
    place = ((patch / REACH + 1) / 2).clamp(0, 1) * PIECES
    piece = place.long().clamp(max=PIECES - 1)
    return ((begins[piece] + (place - piece) * slopes[piece]) / PIECES * 2 - 1) * REACH


def _around_foreground(
    choice: Choice, labels: torch.Tensor, z: torch.Tensor, centre: torch.Tensor, draws: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move a share of the patches to where there is foreground."""
    found = torch.nonzero(labels)
    chosen = found[torch.randint(len(found), z.shape, generator=draws, device=z.device)]
    moved = torch.rand(z.shape, generator=draws, device=z.device) < choice.rare
    shift = (torch.rand(centre.shape, generator=draws, device=z.device) - 0.5) * choice.side / 2
    limits = torch.tensor(labels.shape[1:], device=z.device) - choice.side / 2
    near = torch.minimum((chosen[:, 1:] + shift).clamp_min(choice.side / 2), limits)
    return torch.where(moved, chosen[:, 0], z), torch.where(moved[:, None], near, centre)


@torch.no_grad()
def predicted(choice: Choice, net: Net, images: torch.Tensor, planes: Sequence[int]) -> torch.Tensor:
    """Return the foreground's probabilities (planes, y, x), averaged over the eight views of each plane."""
    frames = FRAMES[choice.net]
    return torch.stack([_plane(net, images, z, frames) for z in planes])


def _plane(net: Net, images: torch.Tensor, z: int, frames: int) -> torch.Tensor:
    near = (torch.arange(frames, device=images.device) - frames // 2 + z).clamp(0, len(images) - 1)
    window = images[near]
    total = torch.zeros(window.shape[1:], device=images.device)
    for quarters, mirrored in _views():
        view = torch.rot90(window, quarters, (1, 2))
        view = view.flip(2) if mirrored else view
        made = net.forward({"data": view.permute(1, 2, 0)[None, None].contiguous()})[net.outputs[0]]
        found = torch.softmax(made.float(), 1)[0, 1]
        total += torch.rot90(found.flip(1) if mirrored else found, -quarters, (0, 1))
    return (total / 8).cpu()


def _views() -> Iterator[tuple[int, bool]]:
    return ((quarters, mirrored) for mirrored in (False, True) for quarters in range(4))


def scores(maps: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Return F1, precision and recall at 0.5, and the best F1 with its threshold."""
    levels = (maps * 255).round().long().flatten()
    inside = truth.flatten() > 0
    hits, misses = (
        torch.bincount(levels[which], minlength=256).flip(0).cumsum(0).flip(0).double() for which in (inside, ~inside)
    )
    f1 = 2 * hits / (hits + misses + inside.sum()).clamp_min(1)
    best = int(f1.argmax())
    return {
        "f1": float(f1[128]),
        "precision": float(hits[128] / (hits[128] + misses[128]).clamp_min(1)),
        "recall": float(hits[128] / inside.sum()),
        "best": float(f1[best]),
        "threshold": best / 255,
    }


def without_large_bodies(maps: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Return which share of the false pixels lies in large false bodies, and F1 at 0.5 without these.

    A body is what is connected in a plane; it is false where less than a tenth of it is true.
    """
    found, inside = (maps * 255).round().numpy() >= 128, truth.numpy() > 0
    false = np.zeros_like(found)
    for plane, true, marked in zip(found, inside, false, strict=True):
        bodies, count = ndimage.label(plane)
        sizes, hits = (np.bincount(bodies[which], minlength=count + 1) for which in (plane, plane & true))
        marked[:] = ((sizes >= LARGE) & (hits < sizes / 10))[bodies]
    left = found & ~false
    return {
        "bodies": float((false & ~inside).sum() / max(1, (found & ~inside).sum())),
        "without": float(2 * (left & inside).sum() / max(1, left.sum() + inside.sum())),
    }


def runs_in(path: Path) -> list[dict[str, Any]]:
    """Return the runs that a file holds, without one that is cut off; none where there is no file."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def table(path: Path) -> list[str]:
    """Return the means of each choice as Markdown, the best first.

    A mean is that of the parts' means; the spread is the standard deviation over the seeds that have all parts.
    """
    found = defaultdict(list)
    for run in runs_in(path):
        held = run["choice"]["held"]
        where = "" if held in HELD else f" ({held})"
        found[run["choice"]["name"] + where].append(run)
    rows = {name: _row(runs) for name, runs in found.items()}
    heads = ("choice", "steps", "seeds", "F1", "+-", "parts", "precision", "recall", "best F1", "F1 learnt")
    heads += ("brighter", "darker", "in large bodies", "F1 without them")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    best_first = sorted(rows, key=lambda name: -rows[name][0])
    return lines + [f"| {name} | {' | '.join(rows[name][1])} |" for name in best_first]


def _row(runs: Sequence[dict[str, Any]]) -> tuple[float, list[str]]:
    """Return the F1 of a choice's runs, and the cells of its row."""
    parts: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for run in runs:
        parts[run["choice"]["held"]][run["choice"]["seed"]] = run

    def mean(key: str) -> float:
        known = [[run[key] for run in part.values() if key in run] for part in parts.values()]
        return statistics.fmean([statistics.fmean(values) for values in known if values] or [math.nan])

    whole = sorted(set.intersection(*(set(part) for part in parts.values())))
    of_seeds = [statistics.fmean([part[seed]["f1"] for part in parts.values()]) for seed in whole]
    spread = f"{statistics.stdev(of_seeds):.3f}" if len(of_seeds) > 1 else ""
    of_parts = [f"{name} {statistics.fmean([run['f1'] for run in parts[name].values()]):.3f}" for name in sorted(parts)]
    cells = [f"{runs[0]['steps']}", f"{len(whole)}", f"{mean('f1'):.3f}", spread, ", ".join(of_parts)]
    others = ("precision", "recall", "best", "learnt", "brighter", "darker", "bodies", "without")
    known = {key for run in runs for key in run}
    return mean("f1"), cells + [f"{mean(key):.3f}" if key in known else "" for key in others]


if __name__ == "__main__":
    sys.exit(main())
