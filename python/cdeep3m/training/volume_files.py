"""Several training volumes as files: 16 a volume, augmented and then filled, with a record of what was drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.augmentation.patches import change_gray_values, draw_look, look_at
from cdeep3m.augmentation.settings import augmentation_of
from cdeep3m.edition2.settings import ENHANCED, SETTINGS_FILE, settings_text
from cdeep3m.engines.patches import white_of
from cdeep3m.errors import InputError
from cdeep3m.geometry import to_caffe_axes
from cdeep3m.matlab_ports.check_training_data import fill_to_smallest_side
from cdeep3m.runs.gray_range import write_range
from cdeep3m.runs.provenance import TrainedOn, warn_of_both_kinds
from cdeep3m.system.files import write_text
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.training.data import check_numbers, check_same_size, training_range
from cdeep3m.training.file_names import DRAWS, STACK_OF_VOLUME
from cdeep3m.training.sources import joined
from cdeep3m.volumes.base import read_all
from cdeep3m.volumes.enhanced import open_enhanced
from cdeep3m.volumes.enhancement import Enhancement
from cdeep3m.volumes.hdf5 import write_datasets
from cdeep3m.volumes.open import open_volume

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Sequence

    from cdeep3m.augmentation.settings import Augmentation
    from cdeep3m.training.volumes_given import Given
    from cdeep3m.volumes import Volume


def write_volumes(
    volumes: Sequence[Given],
    out: str | os.PathLike[str],
    *,
    seed: int,
    begin: Callable[[Collection[str]], None] = lambda _: None,
) -> int:
    """Write 16 files a volume, `training_full_stacks_v<volume>_<variation>.h5`, and beside them what was drawn.

    Stacks have Caffe's axes (x, y, z); the variation says the orientation, as in the first edition. Planes are enhanced
    where SEC is -1, otherwise changed as SEC and TER ask, and only then filled with zeros to 325 voxels.

    Parameters
    ----------
    volumes : sequence of Given
        All enhanced, or none.
    out : path
        Folder; made when it is missing.
    seed : int
        The same one gives the same files.
    begin : callable
        Called with the names of the files once all volumes are known to fit, before the first one is written.

    Returns
    -------
    int
        How many files of volumes were written.

    Raises
    ------
    CDeep3MError
        Something cannot be read, or does not fit.
    """
    folder = Path(out)
    augmentations = [_augmentation(given) for given in volumes]
    enhancements = [Enhancement() if given.secondary == str(ENHANCED) else None for given in volumes]
    opened = [_open(given, enhancement) for given, enhancement in zip(volumes, enhancements, strict=True)]
    if any(enhancements) and not all(enhancements):
        _demand_8_bits(volumes, opened)
        warn_of_both_kinds(folder)
    begin([STACK_OF_VOLUME.format(k, variant.index) for k in range(1, len(volumes) + 1) for variant in VARIANTS])
    noted = []
    for number, (given, augmentation) in enumerate(zip(volumes, augmentations, strict=True), start=1):
        data, label = map(read_all, opened[number - 1])
        noted.append(training_range(given.images, given.labels, data))
        _write_volume(folder, number, data, label, augmentation, seed=seed)
        write_text(folder / SETTINGS_FILE.format(number), settings_text(given.secondary, given.tertiary))
    words = "; ".join(dict.fromkeys(a.words for a in augmentations if a))
    TrainedOn(
        edition=2,
        enhancement=next(filter(None, enhancements), None),
        augmentation=words,
        ignores_voxels=any(augmentation.changes_shape for augmentation in augmentations),
        volumes=len(volumes),
    ).write(folder)
    write_range(folder, joined(noted))
    return len(volumes) * len(VARIANTS)


def _augmentation(given: Given) -> Augmentation:
    enhanced = given.secondary == str(ENHANCED)
    return augmentation_of("0" if enhanced else given.secondary, int(given.tertiary))


def _open(given: Given, enhancement: Enhancement | None) -> tuple[Volume, Volume]:
    check_numbers(given.images, given.labels)
    images, labels = open_enhanced(given.images, enhancement), open_volume(given.labels, role="label")
    check_same_size(images.shape, labels.shape)
    return images, labels


def _demand_8_bits(volumes: Sequence[Given], opened: Sequence[tuple[Volume, Volume]]) -> None:
    """Refuse gray values of more than 8 bits beside enhanced volumes, which have 8."""
    for given, (images, _) in zip(volumes, opened, strict=True):
        if images.dtype != np.uint8:
            raise InputError(
                f"{given.images} holds {images.dtype} beside enhanced volumes (SEC -1) of uint8; expected 8 bits "
                "everywhere. Enhance all volumes, or none"
            )


def _write_volume(
    folder: Path, number: int, data: np.ndarray, label: np.ndarray, augmentation: Augmentation, *, seed: int
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for variant in VARIANTS:
        rng = np.random.default_rng([seed, number, variant.index])
        pair = variant.apply(data), variant.apply(label)
        if augmentation:
            pair = augment_stack(*pair, augmentation, rng)
            drawn[str(variant.index)] = [seed, number, variant.index]
        arrays = {
            name: to_caffe_axes(fill_to_smallest_side(stack))
            for name, stack in zip(("data", "label"), pair, strict=True)
        }
        write_datasets(folder / STACK_OF_VOLUME.format(number, variant.index), arrays, dtype=np.float32)
    text = {"generator": "numpy.random.default_rng", "augmentation": augmentation.words, "seeds": drawn}
    write_text(folder / DRAWS.format(number), json.dumps(text, indent=1) + "\n")


def augment_stack(
    data: np.ndarray, label: np.ndarray, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Change a whole volume as patches are changed while training.

    Parameters
    ----------
    data, label : ndarray, shape (z, y, x)
    augmentation : Augmentation
    rng : Generator

    Returns
    -------
    data, label : ndarray of float32, shape (z, y, x)
        Gray values are rounded. 0 outside the volume, where the label is one that the loss leaves out.
    """
    depth = len(data)
    sides = data.shape[2], data.shape[1]
    patch = to_caffe_axes(data)[np.newaxis].astype(np.float32)
    labels = to_caffe_axes(label)[np.newaxis]
    look = draw_look(sides, augmentation, rng)
    inside = np.ones(sides, bool)
    if look is not None:
        centre = (sides[0] // 2, sides[1] // 2, depth // 2)
        patch, labels, inside = look_at(patch, labels, centre, look, depth=depth, label_depth=depth)
    patch = np.rint(change_gray_values(patch, augmentation, white_of(data), rng)) * inside[..., np.newaxis]
    return patch[0].transpose(2, 1, 0), labels[0].transpose(2, 1, 0).astype(np.float32)
