"""Which engines can run here, and if not, exactly why and what to do.

Facts are gathered by small functions (`gather_...`) and judged by others, which see nothing but facts.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cdeep3m.engines import nvidia
from cdeep3m.engines.images import Image, Lock
from cdeep3m.engines.local import LocalCaffe
from cdeep3m.engines.nvidia import Gpu, TorchBuild, Version, dotted
from cdeep3m.errors import CDeep3MError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdeep3m.engines.docker.daemon import Daemon

TRAINING_MEMORY = 12e9
"""Bytes of GPU memory that a training of the default batch takes."""

OWN_TOOLS = (
    "{names} in {folder} are no Caffe but this project's own, on the embedded engine: set CAFFE_PATH to the Caffe "
    "folder that holds .build_release/tools"
)

NO_TORCH = "PyTorch is not installed: pip install 'cdeep3m[embedded]'"


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """GPUs of this machine, and what its driver can do.

    Attributes
    ----------
    gpus : sequence of Gpu
        None where there are none, or nvidia-smi is absent.
    newest_cuda : tuple of int, optional
        Newest CUDA that the driver runs.
    problem : str
        Why the driver does not work; empty where it does, or where there is none.
    """

    gpus: Sequence[Gpu] = ()
    newest_cuda: Version | None = None
    problem: str = ""

    def driver_is_too_old_for(self, cuda: Version | None) -> bool:
        """Return whether the driver is older than all that can run programs of that CUDA: an earlier major version."""
        return bool(self.gpus and cuda and self.newest_cuda and self.newest_cuda[0] < cuda[0])


@dataclass(frozen=True, kw_only=True)
class DockerFacts:
    """What was found of Docker and of one image.

    Attributes
    ----------
    problem : str
        Why no container can run; empty where they can.
    daemon : Daemon, optional
        What answered.
    here : str
        Digest of the image, empty where it is not here.
    pin : str
        The content that is demanded of it, empty where none is yet.
    image_problem : str
        Why the image cannot be used.
    """

    problem: str = ""
    daemon: Daemon | None = None
    here: str = ""
    pin: str = ""
    image_problem: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether an engine can run here.

    Attributes
    ----------
    engine : str
        Its name.
    usable : bool
        Whether it can run, be it on the CPU.
    summary : str
        What would run.
    remarks : tuple of str
        What stops it, or keeps it from a GPU, each with its remedy.
    """

    engine: str
    usable: bool
    summary: str
    remarks: tuple[str, ...] = field(default=())


def examine(image: Image) -> list[Verdict]:
    """Return for each engine whether it can run here."""
    gpus = gather_gpus()
    return [
        judge_embedded(gather_torch(), gpus),
        judge_caffe(LocalCaffe.from_environment(), gpus),
        judge_docker(gather_docker(image), image, gpus),
    ]


def gather_gpus() -> GpuFacts:
    """Ask nvidia-smi."""
    gpus = nvidia.list_gpus()
    return GpuFacts(
        gpus=gpus, newest_cuda=nvidia.newest_cuda() if gpus else None, problem="" if gpus else nvidia.driver_problem()
    )


def gather_torch() -> TorchBuild | None:
    """Ask PyTorch, None where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    from cdeep3m.engines.embedded.build import torch_build

    return torch_build()


def gather_docker(image: Image, lock: Lock | None = None) -> DockerFacts:
    """Ask the Docker daemon; nothing is pulled or pinned."""
    from cdeep3m.engines.docker.contents import digest_of, find
    from cdeep3m.engines.docker.daemon import address, connect, describe, remote_problem

    if problem := remote_problem(address()):
        return DockerFacts(problem=problem)
    try:
        client = connect()
        daemon = describe(client)
    except CDeep3MError as error:
        return DockerFacts(problem=str(error))
    try:
        pin = (lock or Lock()).pin_of(image)
        found = find(client, image, pin)
    except CDeep3MError as error:
        return DockerFacts(daemon=daemon, image_problem=str(error))
    return DockerFacts(daemon=daemon, pin=pin, here=digest_of(found, image.reference) if found else "")


def judge_embedded(torch: TorchBuild | None, facts: GpuFacts) -> Verdict:
    """Return whether the embedded engine can run, and what keeps it from a GPU."""
    if torch is None:
        return Verdict("embedded", False, "", (NO_TORCH,))
    built = f"CUDA {dotted(torch.cuda)}" if torch.cuda else "the CPU"
    where = f"{torch.devices} GPU{'s' * (torch.devices > 1)}" if torch.devices else f"CPU, {torch.threads} threads"
    remarks = [*_torch_remarks(torch, facts), *memory_remarks(facts.gpus)]
    return Verdict("embedded", True, f"PyTorch {torch.version} built for {built}; {where}", tuple(remarks))


def judge_caffe(engine: LocalCaffe, facts: GpuFacts) -> Verdict:
    """Return whether Caffe's own tools are here."""
    if stops := engine.check():
        return Verdict("caffe", False, "", tuple(stops))
    if own := engine.own_tools():
        return Verdict("caffe", False, "", (OWN_TOOLS.format(names=" and ".join(own), folder=engine.folder),))
    remarks = [*filter(None, [facts.problem]), *memory_remarks(facts.gpus)]
    where = f"{len(facts.gpus)} GPU{'s' * (len(facts.gpus) > 1)}" if facts.gpus else "CPU"
    return Verdict("caffe", True, f"tools in {engine.folder}; {where}", tuple(remarks))


