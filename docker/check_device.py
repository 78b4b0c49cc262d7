"""Stop the image's build where PyTorch is the build for another device than was asked for.

usage: check_device.py cpu|cuda
"""

from __future__ import annotations

import sys

import torch

found = "cuda" if torch.version.cuda else "cpu"
if [found] != sys.argv[1:]:
    sys.exit(
        f"ERROR, pip chose PyTorch {torch.__version__}, a build for {found}, but DEVICE={' '.join(sys.argv[1:])} "
        "was asked for: name its package index with --build-arg PIP_EXTRA_INDEX_URL, or keep its wheel in docker/wheels"
    )
