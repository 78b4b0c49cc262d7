"""Images and labels made into what nets are trained on: files for the commands, or views of one volume in memory."""

from __future__ import annotations

import logging
import math
import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.engines.base import LabelledVolume
from cdeep3m.errors import InputError
from cdeep3m.geometry import from_caffe_axes, to_caffe_axes
from cdeep3m.matlab_ports.check_training_data import (
    FEWEST_IMAGE_VALUES,
    MOST_LABEL_VALUES,
    distinct_values,
    filled_shape,
)
from cdeep3m.rules import CORRECTED, ORIGINAL, Rules
from cdeep3m.runs.gray_range import GrayRange
from cdeep3m.system.files import LEFT_TO_SYSTEM, whole_file
from cdeep3m.system.threads import spread
from cdeep3m.tiling.variants import VARIANTS, Variant
from cdeep3m.training.file_names import STACK, VALIDATION_STACK
from cdeep3m.volumes import open_volume
from cdeep3m.volumes.enhanced import open_enhanced
from cdeep3m.volumes.hdf5 import fill_datasets, in_old_shape
from cdeep3m.volumes.identity import fingerprint
from cdeep3m.volumes.labels import IGNORED, ClassVolume
from cdeep3m.volumes.listing import plane_numbers
from cdeep3m.volumes.mapped import release, zeros
from cdeep3m.volumes.z_fastest import copy_stack, for_each_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdeep3m.volumes import Volume
    from cdeep3m.volumes.enhancement import Enhancement
    from cdeep3m.volumes.labels import Labelling

logger = logging.getLogger(__name__)

STACK_FILES = {variant: STACK.format(variant.index) for variant in VARIANTS}
BLOCK_BYTES = 64 * 2**20
"""So much of a volume is read at a time."""


