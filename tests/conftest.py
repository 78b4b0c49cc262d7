"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REFERENCE = Path(os.environ.get("CDEEP3M_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder with the recorded outputs of the original and of real Caffe; skip where it is absent."""
    if not REFERENCE.is_dir():
        pytest.skip(f"no reference data at {REFERENCE} (set CDEEP3M_REFERENCE)")
    return REFERENCE
