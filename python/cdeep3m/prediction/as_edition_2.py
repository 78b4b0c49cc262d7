"""Prediction exactly as CDeep3M2 does it, step by step over files, or at once with a net in memory.

Nothing here is corrected: `docs/fidelity.md` lists what CDeep3M2 loses. A package's whole z-block is in memory.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.edition2 import enhancement, ensembling, merging, overlaying
from cdeep3m.edition2.averaging import mean_of_variations, to_8_bits
from cdeep3m.edition2.dividing import areas, division_text, z_cuts
from cdeep3m.edition2.padding import Z_PADDING, canvas
from cdeep3m.edition2.variations import variant_index
from cdeep3m.engines.base import STACK_OUTPUT, plane_file
from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.geometry import Roi
from cdeep3m.matlab_ports.augment_data import restore
from cdeep3m.runs.names import AVERAGED_PLANE, DONE, MAP_PLANE
from cdeep3m.system.files import small_text, write_text
from cdeep3m.tiling.info_file import COUNTS, JSON
from cdeep3m.tiling.variants import nearest_speed, variant, variants_for
from cdeep3m.volumes.as_edition_2 import image_source, open_as_edition_2, planes_to_enhance
from cdeep3m.volumes.hdf5 import Hdf5Volume, read_dataset, write_datasets
from cdeep3m.volumes.png import read_plane, write_picture, write_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdeep3m.edition2.dividing import Area
    from cdeep3m.engines.base import LoadedNet

OVERLAY = "overlay_{:04d}.png"
LAST_IN_ORDER = 8


def write_enhanced(images: str | os.PathLike[str], out: str | os.PathLike[str], cut: int) -> int:
    """Enhance every plane into a folder of 8-bit PNG files (enhance_stack.py).

    What `out` holds is deleted first (defect 12). Planes before one without contrast are written (defect 6).

    Returns
    -------
    int
        How many planes were written.

    Raises
    ------
    InputError
        A plane has no contrast.
    """
    if not 0 <= cut <= 100:
        raise InputError(f"enhancement with {cut} % cut off: expected 0 to 100")
    planes = planes_to_enhance(images)
    folder = Path(out)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    count = 0
    for name, plane in planes:
        try:
            write_plane(folder / name, enhancement.enhance(plane, cut))
        except ValueError as error:
            raise InputError(
                f"{images}, {name}: {error}. Leave out --exact, and such planes stay as they are"
            ) from None
        count += 1
    return count


def define_packages(images: str | os.PathLike[str], aug: str | os.PathLike[str]) -> None:
    """Write de_augmentation_info.json and package_processing_info.txt (DefDataPackages.py); TIFF stacks fail (11)."""
    where = Path(images)
    if where.suffix.lower() == ".h5" and where.is_file():
        shape = Hdf5Volume(where, gray=False).shape
    elif where.is_file():
        raise InputError(f"CDeep3M2 cannot divide the stack {images}; leave out --exact")
    else:
        shape = open_as_edition_2(images, purpose="prediction").shape
    folder = Path(aug)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / JSON, division_text(shape))
    counts = len(areas(*shape[1:])), len(z_cuts(shape[0])) - 1
    write_text(folder / COUNTS, f"\nNumber of XY Packages\n{counts[0]}\nNumber of z-blocks\n{counts[1]}")


def write_package(
    images: str | os.PathLike[str], aug: str | os.PathLike[str], tile: int, z_block: int, net: str, speed: int
) -> Path:
    """Write the variations of one package as HDF5 files, `DONE` last (PreprocessPackage.py)."""
    packages, cuts, _ = read_division(aug)
    if not (1 <= tile <= len(packages) and 1 <= z_block < len(cuts)):
        raise InputError(f"no package {tile} of z-block {z_block}: {Path(aug) / JSON} names {len(packages)} packages")
    volume = open_as_edition_2(images, purpose="prediction")
    stack = package_canvas(volume.read, packages[tile - 1], (cuts[z_block - 1], cuts[z_block]), volume.shape)
    folder = Path(aug) / net / f"Pkg{tile:03d}_Z{z_block:02d}"
    folder.mkdir(parents=True, exist_ok=True)
    for each in variants_for(net, nearest_speed(speed)):
        shown = variant(variant_index(each.index)).apply(stack)
        write_datasets(folder / f"image_stacks_v{each.index}.h5", {"data": shown.transpose(2, 1, 0)})
    write_text(folder / DONE, "0\n")
    return folder


def package_canvas(
    read: Callable[[Roi], np.ndarray], area: Area, z_range: tuple[int, int], shape: tuple[int, int, int]
) -> np.ndarray:
    """Return what a net sees of a package, padding included: shape (z + 4, 1024, 1024).

    Returns
    -------
    ndarray of the type that `read` gives, shape (z, 1024, 1024)
    """
    y0, y1, x0, x1 = area
    planes = read(Roi((z_range[0], y0, x0), (z_range[1], min(y1, shape[1]), min(x1, shape[2]))))
    return canvas(planes, top=y0 == 0, left=x0 == 0)


def average_folder(folder: str | os.PathLike[str]) -> int:
    """Average the variations of a package into 8-bit planes; the v folders go (StartPostprocessing.py)."""
    package = Path(folder)
    found = sorted(int(path.name[1:]) for path in package.glob("v*") if path.is_dir() and path.name[1:].isdigit())
    if not found:
        raise MissingFileError(f"no predictions in {package}: expected folders v1 to v16. Run the prediction first")
    files = len(list((package / f"v{found[0]}").glob("*.h5")))
    for k in range(Z_PADDING, files - Z_PADDING):
        planes = [
            restore(
                _predicted(package / f"v{i}", k if i <= LAST_IN_ORDER else files - 1 - k)[np.newaxis],
                variant(i).orientation,
            )[0]
            for i in found
        ]
        try:
            write_plane(package / AVERAGED_PLANE.format(k - Z_PADDING), to_8_bits(mean_of_variations(planes)))
        except ValueError as error:
            raise InputError(f"{package}, plane {k}: {error}") from None
    for i in found:
        shutil.rmtree(package / f"v{i}")
    return max(0, files - 2 * Z_PADDING)


def _predicted(folder: Path, k: int) -> np.ndarray:
    path = folder / plane_file(STACK_OUTPUT, k)
    blob = read_dataset(path, "data")
    if blob.ndim != 4 or blob.shape[:2] != (1, 2):
        raise FormatError(f"{path} has shape {blob.shape}; expected (1, 2, y, x). Predict this package again")
    return blob[0, 1].astype(np.float32)


def merge_folder(net_folder: str | os.PathLike[str]) -> int:
    """Join the packages of a net into whole 8-bit planes, `DONE` last (Merge_LargeData.py)."""
    folder = Path(net_folder)
    packages, cuts, shape = read_division(folder.absolute().parent)
    number = 0
    for block in range(1, len(cuts)):
        tiles = [sorted((folder / f"Pkg{i:03d}_Z{block:02d}").glob("*.png")) for i in range(1, len(packages) + 1)]
        depth = cuts[block] - cuts[block - 1]
        short = [i for i, files in enumerate(tiles, start=1) if len(files) < depth]
        if short:
            raise MissingFileError(
                f"{folder} has too few planes of package {short[0]} in z-block {block}; expected {depth}. "
                "Predict it again"
            )
        for k in range(depth):
            plane = merging.stitched([read_plane(files[k]).values for files in tiles], packages, shape[1:])
            number += 1
            write_plane(folder / MAP_PLANE.format(number), merging.to_map(plane))
        for files in tiles:
            for path in files:
                path.unlink()
    write_text(folder / DONE, "0\n")
    return number


def ensemble_folders(inputs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> int:
    """Average the maps of nets, as many as the first has (EnsemblePredictions.py, defect 27).

    Raises
    ------
    InputError
        `out` exists, or a folder holds fewer maps than the first.
    """
    folder = Path(out)
    if folder.exists():
        raise InputError(f"{folder} exists; CDeep3M2 stops there. Delete it, or choose another folder")
    lists = [sorted(Path(path).glob("*.png"), key=lambda p: os.fsencode(p.name)) for path in inputs]
    folder.mkdir(parents=True)
    for k, first in enumerate(lists[0]):
        if any(k >= len(files) for files in lists):
            raise InputError(f"{inputs[0]} holds {len(lists[0])} maps, another input fewer; expected as many in each")
        planes = [read_plane(files[k]).values for files in lists]
        if len({plane.shape for plane in planes}) > 1:
            raise InputError(f"{first} has another size than the maps of other nets; expected one size")
        write_plane(folder / first.name, ensembling.ensemble(planes))
    return len(lists[0])


def write_overlays(segmented: str | os.PathLike[str], raw: str | os.PathLike[str], out: str | os.PathLike[str]) -> int:
    """Lay every map over its image as a picture (Create_overlays.py); files are paired by their order.

    Raises
    ------
    InputError
        `out` exists, the images are no folder, there are fewer maps than images, or sizes differ (31).
    """
    folder = Path(out)
    if folder.exists():
        raise InputError(f"{folder} exists; CDeep3M2 stops there. Delete it, or choose another folder")
    if not Path(raw).is_dir():
        raise InputError(f"{raw} is no folder; CDeep3M2 lays maps over folders of images alone. Leave out --exact")
    maps = sorted(Path(segmented).glob("*.png"), key=lambda p: os.fsencode(p.name))
    images = [
        path for path in sorted(Path(raw).iterdir(), key=lambda p: os.fsencode(p.name)) if not path.name.startswith(".")
    ]
    folder.mkdir()
    for k, path in enumerate(images):
        if k >= len(maps) or path.suffix.lower() not in (".png", ".tif", ".tiff"):
            raise InputError(f"{path} has no map, or is no image; CDeep3M2 stops there. Leave out --exact")
        plane = next(image_source(path).decode(range(1))).values
        shown = read_plane(maps[k]).values
        if plane.shape != shown.shape:
            raise InputError(f"{path} is {plane.shape}, {maps[k]} {shown.shape}; expected gray images of one size")
        write_picture(folder / OVERLAY.format(k + 1), overlaying.overlay(shown, plane))
    return len(images)


def read_division(folder: str | os.PathLike[str]) -> tuple[list[Area], list[int], tuple[int, int, int]]:
    """Return packages, z cuts and (z, y, x) of a de_augmentation_info.json.

    Raises
    ------
    MissingFileError, FormatError
        It is not there, or is no such file.
    """
    path = Path(folder) / JSON
    if not path.is_file():
        raise MissingFileError(f"no {JSON} in {folder}; run DefDataPackages.py IMAGES {folder} first")
    try:
        content = json.loads(small_text(path))
        height, width, depth = content["imagesize"]
        return [tuple(area) for area in content["packages"]], list(content["z_blocks"]), (depth, height, width)
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} does not describe packages ({error}). Run DefDataPackages.py again") from None


def predicted_maps(
    read: Callable[[Roi], np.ndarray],
    shape: tuple[int, int, int],
    net: LoadedNet,
    name: str,
    speed: int,
    *,
    before_pass: Callable[[], None] | None = None,
) -> Iterator[np.ndarray]:
    """Predict a volume with one net and yield its maps, plane after plane.

    Parameters
    ----------
    read : callable
        Takes a Roi of the volume that CDeep3M2's nets would see, returns uint8, axes (z, y, x).
    shape : tuple of int
        The volume's voxels along (z, y, x).
    net : LoadedNet
    name : str
        1fm, 3fm or 5fm.
    speed : int
        --augspeed.
    before_pass : callable, optional
        Called before each window is made; what it raises ends the prediction.

    Yields
    ------
    ndarray of uint8, shape (y, x)
    """
    packages, cuts = areas(*shape[1:]), z_cuts(shape[0])
    shown = [variant(variant_index(each.index)) for each in variants_for(name, speed)]

    def windows(stack: np.ndarray, k: int) -> Iterator[np.ndarray]:
        begin = k - net.frames // 2
        for each in shown:
            if before_pass:
                before_pass()
            yield np.ascontiguousarray(
                each.turn(stack[begin : begin + net.frames][:: -1 if each.reverses_planes else 1])
            )

    for begin, end in zip(cuts, cuts[1:], strict=False):
        tiles: list[list[np.ndarray]] = []
        for area in packages:
            stack = package_canvas(read, area, (begin, end), shape)
            ks = range(Z_PADDING, len(stack) - Z_PADDING)
            predictions = net.foreground(window for k in ks for window in windows(stack, k))
            averaged = []
            for _ in ks:
                planes = [restore(next(predictions)[np.newaxis], each.orientation)[0] for each in shown]
                averaged.append(to_8_bits(np.clip(mean_of_variations(planes), -1, 1)))
            tiles.append(averaged)
        for k in range(end - begin):
            yield merging.to_map(merging.stitched([tile[k] for tile in tiles], packages, shape[1:]))
