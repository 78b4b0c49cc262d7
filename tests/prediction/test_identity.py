"""What holds corrected mode together: a net whose probability is the voxel's own value gives the input back.

Height, width and depth are divided independently of each other. So every height and every width comes back from a thin
plane (test_stitching.py), every depth from a thin volume here, in every order in which nets see planes; and samples of
whole volumes come back from real files.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cdeep3m.matlab_ports.merge_16_probs import file_of_plane, wanted_files
from hypothesis import given, note, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from address_volumes import DEPTHS, SIDES, predict_planes
from cdeep3m.engines.identity import IdentityEngine, IdentityNet
from cdeep3m.geometry import Roi
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.rules import SPEEDS
from cdeep3m.tiling import stitching
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.variants import variants_for
from cdeep3m.volumes import open_volume
from octave_cases import hdf5_file, png_folder, tiff_folder, tiff_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdeep3m.tiling.packages import Package
    from cdeep3m.tiling.variants import Variant

FRAMES = {"1fm": 1, "3fm": 3, "5fm": 5}
MOST_VOXELS = 10_000_000
MOST_WINDOWS = 48
"""What one sampled volume may cost."""

KINDS: dict[str, Callable[[Path, np.ndarray], Path]] = {
    "png": lambda w, volume: png_folder(w / "images.v1", volume),
    "tif": lambda w, volume: tiff_folder(w / "my images", volume),
    "stack": lambda w, volume: tiff_stack(w / "stack.tif", volume),
    "h5": lambda w, volume: hdf5_file(w / "100%.h5", volume),
}


def addresses(shape: tuple[int, int, int]) -> np.ndarray:
    """A volume of 8 bits without symmetry, whose neighbours differ along every axis."""
    z, y, x = (np.arange(side, dtype=np.uint32).reshape(-1, *[1] * k) for side, k in zip(shape, (2, 1, 0), strict=True))
    return ((z * 89 + y * 7 + x * 3 + (x * y) // 11) % 251).astype(np.uint8)


# Every depth, on planes of 2 x 3 voxels


def thin(depth: int) -> np.ndarray:
    return np.arange(depth * 6, dtype=np.float32).reshape(depth, 2, 3)


def streamed(volume: np.ndarray, package: Package, variants: tuple[Variant, ...], frames: int) -> Iterator[np.ndarray]:
    """Predict plane by plane, as an engine in process does: the middle of every window."""
    for z in package.planes:
        window = volume[list(package.z_window(z, frames))]
        yield stitching.average((variant, variant.apply(window)[frames // 2]) for variant in variants)


def over_files(volume: np.ndarray, package: Package, variants: tuple[Variant, ...]) -> Iterator[np.ndarray]:
    """Predict whole padded stacks, a file for each plane, and read back the files that are kept."""
    shown = {variant: variant.apply(volume[list(package.padded_planes)]) for variant in variants}
    files = len(package.padded_planes)
    for plane in wanted_files(files):
        yield stitching.average(
            (variant, stack[file_of_plane(plane, variant.index, files)]) for variant, stack in shown.items()
        )


@pytest.mark.parametrize("net", FRAMES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth_comes_back_at_every_speed(depth, net):
    volume = thin(depth)
    packages = Tiling.of((depth, 14, 14)).packages
    for variants in {variants_for(net, speed) for speed in SPEEDS}:
        for route in (
            [plane for package in packages for plane in streamed(volume, package, variants, FRAMES[net])],
            [plane for package in packages for plane in over_files(volume, package, variants)],
        ):
            assert_array_equal(np.stack(route), volume)


# Samples of whole volumes, from files


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int, int]:
    """Draw a volume's size, axis after axis in any order, from those that leave room for the smallest other ones."""
    allowed = {"z": DEPTHS, "y": SIDES, "x": SIDES}
    drawn: dict[str, int] = {}
    for axis in draw(st.permutations("zyx")):
        others = [name for name in "zyx" if name != axis]
        taken = int(np.prod([drawn.get(name, min(allowed[name])) for name in others]))
        drawn[axis] = draw(st.sampled_from([side for side in allowed[axis] if side * taken <= MOST_VOXELS]))
    return drawn["z"], drawn["y"], drawn["x"]


@st.composite
def runs(draw: st.DrawFn) -> tuple[tuple[int, int, int], str, int, list[int]]:
    """Draw a volume's size, a net, a speed and some planes: the ends of z-blocks before others."""
    shape, net = draw(shapes()), draw(st.sampled_from(sorted(FRAMES)))
    tiling = Tiling.of(shape)
    affordable = [s for s in SPEEDS if len(variants_for(net, s)) * tiling.tiles <= MOST_WINDOWS]
    speed = draw(st.sampled_from(affordable))
    each = len(variants_for(net, speed)) * tiling.tiles
    ends = sorted({z for cut in tiling.z_cuts for z in (cut - 1, cut) if 0 <= z < shape[0]})
    planes = draw(st.lists(st.sampled_from(ends) | st.integers(0, shape[0] - 1), min_size=1, unique=True))
    return shape, net, speed, sorted(planes[: max(1, MOST_WINDOWS // each)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=8)
@given(run=runs())
def test_sampled_volumes_come_back_from_files(kind, run):
    shape, net, speed, wanted = run
    volume = addresses(shape)
    with TemporaryDirectory() as folder:
        source = open_volume(KINDS[kind](Path(folder), volume))
        tiling = Tiling.of(source.shape, folder_input=source.is_folder)
        note(f"{len(tiling.packages)} packages")
        planes = predict_planes(source, tiling, IdentityNet(FRAMES[net]), variants_for(net, speed), wanted)
        for z, plane in planes:
            assert_array_equal(plane, volume[z])


@pytest.mark.correction(14, "corrected")
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_gives_the_input_back_whatever_its_folders_are_called(kind, tmp_path):
    volume = addresses((3, 20, 1030))
    trained = tmp_path / "tr ained.50%d"
    for net in FRAMES:
        (trained / net / "trainedmodel").mkdir(parents=True)
        (trained / net / "deploy.prototxt").touch()
        (trained / net / "trainedmodel" / f"{net}_classifer_iter_2.caffemodel").touch()
    images = KINDS[kind](tmp_path / "in put.%s", volume)
    out = tmp_path / "pre dicted.1%"
    predict(PredictRequest(trained=trained, images=images, out=out, aug_speed=4), IdentityEngine(), gpu=-1)
    for folder in (*FRAMES, "ensembled"):
        written = open_volume(out / folder)
        assert_array_equal(written.read(Roi((0, 0, 0), written.shape)), volume)
