"""Copies between formats, as whole commands, against tensorstore's own chunk-by-chunk copy and against the TIFF path.

The copy of OME-Zarr makes a pyramid on the way, which tensorstore's does not; a figure of its own says what is read.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from benchmarks.figures import Figure
from benchmarks.settings import best
from cdeep3m.geometry import Placement, Roi
from cdeep3m.maps.base import MapSpec
from cdeep3m.maps.open import open_maps
from cdeep3m.tiling.boxes import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.settings import Run, Settings

SIDE, PLANES = 1024, 1000
"""1 GB of 8 bits."""
DEPTH = 64

LIBRARY_COPY = """
import sys
import tensorstore as ts
source = ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{sys.argv[1]}/0/"}}).result()
target = ts.open(
    {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{sys.argv[2]}/"},
     "metadata": source.spec().to_json()["metadata"], "store_data_equal_to_fill_value": True},
    create=True, delete_existing=True,
).result()
depth, height, width = source.shape
for z in range(0, depth, 64):
    for y in range(0, height, 64):
        for x in range(0, width, 64):
            box = slice(z, min(z + 64, depth)), slice(y, min(y + 64, height)), slice(x, min(x + 64, width))
            target[box].write(source[box].read().result()).result()
"""


def figures(settings: Settings) -> Iterator[Figure]:
    """Measure copies in turns."""
    planes, side = (70, 130) if settings.small else (PLANES, SIDE)
    volume = synthetic(planes, side)
    write_zarr(settings.folder / "in.zarr", volume)
    tifffile.imwrite(settings.folder / "in.tif", volume, metadata=None, photometric="minisblack")
    command(settings, "in.tif", "in.mrc")
    chunked, library, of_mrc, of_tiff = [], [], [], []
    for _ in range(settings.repeats):
        chunked.append(command(settings, "in.zarr", "out.zarr"))
        library.append(
            settings.python("-c", LIBRARY_COPY, str(settings.folder / "in.zarr"), str(settings.folder / "lib"))
        )
        of_mrc.append(command(settings, "in.mrc", "of_mrc"))
        of_tiff.append(command(settings, "in.tif", "of_tif"))
    size = f"{volume.nbytes / 1e9:.2g} GB"
    peak = best(library).seconds
    name = f"convert OME-Zarr to OME-Zarr, {size}"
    yield Figure(name=name, value=best(chunked).seconds, unit="s", peak=peak, target=1.5, aim="ratio")
    yield Figure(name=f"{name}: memory", value=best(chunked).memory / 1e9, unit="GB")
    peak = best(of_tiff).seconds
    name = f"convert MRC to PNG, {size}, beside TIFF"
    yield Figure(name=name, value=best(of_mrc).seconds, unit="s", peak=peak, target=1.25, aim="ratio")


def synthetic(planes: int, side: int) -> np.ndarray:
    """Return a smooth volume with noise, as microscopes make it: it packs by a third."""
    noise = np.random.default_rng(0).integers(0, 48, (DEPTH, side, side), np.uint8)
    ramp = np.add.outer(np.arange(side) // 8, np.arange(side) // 8).astype(np.uint8)
    block = noise + ramp // 2
    return np.concatenate([block] * -(-planes // DEPTH))[:planes]


def write_zarr(path: Path, volume: np.ndarray) -> None:
    """Write a volume as OME-Zarr."""
    shape = volume.shape[0], volume.shape[1], volume.shape[2]
    maps = open_maps(path, MapSpec(shape=shape, placement=Placement((30.0, 8.0, 8.0), "nanometer")))
    boxes: list[Roi] = list(Grid(shape, (DEPTH, shape[1], shape[2])))
    for box in maps.missing(boxes):
        maps.write(box, volume[box.slices])
    maps.finish()


def command(settings: Settings, source: str, out: str) -> Run:
    """Run `cdeep3m convert` to a place where nothing is."""
    target = settings.folder / out
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    return settings.python("-m", "cdeep3m.cli.main", "convert", str(settings.folder / source), str(target))


if __name__ == "__main__":
    sys.exit("run it as: make bench BENCH='--groups formats'")
