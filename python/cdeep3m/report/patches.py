"""Training patches as a picture, to look at before days are spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.engines.patches import PatchSampler, white_of
from cdeep3m.volumes.labels import IGNORED
from cdeep3m.volumes.png import write_picture

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from cdeep3m.augmentation.settings import Augmentation
    from cdeep3m.engines.base import LabelledVolume

ROWS, COLUMNS = 4, 6
GAP = 4
OUTLINE = np.array((255, 200, 0), np.uint8)
OUTSIDE = np.array((90, 30, 30), np.uint8)


def draw_patches(
    path: str | os.PathLike[str],
    volumes: Sequence[LabelledVolume],
    augmentation: Augmentation,
    *,
    side: int = 320,
    seed: int = 0,
) -> None:
    """Draw patches of a training, labels outlined in yellow; what the loss leaves out is dark red.

    Parameters
    ----------
    path : path
        A .png file.
    volumes : sequence of LabelledVolume
        What is trained on.
    augmentation : Augmentation
        How patches are changed.
    side : int
        Of a patch; as large as the volumes allow, where they are smaller.
    seed : int
        Chooses the patches.

    Raises
    ------
    InputError
        No patch can be drawn.
    """
    smallest = min(min(volume.label.shape[:2]) for volume in volumes)
    fitting = min(side, smallest - 1 - (smallest + 1) % 2)
    sides = fitting, fitting, 1
    sampler = PatchSampler(volumes, data_shape=sides, label_shape=sides, augmentation=augmentation)
    rng = np.random.default_rng(seed)
    white = max(white_of(volume.data) for volume in volumes)
    tiles = [_tile(*sampler.draw(rng), white) for _ in range(ROWS * COLUMNS)]
    step = fitting + GAP
    picture = np.full((ROWS * step - GAP, COLUMNS * step - GAP, 3), 255, np.uint8)
    for k, tile in enumerate(tiles):
        y, x = k // COLUMNS * step, k % COLUMNS * step
        picture[y : y + fitting, x : x + fitting] = tile
    write_picture(path, picture)


def _tile(data: np.ndarray, label: np.ndarray, white: float) -> np.ndarray:
    gray = np.clip(data[0, ..., 0].T * (255 / white), 0, 255).astype(np.uint8)
    labels = label[0, ..., 0].T
    tile = np.repeat(gray[..., np.newaxis], 3, axis=-1)
    foreground = (labels != 0) & (labels != IGNORED)
    inner = foreground.copy()
    inner[1:-1, 1:-1] &= foreground[:-2, 1:-1] & foreground[2:, 1:-1] & foreground[1:-1, :-2] & foreground[1:-1, 2:]
    tile[foreground & ~inner] = OUTLINE
    tile[labels == IGNORED] = OUTSIDE
    return tile
