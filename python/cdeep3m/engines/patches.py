"""Random training patches: the sampler of PatchData, as DeepEM3D's Caffe draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.augmentation.patches import change_gray_values, draw_look, look_at
from cdeep3m.errors import InputError
from cdeep3m.volumes.labels import IGNORED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cdeep3m.augmentation.settings import Augmentation
    from cdeep3m.engines.base import LabelledVolume
    from cdeep3m.proto.caffe_pb2 import LabelProbMappingParameter

Sides = tuple[int, ...]
"""Sides of a patch or of a volume, axes (x, y, z)."""

BACKGROUND = 0

MAX_TRIES = 1000
"""Centres that are tried for one patch before those with a label to train on are listed, which are few then."""


@dataclass(frozen=True, kw_only=True)
class LabelSelection:
    """Which labels a patch may be centred on, and how often.

    Attributes
    ----------
    acceptance : mapping of int to float
        Probability that a patch whose centre has this label is kept.
    rest : float
        The same for labels that `acceptance` does not name.
    renamed : mapping of int to int
        Labels that the net gets under another number.
    rest_renamed : int, optional
        What the net gets for labels that `acceptance` does not name; default: themselves.
    """

    acceptance: Mapping[int, float] = field(default_factory=dict)
    rest: float = 1.0
    renamed: Mapping[int, int] = field(default_factory=dict)
    rest_renamed: int | None = None

    @classmethod
    def from_message(cls, message: LabelProbMappingParameter) -> LabelSelection:
        """Return what a label_class_selection.prototxt asks for."""
        infos = message.label_prob_mapping_info
        rest = 0.0 if message.ignore_rest_of_label else message.rest_of_label_prob
        rates = acceptance_rates([info.prob for info in infos])
        return cls(
            acceptance={info.label: rate for info, rate in zip(infos, rates, strict=True)},
            rest=min(rest, 1.0),
            renamed={i.label: i.map2label for i in infos if i.HasField("map2label") and i.map2label != i.label},
            rest_renamed=message.rest_of_label_mapping_label if message.rest_of_label_mapping else None,
        )

    def accepts(self, label: int, rng: np.random.Generator) -> bool:
        """Decide whether a patch centred on `label` is kept."""
        return bool(rng.random() < self.acceptance.get(label, self.rest))

    def may_accept(self, labels: np.ndarray) -> np.ndarray:
        """Return where patches may be centred, whatever the chance: bool, in the shape of `labels`."""
        if self.rest > 0:
            return ~np.isin(labels, [label for label, rate in self.acceptance.items() if rate <= 0])
        return np.isin(labels, [label for label, rate in self.acceptance.items() if rate > 0])

    def rename(self, labels: np.ndarray) -> np.ndarray:
        """Return `labels` (any shape) under the numbers that the net gets."""
        if not self.renamed and self.rest_renamed is None:
            return labels
        renamed = labels.copy()
        if self.rest_renamed is not None:
            renamed[~np.isin(labels, list(self.acceptance))] = self.rest_renamed
        for label, number in self.renamed.items():
            renamed[labels == label] = number
        return renamed


def acceptance_rates(probabilities: Sequence[float]) -> list[float]:
    """Turn the `prob` of each class in label_class_selection.prototxt into how often a patch centred on it is kept.

    PatchData takes them for how common the classes are: the rarest is always kept, another one is kept one time in
    ceil(prob / smallest prob). A class of probability 0 is never kept.

    Examples
    --------
    >>> acceptance_rates([1, 0.3])
    [0.25, 1.0]
    """
    smallest = min((p for p in probabilities if p > 0), default=1.0)
    return [1.0 / math.ceil(round(p / smallest, 6)) if p > 0 else 0.0 for p in probabilities]


class PatchSampler:
    """Draws patches and their labels from volumes in memory.

    Parameters
    ----------
    volumes : sequence of LabelledVolume
        `data` of shape (x, y, z) or (c, x, y, z), `label` of shape (x, y, z) or (1, x, y, z); any number type, views
        and memory maps are read where a patch lies.
    data_shape, label_shape : tuple of int
        Sides (x, y, z) of a patch and of its label; both have the same centre.
    selection : LabelSelection
        Which centres are kept.
    augmentation : Augmentation, optional
        How patches are changed.
    rare : float
        Share of the patches whose centre is drawn among the voxels of the foreground, a class as often as another
        where there are several.
    ignored : int, optional
        Label of voxels that do not count as foreground.

    Raises
    ------
    InputError
        When no volumes are given, or one is too small or does not fit its labels or the other volumes.
    """

    def __init__(
        self,
        volumes: Sequence[LabelledVolume],
        *,
        data_shape: Sides,
        label_shape: Sides,
        selection: LabelSelection | None = None,
        augmentation: Augmentation | None = None,
        rare: float = 0.0,
        ignored: int | None = None,
    ) -> None:
        if not volumes:
            raise InputError("no volumes to draw training patches from; expected at least one")
        self.data_shape, self.label_shape = tuple(data_shape), tuple(label_shape)
        self.selection = selection or LabelSelection()
        self.augmentation = augmentation or None
        self._shares = _shares([volume.weight for volume in volumes])
        self._data = [_with_channels(volume.data, len(self.data_shape)) for volume in volumes]
        self._labels = [_with_channels(volume.label, len(self.label_shape)) for volume in volumes]
        self._check()
        self._white = [white_of(data) for data in self._data] if self.augmentation else []
        self._centres = [centre_range(label.shape[1:], self.label_shape) for label in self._labels]
        self._listed: dict[int, np.ndarray] = {}
        self.rare, self._ignored = rare, ignored
        self._found = self._find() if rare else []

    @property
    def channels(self) -> int:
        """Number of channels of the data."""
        return int(self._data[0].shape[0])

    def class_shares(self, classes: int, *, ignored: Collection[int] = ()) -> list[float]:
        """Return how common each class is in the volumes, each as often as patches come from it.

        Parameters
        ----------
        classes : int
            How many there are, from 0.
        ignored : collection of int
            Labels that are none of them.

        Returns
        -------
        list of float
            Their sum is 1, or 0 where there is no label that counts.
        """
        weights = np.ones(len(self._labels)) if self._shares is None else np.diff(self._shares, prepend=0)
        counted: dict[tuple[int, int], np.ndarray] = {}
        shares = np.zeros(classes)
        for label, weight in zip(self._labels, weights, strict=True):
            place = extent(label)
            if place not in counted:
                counted[place] = self._counts(label, classes, ignored)
            shares += weight * counted[place] / label.size
        return (shares / max(shares.sum(), np.finfo(float).tiny)).tolist()

    def _counts(self, label: np.ndarray, classes: int, ignored: Collection[int]) -> np.ndarray:
        counts = np.zeros(classes)
        for z in range(label.shape[3]):
            plane = self.selection.rename(label[..., z])
            counts += np.array([0 if c in ignored else np.count_nonzero(plane == c) for c in range(classes)])
        return counts

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw one patch.

        A volume is chosen uniformly, or by the volumes' weights, then a centre uniformly until the label there is
        accepted; or, for the share of `rare`, a centre among the voxels of a class of the foreground. Only z may leave
        the volume, but for augmentation; what lies outside is 0.

        Returns
        -------
        data : ndarray of float32, shape (c, x, y, z)
            Raw values.
        label : ndarray of float32, shape (1, x, y, z)
        """
        if self.rare and rng.random() < self.rare:
            index, centre = self._around_foreground(rng)
        else:
            index = self._index(rng)
            centre = self._centre(index, rng)
        if self.augmentation:
            return self._augmented(self.augmentation, index, centre, rng)
        data = cut(self._data[index], _begin(centre, self.data_shape), self.data_shape)
        label = cut(self._labels[index], _begin(centre, self.label_shape), self.label_shape)
        return data, self.selection.rename(label)

    def batch(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw `size` patches.

        Returns
        -------
        data : ndarray of float32, shape (n, c, x, y, z)
        label : ndarray of float32, shape (n, 1, x, y, z)
        """
        data, labels = zip(*(self.draw(rng) for _ in range(size)), strict=True)
        return np.stack(data), np.stack(labels)

    def _index(self, rng: np.random.Generator) -> int:
        if self._shares is None:
            return int(rng.integers(len(self._data)))
        return int(np.searchsorted(self._shares, rng.random(), side="right"))

    def _find(self) -> list[Foreground]:
        def wanted(one: int) -> bool:
            return one != self._ignored and self.selection.acceptance.get(one, self.selection.rest) > 0

        boxes = zip(self._labels, self._centres, strict=True)
        found = [Foreground.of(label[0], *box, wanted) for label, box in boxes]
        if not any(found):
            raise InputError(
                "no place of the training volumes is foreground and far enough from the edges to draw a patch around; "
                "expected one at least. Check the labels, use a smaller patch, or leave the rare sampling out"
            )
        return found

    def _around_foreground(self, rng: np.random.Generator) -> tuple[int, Sides]:
        """Choose a volume that has foreground, by the volumes' weights, and a place in it."""
        while not self._found[index := self._index(rng)]:
            pass
        return index, self._found[index].draw(self._labels[index][0], rng)

    def _augmented(
        self, augmentation: Augmentation, index: int, centre: Sides, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cut a patch out as augmentation shows it; what lies outside the volume is 0, and its label `IGNORED`."""
        data, labels, depth = self._data[index], self._labels[index], self.data_shape[2]
        look = draw_look(self.data_shape, augmentation, rng)
        inside = np.ones(self.data_shape[:2], bool)
        if look is None:
            patch = cut(data, _begin(centre, self.data_shape), self.data_shape)
            label = cut(labels, _begin(centre, self.label_shape), self.label_shape)
        else:
            sizes = {"depth": depth, "label_depth": self.label_shape[2]}
            patch, label, inside = look_at(data, labels, centre, look, **sizes)
        patch = change_gray_values(patch, augmentation, self._white[index], rng)
        planes = centre[2] - depth // 2 + np.arange(depth)
        patch *= inside[..., np.newaxis] & (planes >= 0) & (planes < data.shape[3])
        return patch, self.selection.rename(label)

    def _centre(self, index: int, rng: np.random.Generator) -> Sides:
        low, high = self._centres[index]
        labels = self._labels[index][0]
        for _ in range(MAX_TRIES):
            centre = tuple(rng.integers(low, high).tolist())
            if self.selection.accepts(int(labels[centre]), rng):
                return centre
        while True:
            centre = tuple(rng.choice(self._usable(index)).tolist())
            if self.selection.accepts(int(labels[centre]), rng):
                return centre

    def _usable(self, index: int) -> np.ndarray:
        """Return all centres of a volume that may be accepted, shape (n, 3).

        Raises
        ------
        InputError
            There is none.
        """
        if index not in self._listed:
            low, high = self._centres[index]
            inner = tuple(slice(first, after) for first, after in zip(low, high, strict=True))
            self._listed[index] = np.argwhere(self.selection.may_accept(self._labels[index][0][inner])) + low
        if not len(self._listed[index]):
            raise InputError(
                f"volume {index + 1} has no place with a label to train on "
                f"({', '.join(map(str, self.selection.acceptance))}); check the labels and the label selection file"
            )
        return self._listed[index]

    def _check(self) -> None:
        for data, label in zip(self._data, self._labels, strict=True):
            if data.shape[1:] != label.shape[1:]:
                sides = sides_text(label.shape[1:])
                raise InputError(f"images of {sides_text(data.shape[1:])} voxels, but labels of {sides}")
            if label.shape[0] != 1 or data.shape[0] != self.channels:
                raise InputError(
                    f"{data.shape[0]} image and {label.shape[0]} label channels; expected {self.channels} and 1"
                )


@dataclass(frozen=True)
class Foreground:
    """Where a volume has foreground, as counts of each slab along x: little to keep, however large the volume.

    Attributes
    ----------
    low, high : tuple of int
        The first place, and the one after the last one, that count; axes (x, y, z).
    counts : mapping of int to ndarray of int, shape (x,)
        By class, how often it occurs from each slab's beginning on.
    """

    low: Sides
    high: Sides
    counts: Mapping[int, np.ndarray]

    @classmethod
    def of(cls, label: np.ndarray, low: Sides, high: Sides, wanted: Callable[[int], bool]) -> Foreground:
        """Count the classes of labels within a box, those that are wanted.

        Parameters
        ----------
        label : ndarray of a whole-number type, shape (x, y, z)
        low, high : tuple of int
            The box, its end not included.
        wanted : callable
            Tells of a class whether it is.
        """
        box = label[tuple(slice(*ends) for ends in zip(low, high, strict=True))]
        classes = [int(value) for value in np.unique(box) if BACKGROUND < value < IGNORED and wanted(int(value))]
        counted = {one: np.cumsum([np.count_nonzero(slab == one) for slab in box]) for one in classes}
        return cls(tuple(low), tuple(high), counted)

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self.counts)

    def draw(self, label: np.ndarray, rng: np.random.Generator) -> Sides:
        """Draw a class that is there, and one of its voxels, each as often as another.

        Parameters
        ----------
        label : ndarray of a number type, shape (x, y, z)
        rng : Generator
        """
        one = list(self.counts)[int(rng.integers(len(self.counts)))]
        ends = self.counts[one]
        number = int(rng.integers(ends[-1]))
        x = int(np.searchsorted(ends, number, side="right"))
        before = int(ends[x - 1]) if x else 0
        (_, y0, z0), (_, y1, z1) = self.low, self.high
        slab = label[self.low[0] + x, y0:y1, z0:z1]
        y, z = (int(axis[number - before]) for axis in np.nonzero(slab == one))
        return self.low[0] + x, y0 + y, z0 + z


def _shares(weights: Sequence[float]) -> np.ndarray | None:
    """Return up to which number in [0, 1) each volume is drawn, or None where all are drawn alike."""
    if len(set(weights)) == 1:
        return None
    return np.cumsum(weights) / np.sum(weights)


def extent(array: np.ndarray) -> tuple[int, int]:
    """Return the first and the last address of an array: the same for all turned and mirrored views of one.

    Parameters
    ----------
    array : ndarray of any type and shape

    Examples
    --------
    >>> volume = np.zeros((2, 3, 4))
    >>> extent(volume[::-1].swapaxes(0, 1)) == extent(volume) != extent(volume[1:])
    True
    """
    ways = [step * (side - 1) for step, side in zip(array.strides, array.shape, strict=True)]
    begin = array.__array_interface__["data"][0]
    return begin + sum(min(way, 0) for way in ways), begin + sum(max(way, 0) for way in ways)


def white_of(data: np.ndarray) -> float:
    """Return which gray value is white in images of 8 or 16 bits, whatever type they are stored in.

    Parameters
    ----------
    data : ndarray of a number type, shape (x, y, z) or (c, x, y, z)

    Examples
    --------
    >>> white_of(np.float32([0, 255])), white_of(np.uint16([7])), white_of(np.float32([300]))
    (255.0, 65535.0, 65535.0)
    """
    if data.dtype.kind in "iu":
        return float(np.iinfo(data.dtype).max)
    return 255.0 if float(data.max()) <= 255 else 65535.0


def centre_range(sides: Sides, patch: Sides) -> tuple[Sides, Sides]:
    """Return the first centre of a label patch in a volume, and the centre after the last one, per axis.

    PatchData draws from [p // 2, N - p // 2 - 1]: for an even side p the last place that would fit is never drawn, so
    that a volume must be larger than the patch.

    Raises
    ------
    InputError
        The volume is too small.

    Examples
    --------
    >>> centre_range((325, 325, 20), (320, 320, 1))
    ((160, 160, 0), (165, 165, 20))
    """
    smallest = tuple(2 * (p // 2) + 1 for p in patch)
    if any(n < s for n, s in zip(sides, smallest, strict=True)):
        raise InputError(
            f"a training volume of {sides_text(sides)} voxels (x, y, z); patches of {sides_text(patch)} need at least "
            f"{sides_text(smallest)}. Use larger images, or a smaller patch in train_val.prototxt"
        )
    return tuple(p // 2 for p in patch), tuple(n - p // 2 for n, p in zip(sides, patch, strict=True))


def cut(volume: np.ndarray, begin: Sides, sides: Sides) -> np.ndarray:
    """Cut a box out of a volume, with 0 where it lies outside.

    Parameters
    ----------
    volume : ndarray of a number type, shape (c, x, y, z)
    begin : tuple of int
        First voxel of the box, axes (x, y, z); may be negative.
    sides : tuple of int
        Sides of the box.

    Returns
    -------
    ndarray of float32, shape (c, *sides)

    Examples
    --------
    >>> cut(np.arange(1, 4).reshape(1, 1, 1, 3), (0, 0, -1), (1, 1, 3))
    array([[[[0., 1., 2.]]]], dtype=float32)
    """
    patch = np.zeros((volume.shape[0], *sides), dtype=np.float32)
    source, target = [slice(None)], [slice(None)]
    for start, side, length in zip(begin, sides, volume.shape[1:], strict=True):
        first, after = max(start, 0), max(min(start + side, length), 0)
        source.append(slice(first, after))
        target.append(slice(first - start, max(after, first) - start))
    patch[tuple(target)] = volume[tuple(source)]
    return patch


def sides_text(sides: Sides) -> str:
    """Return sides as people write them.

    >>> sides_text((320, 320, 1))
    '320 x 320 x 1'
    """
    return " x ".join(map(str, sides))


def _begin(centre: Sides, sides: Sides) -> Sides:
    return tuple(c - s // 2 for c, s in zip(centre, sides, strict=True))


def _with_channels(volume: np.ndarray, axes: int) -> np.ndarray:
    if volume.ndim not in (axes, axes + 1):
        raise InputError(f"a volume of {volume.ndim} axes for patches of {axes}; expected (x, y, z) or (c, x, y, z)")
    return volume if volume.ndim == axes + 1 else volume[np.newaxis]
