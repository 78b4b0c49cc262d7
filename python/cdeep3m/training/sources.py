"""Labelled volumes that a training draws its patches from, in memory, and the record of what they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.runs.gray_range import GrayRange
from cdeep3m.runs.provenance import TrainedOn
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.training.data import labelled_volume, load_labelled_volume, training_range, training_variants
from cdeep3m.training.holding_out import HeldOut, Split, training_planes
from cdeep3m.volumes.enhancement import Normalisation
from cdeep3m.volumes.open import open_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cdeep3m.augmentation.settings import Augmentation
    from cdeep3m.engines.base import LabelledVolume
    from cdeep3m.rules import Rules
    from cdeep3m.volumes.address import Address
    from cdeep3m.volumes.enhancement import Enhancement
    from cdeep3m.volumes.labels import Labelling


@dataclass(frozen=True)
class Source:
    """A volume to train on.

    Attributes
    ----------
    images, labels : Path or Address
        Folders, or volumes of any format.
    weight : float
        How often patches come from it, compared with other volumes.
    """

    images: Path | Address
    labels: Path | Address
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Volumes in memory.

    Attributes
    ----------
    training : list of LabelledVolume
        The 16 orientations of every volume, as views.
    known : list of HeldOut
        What snapshots can be scored on: what was held out of every volume, or else the volumes that are trained on.
    images : GrayRange
        What is noted of the images: gray values of all volumes, and what tells them from others.
    voxel_size : tuple of float, optional
        Of the first volume, along (z, y, x), where it says it.
    volumes : int
        How many there are.
    """

    training: list[LabelledVolume]
    known: list[HeldOut]
    images: GrayRange
    voxel_size: tuple[float, float, float] | None
    volumes: int

    def tested_on(self, *, held_out: bool) -> list[LabelledVolume]:
        """Return what nets are tested on during a training: what was held out, or else what is trained on."""
        if not held_out:
            return self.training[:1]
        return [labelled_volume(part.data[part.first :], part.label[part.first :]) for part in self.known]


def load_sources(
    sources: Sequence[Source],
    *,
    rules: Rules,
    confirm: Callable[[str], None] | None = None,
    enhancement: Enhancement | None = None,
    labelling: Labelling | None = None,
    split: Split | None = None,
    orientations: int = len(VARIANTS),
) -> Loaded:
    """Read volumes and their labels; they may differ in size.

    Parameters
    ----------
    sources : sequence of Source
        At least one.
    rules : Rules
        How images are read and checked.
    confirm : callable, optional
        Answers the original's questions, in exact mode.
    enhancement : Enhancement, optional
        How the planes of all images are enhanced.
    labelling : Labelling, optional
        What the numbers in the labels stand for, where there are more than two.
    split : Split, optional
        What is held out of every volume; None: nothing.
    orientations : int
        Of every volume, in which it is trained on.

    Returns
    -------
    Loaded
        The first volume first.

    Raises
    ------
    CDeep3MError
        Something cannot be read, or labels do not fit their images.
    """
    training: list[LabelledVolume] = []
    noted: list[GrayRange] = []
    known: list[HeldOut] = []
    for source in sources:
        data, label = load_labelled_volume(
            source.images,
            source.labels,
            rules=rules,
            confirm=confirm,
            enhancement=enhancement,
            labelling=labelling,
        )
        noted.append(training_range(source.images, source.labels, data))
        if split:
            data, label, held = split.of(data, label, name=str(source.images))
            known.append(held)
        else:
            known.append(training_planes(data, label))
        training += training_variants(data, label, weight=source.weight, orientations=orientations)
    size = open_volume(sources[0].images, rules=rules).placement.voxel_size
    return Loaded(
        training=training,
        known=known,
        images=joined(noted),
        voxel_size=size,
        volumes=len(sources),
    )


def record_of(loaded: Loaded, *, enhancement: Enhancement | None, augmentation: Augmentation) -> TrainedOn:
    """Return what is written beside the model about the volumes that it is trained on."""
    return TrainedOn(
        edition=2 if enhancement and not isinstance(enhancement, Normalisation) else 1,
        enhancement=enhancement,
        augmentation=augmentation.words,
        voxel_size=loaded.voxel_size,
        volumes=loaded.volumes,
    )


def joined(noted: Sequence[GrayRange]) -> GrayRange:
    """Return what is noted of several volumes as of one."""
    if len(noted) == 1:
        return noted[0]
    sources = [each.source for each in noted]
    return GrayRange(
        type=max((each.type for each in noted), key=lambda name: np.dtype(name).itemsize),
        low=min(each.low for each in noted),
        high=max(each.high for each in noted),
        source="+".join(sources) if all(sources) else "",
    )
