"""Training files exactly as CDeep3M2 writes them (PreprocessTrainingData.py, PreprocessValidation.py)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.augmentation.settings import strengths_in
from cdeep3m.edition2 import secondary, tertiary
from cdeep3m.edition2.enhancement import CUT, enhance
from cdeep3m.edition2.settings import ENHANCED, SETTINGS_FILE, Strengths, settings_text
from cdeep3m.edition2.stacks import ORDER, foreground, training_dataset, validation_dataset
from cdeep3m.errors import InputError
from cdeep3m.matlab_ports.check_training_data import FEWEST_IMAGE_VALUES, MOST_LABEL_VALUES, distinct_values
from cdeep3m.system.files import write_text
from cdeep3m.tiling.variants import variant
from cdeep3m.training.file_names import STACK_OF_VOLUME, VALIDATION_STACK
from cdeep3m.volumes.as_edition_2 import open_as_edition_2, planes_to_enhance
from cdeep3m.volumes.base import read_all
from cdeep3m.volumes.hdf5 import write_datasets
from cdeep3m.volumes.png import write_plane

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from cdeep3m.training.volumes_given import Given
    from cdeep3m.volumes.as_edition_2 import Purpose

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chance:
    """Where CDeep3M2's random numbers come from.

    Attributes
    ----------
    draws : callable
        Takes a variation and the (y, x) of its planes; returns what secondary augmentation draws for it.
    factor : callable
        Takes the smallest and the largest factor; returns what tertiary augmentation draws.
    """

    draws: Callable[[int, tuple[int, int]], secondary.Draws]
    factor: Callable[[float, float], float]


def chance_of(seed: int | None) -> Chance:
    """Return random numbers, the same ones for the same seed; CDeep3M2 itself has no seeds (defect 16)."""
    generator = np.random.RandomState(seed)  # noqa: NPY002
    return Chance(lambda _variation, shape: secondary.Draws.from_generator(generator, shape), generator.uniform)


def write_training_data(
    volumes: Sequence[Given], out: str | os.PathLike[str], *, chance: Chance, confirm: Callable[[str], None]
) -> int:
    """Write 16 files a volume, `training_full_stacks_v<volume>_<variation>.h5`, and what was asked for.

    Parameters
    ----------
    volumes : sequence of Given
        In their order, numbered from 1.
    out : path
        Made when it is missing; its parent is not.
    chance : Chance
    confirm : callable
        Takes a question that CDeep3M2 asks on standard input; returns to go on, raises to stop.

    Returns
    -------
    int
        How many files of volumes were written.

    Raises
    ------
    CDeep3MError
        CDeep3M2 would have ended, or hung; what it wrote until then is there.
    """
    folder = Path(out)
    folder.mkdir(exist_ok=True)
    for number, given in enumerate(volumes, start=1):
        enhanced = folder / f"enhanced_v{number}"
        images, labels = _read(
            given, enhanced if given.secondary == str(ENHANCED) else None, confirm, purpose="training"
        )
        strengths = _strengths(given)
        for variation in ORDER:
            pair = [variant(variation).apply(tertiary.filled(stack)) for stack in (images, labels)]
            pair = list(_augmented(pair, variation, strengths, int(given.tertiary), chance))
            write_datasets(
                folder / STACK_OF_VOLUME.format(number, variation),
                {name: training_dataset(stack) for name, stack in zip(("data", "label"), pair, strict=True)},
            )
        write_text(folder / SETTINGS_FILE.format(number), settings_text(given.secondary, given.tertiary))
    return len(volumes) * len(ORDER)


def write_validation_data(given: Given, out: str | os.PathLike[str], *, confirm: Callable[[str], None]) -> Path:
    """Write `validation_stack_v1.h5`, enhanced where `given` says -1, in an order of axes that no net takes (23)."""
    folder = Path(out)
    folder.mkdir(exist_ok=True)
    enhanced = folder / "enhanced" if given.secondary == str(ENHANCED) else None
    images, labels = _read(given, enhanced, confirm, purpose="validation")
    write_datasets(folder / VALIDATION_STACK, {"data": validation_dataset(images), "label": validation_dataset(labels)})
    return folder / VALIDATION_STACK


def _read(
    given: Given, enhanced: Path | None, confirm: Callable[[str], None], *, purpose: Purpose
) -> tuple[np.ndarray, np.ndarray]:
    """Read images, enhanced into a folder of their own first, and labels as 0 and 1, axes (z, y, x)."""
    source: str | os.PathLike[str] = given.images
    if enhanced is not None:
        _write_enhanced(given.images, enhanced)
        source = enhanced
    images = read_all(open_as_edition_2(source, purpose=purpose))
    if len(distinct_values(images, enough=FEWEST_IMAGE_VALUES)) < FEWEST_IMAGE_VALUES:
        confirm(f"{source} holds fewer than {FEWEST_IMAGE_VALUES} values; are these the images?")
    labels = read_all(open_as_edition_2(given.labels, purpose=purpose))
    if len(distinct_values(labels, enough=MOST_LABEL_VALUES + 1)) > MOST_LABEL_VALUES:
        confirm(f"{given.labels} holds more than {MOST_LABEL_VALUES} values; are these the labels?")
    if images.shape[1:] != labels.shape[1:] or (purpose == "training" and len(images) != len(labels)):
        raise InputError(f"images of {images.shape} voxels (z, y, x), labels of {labels.shape}; expected the same")
    return images, foreground(labels)


def _write_enhanced(images: str | os.PathLike[str], folder: Path) -> None:
    planes = planes_to_enhance(images)
    folder.mkdir(exist_ok=True)
    for name, plane in planes:
        try:
            write_plane(folder / name, enhance(plane, CUT))
        except ValueError as error:
            raise InputError(f"{images}, {name}: {error}. Leave out --exact, and it stays as it is") from None


def _strengths(given: Given) -> Strengths | None:
    if given.secondary.endswith(".ini"):
        return strengths_in(given.secondary)
    number = int(given.secondary)
    return Strengths.all_of(number) if number > 0 else None


def _augmented(
    pair: Sequence[np.ndarray], variation: int, strengths: Strengths | None, resize: int, chance: Chance
) -> tuple[np.ndarray, np.ndarray]:
    images, labels = pair
    try:
        if strengths is not None:
            draws = chance.draws(variation, (images.shape[1], images.shape[2]))
            images, labels = secondary.augment(images, labels, variation, strengths, draws)
        limits = tertiary.factor_range(resize, variation) if resize else None
    except ValueError as error:
        raise InputError(f"variation {variation}: {error}") from None
    return tertiary.resize(images, labels, chance.factor(*limits)) if limits else (images, labels)
