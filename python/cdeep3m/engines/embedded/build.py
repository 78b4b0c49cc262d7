"""What the PyTorch that is installed here was built for."""

from __future__ import annotations

import re

import torch

from cdeep3m.engines.nvidia import TorchBuild, version


def torch_build() -> TorchBuild:
    """Return version, CUDA, GPU architectures and the devices that are seen."""
    return TorchBuild(
        version=str(torch.__version__),
        cuda=version(torch.version.cuda),
        architectures=tuple(sorted(map(_capability, torch.cuda.get_arch_list()))),
        devices=torch.cuda.device_count(),
        threads=torch.get_num_threads(),
    )


def _capability(name: str) -> tuple[int, int]:
    """Return the compute capability in the name of an architecture.

    Examples
    --------
    >>> _capability("sm_90"), _capability("compute_120"), _capability("sm_90a")
    ((9, 0), (12, 0), (9, 0))
    """
    digits = re.sub(r"\D", "", name)
    return int(digits[:-1]), int(digits[-1])