def load_labelled_volume(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    *,
    rules: Rules = CORRECTED,
    same_size: bool = True,
    confirm: Callable[[str], None] | None = None,
    scratch: str | os.PathLike[str] | None = None,
    enhancement: Enhancement | None = None,
    labelling: Labelling | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Read images and their labels, check them, and fill short sides with zeros to 325 voxels.

    Parameters
    ----------
    images, labels : path
        Folders of images, TIFF stacks or HDF5 files.
    rules : Rules
        Read and check as PreprocessTrainingData.m: sizes are compared after the filling (defect 15), labels are not
        checked but asked about (defects 7 and 8).
    same_size : bool
        Whether exact mode compares sizes at all; PreprocessValidation.m does not.
    confirm : callable, optional
        Takes a question that the original asks on standard input, returns to go on, raises to stop. Without one, exact
        mode stops.
    scratch : path, optional
        Volumes that are too large for memory lie in nameless files in this folder, or in the nearest one above it that
        is there. Without one, everything is in memory.
    enhancement : Enhancement, optional
        How every plane of the images is enhanced.
    labelling : Labelling, optional
        What the numbers in the labels stand for, where there are more than two.

    Returns
    -------
    data : ndarray of uint8, uint16, float32 or float64 (in exact mode also bool), shape (z, y, x)
        Image values as they are.
    label : ndarray of uint8, shape (z, y, x)
        0 background, 1 foreground or further classes, 255 what does not count; in exact mode of the types of `data`,
        values as read. Both have z fastest in memory.

    Raises
    ------
    MissingFileError, InputError, FormatError
        When something cannot be read, the sizes differ, or the labels hold more than two values.
    """
    if rules.octave_images and labelling:
        raise InputError("the original knows background and foreground: leave out --exact, or --classes and --ignore")
    if rules.octave_images:
        return _load_as_the_original(images, labels, same_size=same_size, confirm=confirm, scratch=scratch)
    check_numbers(images, labels)
    named = open_enhanced(images, enhancement), open_labels(labels, labelling)
    return fill_volumes(*named, name=str(images), labels_name=str(labels), scratch=scratch)


def open_labels(labels: str | os.PathLike[str], labelling: Labelling | None = None) -> Volume:
    """Open labels as 0 and 1, or as `labelling` says."""
    if not labelling:
        return open_volume(labels, role="label")
    return ClassVolume(open_volume(labels, role="segmentation"), str(labels), labelling)


def fill_volumes(
    images: Volume,
    labels: Volume,
    *,
    name: str = "the volume",
    labels_name: str = "the labels",
    scratch: str | os.PathLike[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Read open images and labels and fill short sides with zeros; see `load_labelled_volume`.

    Parameters
    ----------
    images, labels : Volume
        Of one shape; labels of 0 and 1.
    name, labels_name : str
        The images and the labels, for messages.
    scratch : path, optional

    Raises
    ------
    InputError
        The sizes differ.
    """
    check_same_size(images.shape, labels.shape)
    wanted = (images, FEWEST_IMAGE_VALUES), (labels, 0)
    (data, values), (label, _) = spread(lambda one: _read_filled(one[0], enough=one[1], scratch=scratch), wanted)
    if len(values) < FEWEST_IMAGE_VALUES:
        logger.warning("%s holds %d different values only; are these the images?", name, len(values))
    if isinstance(labels, ClassVolume):
        _say_classes(label, math.prod(labels.shape), labels_name, labels.labelling)
    else:
        _say_foreground(label, math.prod(labels.shape), labels_name)
    return data, label


def training_range(images: str | os.PathLike[str], labels: str | os.PathLike[str], data: np.ndarray) -> GrayRange:
    """Return what a training notes of its images: their gray values, and what tells them and the labels from others.

    Parameters
    ----------
    images, labels : path
    data : ndarray of a gray type, shape (z, y, x)
    """
    files = [fingerprint(path) or "" for path in (images, labels)]
    return GrayRange.of(data, source=":".join(files) if all(files) else "")


def check_numbers(images: str | os.PathLike[str], labels: str | os.PathLike[str], *, rules: Rules = CORRECTED) -> None:
    """Compare the numbers in the names of images and labels, which are paired in order.

    Raises
    ------
    InputError
        They count differently: the pairs would not belong together.
    """
    counted = [plane_numbers(path, rules=rules) for path in (images, labels)]
    if counted[0] is None or counted[1] is None or len(counted[0]) != len(counted[1]):
        return
    of_images, of_labels = counted[0], counted[1]
    pairs = list(zip(of_images, of_labels, strict=True))
    if len({image - label for image, label in pairs}) > 1:
        image, label = next(pair for pair in pairs if pair[0] - pair[1] != of_images[0] - of_labels[0])
        words = f"numbers do not match: image {image} of {images} would get label {label} of {labels}"
        if not rules.octave_images:
            raise InputError(f"{words}; expected the same numbers in both. Add or remove the missing planes")
        logger.warning("Warning: %s", words)
    elif of_images != of_labels:
        logger.warning(
            "Warning: the images of %s are numbered from %d and the labels of %s from %d; they are paired in order",
            images,
            of_images[0],
            labels,
            of_labels[0],
        )


def _say_foreground(label: np.ndarray, voxels: int, labels: str | os.PathLike[str]) -> None:
    """Say which share of the labels is foreground, and warn where nothing can be learned from them."""
    share = _count_foreground(label) / voxels
    logger.info("%s: %.3g %% foreground", labels, 100 * share)
    if share in (0, 1):
        found = "no foreground (all 0)" if share == 0 else "foreground alone, no background (0)"
        logger.warning("Warning: %s holds %s: there is nothing to tell apart; are these the labels?", labels, found)


def _count_foreground(label: np.ndarray) -> int:
    """Return how many voxels of a stack are not 0; with z fastest in memory, counting along z is ten times as fast."""
    found = 0
    for columns in to_caffe_axes(label):
        found += int(np.count_nonzero(columns))
        release(label)
    return found


def _say_classes(label: np.ndarray, voxels: int, labels: str | os.PathLike[str], labelling: Labelling) -> None:
    """Say which shares of the labelled voxels the classes have, and warn of what cannot be learned from them."""
    counts: np.ndarray = sum(
        (np.bincount(plane.ravel(), minlength=IGNORED + 1) for plane in to_caffe_axes(label)), np.zeros(1, int)
    )
    counts[0] -= label.size - voxels
    there = np.flatnonzero(counts[:IGNORED])
    shares = 100 * counts / max(voxels - counts[IGNORED], 1)
    logger.info("%s: %s", labels, ", ".join(f"class {c} {shares[c]:.3g} %" for c in there) or "no class")
    if labelling.ignore is not None:
        logger.info("%s: %.3g %% of the voxels do not count", labels, 100 * counts[IGNORED] / voxels)
        if not counts[IGNORED]:
            logger.warning("Warning: %s holds no %d, the label that --ignore names", labels, labelling.ignore)
    absent = [str(c) for c in range(labelling.classes) if c not in there]
    if len(there) < 2:
        found = f"class {there[0]} alone" if len(there) else "no class"
        logger.warning("Warning: %s holds %s: there is nothing to tell apart; are these the labels?", labels, found)
    elif absent:
        logger.warning(
            "Warning: %s holds no voxel of class %s: nothing is learned of it here", labels, ", ".join(absent)
        )


def training_variants(
    data: np.ndarray, label: np.ndarray, *, weight: float = 1.0, orientations: int = len(VARIANTS)
) -> list[LabelledVolume]:
    """Return the orientations in which a volume is trained on, without files and without copies.

    Parameters
    ----------
    data, label : ndarray, shape (z, y, x)
        As `load_labelled_volume` returns them.
    weight : float
        How often patches come from this volume, compared with others.
    orientations : int
        How many: 16 with planes in both orders, 8 without, 1 the volume as it is.

    Returns
    -------
    list of LabelledVolume
        In Caffe's axes (x, y, z), variant 1 first; all are views of `data` and `label`.
    """
    return [replace(labelled_volume(data, label, variant), weight=weight) for variant in VARIANTS[:orientations]]


def labelled_volume(data: np.ndarray, label: np.ndarray, variant: Variant = VARIANTS[0]) -> LabelledVolume:
    """Return one orientation of a (z, y, x) volume in Caffe's axes (x, y, z), as views.

    Parameters
    ----------
    data, label : ndarray of a number type, shape (z, y, x)
    variant : Variant

    Returns
    -------
    LabelledVolume
    """
    return LabelledVolume(to_caffe_axes(variant.apply(data)), to_caffe_axes(variant.apply(label)))


def write_training_stacks(
    folder: str | os.PathLike[str],
    data: np.ndarray,
    label: np.ndarray,
    *,
    rules: Rules = CORRECTED,
    put_back: bool = True,
) -> list[Path]:
    """Write the 16 variants of a volume as `training_full_stacks_v1..v16.h5`, all of them or none.

    Parameters
    ----------
    folder : path
        Made when it is missing.
    data, label : ndarray, shape (z, y, x)
        As `load_labelled_volume` returns them, two arrays; stored as float32 `/data` and `/label` of shape (x, y, z).
        Their planes are put in reverse order and back.
    rules : Rules
        Give existing files new values but leave their shape, as the original does (defect 11).
    put_back : bool
        False where nobody needs the arrays any more: they may then be left with their planes in reverse order.

    Returns
    -------
    list of Path
        The files, variant 1 first.
    """
    data, label = _laid_out_for_caffe(data), _laid_out_for_caffe(label)
    return _write_stacks(Path(folder), STACK_FILES, data, label, rules=rules, put_back=put_back)


def write_validation_stack(
    folder: str | os.PathLike[str], data: np.ndarray, label: np.ndarray, *, rules: Rules = CORRECTED
) -> Path:
    """Write a volume as `validation_stack_v1.h5` in `folder`; see `write_training_stacks`."""
    return _write_stacks(Path(folder), {VARIANTS[0]: VALIDATION_STACK}, data, label, rules=rules)[0]


def _load_as_the_original(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    *,
    same_size: bool,
    confirm: Callable[[str], None] | None,
    scratch: str | os.PathLike[str] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Read and check in the order of PreprocessTrainingData.m, which compares sizes after the filling (defect 15)."""
    check_numbers(images, labels, rules=ORIGINAL)
    volume = open_volume(images, rules=ORIGINAL, importer="imageimporter")
    data, values = _read_filled(volume, enough=FEWEST_IMAGE_VALUES, scratch=scratch)
    if len(values) < FEWEST_IMAGE_VALUES:
        _ask(f"{images} holds fewer than {FEWEST_IMAGE_VALUES} values; are these the images?", confirm)
    volume = open_volume(labels, rules=ORIGINAL, importer="imageimporter")
    label, values = _read_filled(volume, enough=MOST_LABEL_VALUES + 1, scratch=scratch)
    if len(values) > MOST_LABEL_VALUES:
        _ask(f"{labels} holds more than {MOST_LABEL_VALUES} values; are these the labels?", confirm)
    if same_size:
        check_same_size(data.shape, label.shape)
    return data, label


def _read_filled(
    volume: Volume, *, enough: int, scratch: str | os.PathLike[str] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a whole volume, place it as `fill_to_smallest_side` does, and collect its values until there are `enough`.

    Returns
    -------
    stack : ndarray, shape (z, y, x)
        With z fastest in memory.
    values : ndarray
        So many different values of the volume's own voxels, or all where there are fewer.
    """
    folder = None if scratch is None else _nearest_folder(Path(scratch))
    stack = from_caffe_axes(zeros(filled_shape(volume.shape)[::-1], volume.dtype, folder=folder))
    values = np.empty(0, volume.dtype)
    for roi, block in volume.blocks(BLOCK_BYTES):
        if len(values) < enough:
            values = np.union1d(values, distinct_values(block, enough=enough))
        _copy_releasing(block, stack[roi.slices])
        del block  # or it is in memory while the next one is read
    return stack, values


def _copy_releasing(block: np.ndarray, target: np.ndarray) -> None:
    """Copy a block of planes, which are scattered through all of a mapped array; keep little of that in memory."""
    bytes_of_a_row = target.strides[1] * target.shape[2]
    rows = max(1, BLOCK_BYTES // bytes_of_a_row)
    for begin in range(0, target.shape[1], rows):
        part = slice(begin, begin + rows)
        copy_stack(block[:, part], target[:, part])
        release(target)


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _ask(question: str, confirm: Callable[[str], None] | None) -> None:
    """Ask as checkpoint_nobinary.m and checkpoint_isbinary.m do (defects 7 and 8); stop where nobody can answer."""
    if confirm is None:
        raise InputError(f"{question} Leave out --exact")
    confirm(question)


def check_same_size(images: tuple[int, ...], labels: tuple[int, ...]) -> None:
    """Raise InputError when images and labels of shapes (z, y, x) differ in size."""
    if images != labels:
        x_y_z = [" x ".join(map(str, shape[::-1])) for shape in (images, labels)]
        raise InputError(
            f"the images are {x_y_z[0]} voxels (x, y, z), the labels {x_y_z[1]}; expected the same size. "
            "Give every image its label, and crop both alike"
        )


def _laid_out_for_caffe(stack: np.ndarray) -> np.ndarray:
    """Return the stack with z running fastest in memory, so that files are written along it."""
    return from_caffe_axes(np.ascontiguousarray(to_caffe_axes(stack)))


def _write_stacks(
    folder: Path,
    names: dict[Variant, str],
    data: np.ndarray,
    label: np.ndarray,
    *,
    rules: Rules,
    put_back: bool = True,
) -> list[Path]:
    def fill(variant: Variant) -> None:
        arrays = {"data": to_caffe_axes(variant.turn(data)), "label": to_caffe_axes(variant.turn(label))}
        if rules.keeps_old_shape and (folder / names[variant]).exists():
            arrays = in_old_shape(folder / names[variant], arrays)
        with _naming(partials[variant]):
            fill_datasets(partials[variant], arrays, dtype=np.float32, at_once=len(names) == 1)

    made_here = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as all_or_none:
            partials = {
                variant: all_or_none.enter_context(whole_file(folder / name, naming=LEFT_TO_SYSTEM))
                for variant, name in names.items()
            }
            # in exact mode, old values of every file that is being written are in memory
            for_each_variant(fill, list(names), data, label, at_once=not rules.keeps_old_shape, put_back=put_back)
    except BaseException:
        if made_here:
            with suppress(OSError):
                folder.rmdir()
        raise
    return [folder / name for name in names.values()]


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say in an error of the system which of several files it was."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or os.fspath(path)
        raise
