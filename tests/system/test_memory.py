"""Freed memory is kept while it is wanted, and given back afterwards."""

from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cdeep3m.errors import OutOfMemoryError
from cdeep3m.system import memory
from cdeep3m.system import threads as background
from cdeep3m.system.memory import GLIBCS_OWN, KEEP, demand, kept_memory
from cdeep3m.system.threads import for_each


@pytest.fixture
def told(monkeypatch):
    """What the C library was told."""
    told = []
    monkeypatch.setattr(memory, "_set", told.append)
    return told


def test_blocks_that_overlap_keep_it_until_the_last_one_ends(told):
    first, second = kept_memory(), kept_memory()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert told == [KEEP]
    second.__exit__(None, None, None)
    assert told == [KEEP, GLIBCS_OWN]


def test_an_error_gives_it_back(told):
    with pytest.raises(OSError, match="full"), kept_memory():
        raise OSError("full")
    assert told == [KEEP, GLIBCS_OWN]


@pytest.mark.parametrize("processors", [1, 3])
def test_it_is_kept_from_one_item_to_the_next(processors, told, monkeypatch):
    monkeypatch.setattr(background, "processors", lambda: processors)
    seen = []
    for_each(lambda _: seen.append(list(told)), range(4))
    assert seen == [[KEEP]] * 4
    assert told == [KEEP, GLIBCS_OWN]


def test_nothing_is_demanded_without_a_limit():
    demand(2**60, what="anything")


@pytest.mark.parametrize(("size", "is_enough"), [(2**20, True), (2**40, False)])
def test_a_limit_leaves_so_much(size, is_enough, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda number: (2**40, 2**40))
    if is_enough:
        demand(size, what="a plot")
    else:
        with pytest.raises(OutOfMemoryError, match=r"expected 1048576 MB of memory for a plot, found 10\d+ MB"):
            demand(size, what="a plot")


LIMITED = """
import os, resource, sys
import matplotlib.figure, matplotlib.backends.backend_agg, tensorstore
from cdeep3m.cli.{module} import main
size = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (size + {more} * 2**20, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""
LOG = """\
I0101 00:00:01.000000 1 solver.cpp:218] Iteration 0 (0 iter/s, 0s/20 iters), loss = 0.7
I0101 00:00:01.000000 1 solver.cpp:237]     Train net output #0: loss = 0.5 (* 1 = 0.5 loss)
I0101 00:00:01.000000 1 sgd_solver.cpp:105] Iteration 0, lr = 0.01
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("more", [4, 64])
@pytest.mark.parametrize(
    ("module", "words"), [("runvalidation", ["out.log", "plots"]), ("convert", ["images", "o.zarr"])]
)
def test_libraries_that_would_abort_get_no_work_where_memory_is_short(module, words, more, tmp_path):
    (tmp_path / "out.log").write_text(LOG)
    (tmp_path / "images").mkdir()
    for z in range(3):
        Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30) + z).save(tmp_path / "images" / f"i{z}.png")
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED.format(module=module, more=more), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.startswith("ERROR, ")
    assert "memory" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "o.zarr").exists()