def judge_docker(docker: DockerFacts, image: Image, facts: GpuFacts) -> Verdict:
    """Return whether the image's tools can run in a container, and what keeps them from a GPU."""
    if docker.problem or docker.daemon is None:
        return Verdict("docker", False, "", (docker.problem,))
    stops = docker.image_problem
    if not stops and not docker.here and image.build:
        stops = f"no image {image.name} here: build it with `{image.build}`, or use another one with --image"
    absent = "" if docker.here or stops else f"image {image.name} is not here yet: it is pulled at the first run"
    remarks = [*filter(None, [stops, absent, facts.problem]), *_container_remarks(docker.daemon, image, facts)]
    content = docker.pin or docker.here
    pinned = "pinned as" if docker.pin else "will be pinned as"
    summary = f"{docker.daemon.version}, image {image.name}{f' {pinned} {content}' if content else ''}"
    return Verdict("docker", not stops, summary, tuple(remarks))


def memory_remarks(gpus: Sequence[Gpu]) -> list[str]:
    """Return which GPUs are too small to train with the default batch."""
    return [
        f"{gpu} has {gpu.memory * 2**20 / 1e9:.0f} GB; training takes {TRAINING_MEMORY / 1e9:.0f} GB at the default "
        "batch: predict with it, and train with smaller patches (--patch_side) or narrower nets (--width)"
        for gpu in gpus
        if 0 < gpu.memory * 2**20 < TRAINING_MEMORY
    ]


def _torch_remarks(torch: TorchBuild, facts: GpuFacts) -> list[str]:
    if not facts.gpus:
        return [facts.problem] if facts.problem else []
    names = ", ".join(map(str, facts.gpus))
    if torch.cuda is None:
        return [
            f"PyTorch without CUDA does not use {names}: install its CUDA build, as PyTorch's installation page says"
        ]
    if facts.driver_is_too_old_for(torch.cuda):
        return [_old_driver(facts, f"PyTorch here was built for {dotted(torch.cuda)}", "install an older PyTorch")]
    if not torch.devices:
        return [f"PyTorch sees none of {names}: is CUDA_VISIBLE_DEVICES set, or the driver's service stopped?"]
    return [remark for gpu in facts.gpus if (remark := _architecture_remark(torch, gpu))]


def _architecture_remark(torch: TorchBuild, gpu: Gpu) -> str:
    """Return why PyTorch has no code for a GPU; code runs on later GPUs of the same major capability."""
    known = torch.architectures
    if gpu.capability is None or not known or any(a[0] == gpu.capability[0] and a <= gpu.capability for a in known):
        return ""
    if gpu.capability < known[0]:
        return f"{gpu} is too old for this PyTorch (from {dotted(known[0])}): use --gpu -1, or an older PyTorch"
    return f"{gpu} is too new for this PyTorch (up to {dotted(known[-1])}): install a newer PyTorch"


def _container_remarks(daemon: Daemon, image: Image, facts: GpuFacts) -> list[str]:
    if not facts.gpus:
        return []
    if problem := daemon.gpu_problem():
        return [f"{problem}; until then on the CPU"]
    if facts.driver_is_too_old_for(image.cuda):
        return [_old_driver(facts, f"{image.name} was built for {dotted(image.cuda or (0, 0))}", "use another image")]
    return [*filter(None, map(image.stops, facts.gpus)), *memory_remarks(facts.gpus)]


def _old_driver(facts: GpuFacts, need: str, otherwise: str) -> str:
    runs = dotted(facts.newest_cuda or (0, 0))
    return f"driver {facts.gpus[0].driver} is too old: it runs CUDA up to {runs}, {need}; update it, or {otherwise}"
