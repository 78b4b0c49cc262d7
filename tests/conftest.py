"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path(os.environ.get("CDEEP3M_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))


def pytest_configure() -> None:
    """Let Ctrl-C and hanging up end the tests' commands, also where nohup or a shell in the background ignores them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a CUDA device where there is none."""
    if item.get_closest_marker("gpu") is None:
        return
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder with the recorded outputs of the original and of real Caffe; skip where it is absent."""
    if not REFERENCE.is_dir():
        pytest.skip(f"no reference data at {REFERENCE} (set CDEEP3M_REFERENCE)")
    return REFERENCE


@pytest.fixture(scope="session")
def warm_tools(tmp_path_factory) -> Iterator[Path]:
    """Folder of the embedded engine's `caffe.bin` and `predict_seg_new.bin`, in the place of Caffe's."""
    from warm_tools import WarmTools

    server = WarmTools(tmp_path_factory.mktemp("warm"))
    yield server.folder
    server.close()
