"""Packages on disk: how a volume is divided, and the HDF5 stacks that engines over files read."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError, MissingFileError, printable
from cdeep3m.geometry import Roi, from_caffe_axes, to_caffe_axes
from cdeep3m.matlab_ports.add_z_padding import Z_PADDING
from cdeep3m.matlab_ports.break_large_img import CANVAS
from cdeep3m.matlab_ports.check_training_data import FEWEST_IMAGE_VALUES, distinct_values
from cdeep3m.rules import CORRECTED, Rules
from cdeep3m.runs.made_of import Kind, MadeOf, files_of, read_note
from cdeep3m.runs.names import DONE
from cdeep3m.system.files import Settling, demand_apart, demand_plain_name, own_folders, text_with_names, write_text
from cdeep3m.tiling.grid import Tiling
from cdeep3m.tiling.info_file import COUNTS, INFO, JSON, read_tiling, write_tiling
from cdeep3m.tiling.variants import variants_for
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.enhanced import open_enhanced
from cdeep3m.volumes.hdf5 import in_old_shape, write_datasets
from cdeep3m.volumes.z_fastest import copy_stack, for_each_variant, repeat_planes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdeep3m.tiling.packages import Package
    from cdeep3m.tiling.variants import Variant
    from cdeep3m.volumes import Volume
    from cdeep3m.volumes.enhancement import Enhancement

IMAGES = "images.txt"
"""Names the images that a folder of packages was made from: one line, an absolute path."""
STACK = "image_stacks_v{}.h5"
PACKAGES = Kind((INFO, JSON, "*/Pkg*_Z*"), (COUNTS, IMAGES))
PART_BYTES = 256 * 2**20
"""So much of a package is read at a time; all of it for 8- and 16-bit images."""
CANVAS_BYTES = 128 * 2**20
"""So much of its canvas is made at a time."""

logger = logging.getLogger(__name__)


def define_packages(
    images: str | os.PathLike[str],
    aug: str | os.PathLike[str],
    *,
    rules: Rules = CORRECTED,
    overwrite: bool = False,
) -> Tiling:
    """Divide a volume into packages and write how to `aug` (DefDataPackages.m).

    Parameters
    ----------
    images : path
        Folder of images, or a stack file.
    aug : path
        Gets `de_augmentation_info.mat` and `package_processing_info.txt`; made when it is not there.
    rules : Rules
        Keep the original's defects.
    overwrite : bool
        Remove packages of other images, which are refused otherwise.

    Returns
    -------
    Tiling

    Raises
    ------
    CDeep3MError
        The images cannot be read, or are too small; `aug` holds packages of other images.
    """
    demand_apart(aug, [images])
    made_of = _made_of(images, rules, overwrite=overwrite)
    made_of.demand(aug)
    volume = open_volume(images, rules=rules)
    tiling = Tiling.of(volume.shape, rules=rules, folder_input=volume.is_folder)
    made_of.claim(aug)
    write_tiling(tiling, aug)
    return tiling


def _made_of(images: str | os.PathLike[str], rules: Rules, *, overwrite: bool = False) -> MadeOf:
    return MadeOf(
        kind=PACKAGES,
        settings={"images": files_of(images), "--exact": str(rules.octave_images)},
        overwrite=overwrite,
        refuse=not rules.octave_images,
    )


def preprocess_package(
    images: str | os.PathLike[str],
    aug: str | os.PathLike[str],
    tile: int,
    z_block: int,
    net: str,
    speed: int,
    *,
    rules: Rules = CORRECTED,
    enhancement: Enhancement | None = None,
    ask: Callable[[str], None] | None = None,
) -> Path:
    """Write what a net sees of one package, a file for each variant (PreprocessPackage.m).

    Parameters
    ----------
    images : path
        Folder of images, or a stack file.
    aug : path
        Holds `de_augmentation_info.mat`; gets `<net>/Pkg001_Z01/image_stacks_v<i>.h5` and, last of all, `DONE`.
    tile, z_block : int
        Which package, counted from 1.
    net : str
        1fm, 3fm or 5fm: name of the folder, and which variants there are.
    speed : int
        --augspeed.
    rules : Rules
        Keep the original's defects.
    enhancement : Enhancement, optional
        How planes are enhanced first.
    ask : callable, optional
        Exact mode: called with the question of checkpoint_nobinary.m when the images look like labels; raises to stop.

    Returns
    -------
    Path
        The package's folder.

    Raises
    ------
    CDeep3MError
        The images or the tiling cannot be read, there is no such package, or it is too small.
    """
    source = PackageSource.open(images, aug, rules=rules, enhancement=enhancement)
    return source.write(tile, z_block, net, speed, ask=ask)


@dataclass(frozen=True)
class PackageSource:
    """A volume, opened once, and the folder that its packages are written to.

    Attributes
    ----------
    volume : Volume
    images : path
        Where it lies, for messages.
    aug : path
        Folder of the packages.
    tiling : Tiling
        The packages that `de_augmentation_info.mat` defines there.
    """

    volume: Volume
    images: str | os.PathLike[str]
    aug: str | os.PathLike[str]
    tiling: Tiling

    @classmethod
    def open(
        cls,
        images: str | os.PathLike[str],
        aug: str | os.PathLike[str],
        *,
        rules: Rules = CORRECTED,
        enhancement: Enhancement | None = None,
    ) -> PackageSource:
        """Open images, and read how `aug` says that they are divided; see `preprocess_package`.

        Raises
        ------
        CDeep3MError
            The images or the tiling cannot be read, or do not belong together.
        """
        if rules.octave_images:
            refuse_space_in_folder(aug)
        demand_apart(aug, [images])
        volume = open_enhanced(images, enhancement, rules=rules)
        tiling = read_tiling(aug, rules=rules, folder_input=volume.is_folder)
        if volume.shape != tiling.shape:
            raise InputError(
                f"{Path(aug) / INFO} was made for {_size(tiling.shape)} voxels (z, y, x); expected those of the images "
                f"in {images}, {_size(volume.shape)}. Run DefDataPackages again"
            )
        if read_note(Path(aug)):
            MadeOf(kind=PACKAGES, settings={"images": files_of(images)}).demand(aug)
        return cls(volume, images, aug, tiling)

    def write(self, tile: int, z_block: int, net: str, speed: int, *, ask: Callable[[str], None] | None = None) -> Path:
        """Write the variants of a package, `DONE` last, and return its folder; see `preprocess_package`."""
        demand_plain_name(net, what="the net")
        package = self.tiling.package(tile, z_block)
        padded = padded_stack(self.volume, package)
        check_values(padded, self.images, ask=ask if self.tiling.rules.octave_images else None)
        folder = own_folders(Path(self.aug), Path(self.aug) / net / package.name)
        write_variants(padded, package, folder, net=net, speed=speed)
        return folder


def padded_stack(volume: Volume, package: Package) -> np.ndarray:
    """Read what a net sees of a package, padding along z included.

    Values are those of `package.canvas(volume.read(package.read))[order]`; but they are laid out in memory with z
    fastest, as the files have them, and there is no second copy of them at any time.

    Returns
    -------
    ndarray of the volume's type, shape (z, 1024, 1024)
    """
    depth = len(package.planes)
    stack = None
    for begin, planes in _canvases(volume, package):
        if stack is None:
            stack = from_caffe_axes(np.empty((*planes.shape[:0:-1], depth + 2 * Z_PADDING), planes.dtype))
        copy_stack(planes, stack[Z_PADDING + begin : Z_PADDING + begin + len(planes)])
    assert stack is not None
    invented = (*range(Z_PADDING), *range(Z_PADDING + depth, len(stack)))
    repeat_planes(stack, {k: Z_PADDING + package.padded_planes[k] - package.planes[0] for k in invented})
    return stack


def _canvases(volume: Volume, package: Package) -> Iterator[tuple[int, np.ndarray]]:
    """Yield some planes' canvases after others, each with the number of its first plane, counted in the package."""
    (first, y0, x0), (last, y1, x1) = package.read.begin, package.read.end
    step = max(1, PART_BYTES // (math.prod(package.read.shape[1:]) * volume.dtype.itemsize))
    canvases = max(1, CANVAS_BYTES // (CANVAS**2 * volume.dtype.itemsize))
    for z in range(first, last, step):
        part = volume.read(Roi((z, y0, x0), (min(z + step, last), y1, x1)))
        for k in range(0, len(part), canvases):
            yield z + k - first, package.canvas(part[k : k + canvases])


def write_variants(padded: np.ndarray, package: Package, folder: Path, *, net: str, speed: int) -> None:
    """Write the variants of a package's canvas to `folder`, `DONE` last.

    Stacks of other variants, left by an earlier run at another speed, are removed: they would be predicted too.
    In exact mode they stay, and existing files keep their shape (defect 11).

    Parameters
    ----------
    padded : ndarray, shape (z, 1024, 1024)
        As `padded_stack` returns it; its planes may be in reverse order in the end.
    package : Package
    folder : Path
    net : str
    speed : int
    """

    def write(variant: Variant) -> None:
        path = _stack_file(folder, variant)
        arrays = {"data": to_caffe_axes(variant.turn(padded))}
        if package.rules.keeps_old_shape and path.exists():
            arrays = in_old_shape(path, arrays)
        write_datasets(path, arrays, naming=settling)

    (folder / DONE).unlink(missing_ok=True)
    variants = variants_for(net, speed)
    with Settling() as settling:
        for_each_variant(write, variants, padded, put_back=False)
    if not package.rules.keeps_old_shape:
        for path in set(folder.glob(STACK.format("*"))) - {_stack_file(folder, variant) for variant in variants}:
            path.unlink()
    write_text(folder / DONE, "0\n")


def _stack_file(folder: Path, variant: Variant) -> Path:
    return folder / STACK.format(variant.index)


def check_values(stack: np.ndarray, images: str | os.PathLike[str], *, ask: Callable[[str], None] | None) -> None:
    """Warn about images with fewer than three values, which may be labels; or `ask` (defect 8).

    Parameters
    ----------
    stack : ndarray of any type, shape (z, y, x)
    """
    values = distinct_values(to_caffe_axes(stack), enough=FEWEST_IMAGE_VALUES)
    if len(values) >= FEWEST_IMAGE_VALUES:
        return
    found = f"the images in {images} hold only the values {', '.join(map(str, values.tolist()))}: are they labels?"
    if ask:
        ask(found)
    else:
        logger.warning("Warning: %s", found)


def refuse_space_in_folder(aug: str | os.PathLike[str]) -> None:
    """Fail for a folder with a space in its name, as PreprocessPackage.m does, which passes it on unquoted (defect 14).

    Raises
    ------
    InputError
        Always, when there is a space.
    """
    if " " in str(aug):
        raise InputError(f"the original cannot write packages to a folder with a space in its name, {aug}")


def preprocess_images(
    images: str | os.PathLike[str],
    aug: str | os.PathLike[str],
    *,
    nets: Sequence[str] = (),
    speed: int = 1,
    rules: Rules = CORRECTED,
    ask: Callable[[str], None] | None = None,
    overwrite: bool = False,
) -> Tiling:
    """Divide images into packages and remember where the images lie (the paper's PreprocessImageData).

    Parameters
    ----------
    images : path
        Folder of images, or a stack file.
    aug : path
        Gets `de_augmentation_info.mat`, `package_processing_info.txt` and `images.txt`, which names `images`.
    nets : sequence of str
        Also write every package of these nets, for engines that read files: up to 16 times the images, each.
    speed : int
        --augspeed of those packages.
    rules, ask
        As for `preprocess_package`.
    overwrite : bool
        As for `define_packages`.

    Returns
    -------
    Tiling
    """
    for net in nets:
        demand_plain_name(net, what="the net")
    tiling = define_packages(images, aug, rules=rules, overwrite=overwrite)
    write_text(Path(aug) / IMAGES, f"{absolute(images)}\n")
    if nets:
        source = PackageSource.open(images, aug, rules=rules)
        for net in nets:
            for package in tiling.packages:
                source.write(package.tile, package.z_block, net, speed, ask=ask)
    return tiling


def is_package_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` is a folder that DefDataPackages or PreprocessImageData made."""
    return (Path(path) / INFO).is_file()


def images_of_packages(aug: str | os.PathLike[str]) -> str:
    """Return the images that PreprocessImageData divided in `aug`.

    Raises
    ------
    MissingFileError
        When `aug` does not name its images, or they are no longer there.
    """
    try:
        images = text_with_names(Path(aug) / IMAGES).rstrip("\n")
    except FileNotFoundError:
        raise MissingFileError(
            f"{aug} does not name its images (no {IMAGES}); run PreprocessImageData IMAGES {aug} again, "
            "or give the images themselves"
        ) from None
    if not os.path.exists(images):  # of a name that is none, too
        raise MissingFileError(
            f"{aug} was made from {printable(images, longest=200)}, which is no longer there; "
            f"run PreprocessImageData IMAGES {aug} again"
        )
    return images


def absolute(path: str | os.PathLike[str]) -> str:
    """Return an absolute path; a slash at its end, which tells the original that it is a folder, stays.

    Examples
    --------
    >>> absolute("/data/my.images/")
    '/data/my.images/'
    """
    text = os.fspath(path)
    return os.path.abspath(text) + (os.sep if text.endswith(os.sep) and text.strip(os.sep) else "")


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
