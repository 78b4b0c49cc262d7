"""Volumes whose planes are images: what a decoder hands over, and the rules that make gray values of it."""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.geometry import Placement, Roi
from cdeep3m.matlab_ports.imageimporter import first_channel, take_class_of_first, through_opencv
from cdeep3m.matlab_ports.imread import imread, without_alpha
from cdeep3m.volumes.gray import LOOKED_THROUGH, demand_finite, gray_type, gray_values
from cdeep3m.volumes.labels import LabelVolume, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from cdeep3m.geometry import Coordinate
    from cdeep3m.volumes.base import Importer, Reading, Role, Volume

    Area = tuple[slice, slice]
    Rule = Callable[["Pixels", Area, str], np.ndarray]


logger = logging.getLogger(__name__)

LARGE = 2**24
"""Of planes of more pixels parts are read alone, where files allow that."""
EVERYTHING = slice(None), slice(None)


@dataclass(frozen=True)
class Header:
    """What an image says of itself before it is decoded.

    Attributes
    ----------
    size : tuple of int
        (y, x).
    sample : numpy dtype
        Type of its samples; uint8 for 1, 2 and 4 bits too.
    coloured : bool
        Whether it has a palette or several channels.
    """

    size: tuple[int, int]
    sample: np.dtype
    coloured: bool


@dataclass(frozen=True)
class Pixels:
    """A decoded image.

    Attributes
    ----------
    values : ndarray, shape (y, x) or (y, x, channels)
        Samples, those of 1, 2 and 4 bits scaled to 0..255; indices where there is a palette.
    palette : ndarray of uint8, shape (colours, 3), optional
    min_is_white : bool
        Whether 0 is white.
    one_bit : bool
        Whether there was one bit a pixel.
    """

    values: np.ndarray
    palette: np.ndarray | None = None
    min_is_white: bool = False
    one_bit: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Pixels along (y, x)."""
        return self.values.shape[0], self.values.shape[1]

    def cropped(self, area: Area) -> Pixels:
        """Return a part of the image, as a view."""
        return replace(self, values=self.values[area])


class PlaneSource(Protocol):
    """Images that follow each other along z."""

    is_folder: bool
    path: str
    """The folder or file, for messages."""
    placement: Placement
    """Size of a voxel, where the files tell."""

    def __len__(self) -> int:
        """Return the number of planes."""

    def name(self, z: int) -> str:
        """Return what a user calls plane `z`."""

    def headers(self, planes: range) -> Iterator[Header]:
        """Yield what the images say of themselves, without decoding them."""

    def decode(self, planes: range) -> Iterator[Pixels]:
        """Yield the decoded images."""

    def segment(self) -> tuple[int, int] | None:
        """Return how many rows and columns of an image are read together; None where it is decoded as a whole."""

    def part(self, z: int, area: Area) -> Pixels | None:
        """Return a part of plane `z`, (y, x), without decoding the rest; None where it is decoded as a whole."""


class ImageVolume:
    """A volume whose planes are images; a rule makes gray values of each.

    Parameters
    ----------
    source : PlaneSource
    size : tuple of int
        (y, x) that every plane must have.
    rule : callable
        Takes pixels, the (y, x) area to return, and the name for messages; returns gray values.
    dtype : numpy dtype, optional
        Type of the volume; without it, every `read` takes that of its first plane.
    in_parts : bool
        Whether parts of large planes are read without the rest, where files allow that; the rule sees nothing else.
    """

    def __init__(
        self,
        source: PlaneSource,
        size: tuple[int, int],
        rule: Rule,
        dtype: np.dtype | None = None,
        *,
        in_parts: bool = False,
    ) -> None:
        self.shape = (len(source), *size)
        self.is_folder = source.is_folder
        self._segment = source.segment() if in_parts and math.prod(size) > LARGE else None
        height, width = (min(a, b) for a, b in zip(self._segment or size, size, strict=True))
        self.chunks = (1, height, width)
        self.placement = source.placement
        self._source = source
        self._rule = rule
        self._dtype = dtype

    @cached_property
    def dtype(self) -> np.dtype:
        """Type of what `read` returns; decodes the first plane where nothing else tells it."""
        if self._dtype is not None:
            return self._dtype
        return next(self.planes(Roi((0, 0, 0), (1, *self.shape[1:])))).dtype

    def planes(self, roi: Roi) -> Iterator[np.ndarray]:
        """Yield the planes of `roi` in order, axes (y, x), types as the rule makes them."""
        along_z, *area = roi.slices
        planes = range(self.shape[0])[along_z]
        if self._segment is not None and roi.shape[1:] != self.shape[1:]:
            for z in planes:
                yield self._part(z, (area[0], area[1]))
            return
        for z, pixels in zip(planes, self._source.decode(planes), strict=True):
            _check_size(self._source, z, pixels.size, self.shape[1:])
            yield self._rule(pixels, (area[0], area[1]), self._source.name(z))

    def _part(self, z: int, area: Area) -> np.ndarray:
        """Return a part of a plane, without decoding the rest where its file allows that."""
        part = self._source.part(z, area)
        if part is not None:
            return self._rule(part, EVERYTHING, self._source.name(z))
        pixels = next(self._source.decode(range(z, z + 1)))
        _check_size(self._source, z, pixels.size, self.shape[1:])
        return self._rule(pixels, area, self._source.name(z))

    def read(self, roi: Roi) -> np.ndarray:
        """Return the voxels of `roi`, axes (z, y, x)."""
        stack = np.empty(roi.shape, self._dtype or np.uint8)
        for z, plane in enumerate(self.planes(roi)):
            if z == 0 and self._dtype is None:
                stack = np.empty(roi.shape, plane.dtype)
            stack[z] = take_class_of_first(plane, stack.dtype)
        return stack

    def blocks(self, limit: int) -> Iterator[tuple[Roi, np.ndarray]]:
        """Yield the whole volume, some planes at a time."""
        depth, height, width = self.shape
        planes = self.planes(Roi((0, 0, 0), self.shape))
        step = max(1, limit // (height * width * self.dtype.itemsize))
        for begin in range(0, depth, step):
            roi = Roi((begin, 0, 0), (min(begin + step, depth), height, width))
            yield roi, self._block(roi.shape, planes)

    def _block(self, shape: Coordinate, planes: Iterator[np.ndarray]) -> np.ndarray:
        """Return the next planes together; nothing here keeps them in memory while they are used."""
        block = np.empty(shape, self.dtype)
        for row, plane in zip(block, planes, strict=False):
            row[:] = take_class_of_first(plane, self.dtype)
        return block


def open_planes(source: PlaneSource, reading: Reading) -> Volume:
    """Make a volume of images, as `open_volume` describes it."""
    role = reading.role
    first = next(source.headers(range(1)))
    if reading.rules.octave_images:
        return ImageVolume(source, first.size, _exact_rule(reading.importer, in_folder=source.is_folder))
    _check_headers(source, list(source.headers(range(len(source)))), role)
    if role == "label":
        return LabelVolume(ImageVolume(source, first.size, label_plane, in_parts=True), source.path)
    if role == "segmentation":
        return ImageVolume(source, first.size, segmentation_plane, np.dtype(np.int64), in_parts=True)
    if role == "values":
        return ImageVolume(source, first.size, stored_plane, first.sample, in_parts=True)
    volume = ImageVolume(source, first.size, image_plane, gray_type(first.sample, source.name(0)), in_parts=True)
    if first.sample.kind == "f" and len(source) * math.prod(first.size) * first.sample.itemsize <= LOOKED_THROUGH:
        for z, pixels in enumerate(source.decode(range(len(source)))):
            demand_finite(pixels.values, source.name(z))
    if first.coloured:
        next(volume.planes(Roi((0, 0, 0), (1, *first.size))))
    return volume


def image_plane(pixels: Pixels, area: Area, name: str) -> np.ndarray:
    """Return the gray values of an image, never binarised; colours count only where red, green and blue are equal.

    Parameters
    ----------
    pixels : Pixels
    area : tuple of slice
        The (y, x) part to return.
    name : str
        Name of the image, for messages.

    Returns
    -------
    ndarray of uint8 or uint16, shape (y, x)
        Floating point is scaled from [0, 1] to 16 bits.

    Raises
    ------
    InputError
        When there is real colour, a value that is negative or no number, a floating-point value above 1, or a 32-bit
        integer.
    """
    values = pixels.values if pixels.palette is None else pixels.palette[pixels.values]
    samples = gray_values(_equal_channels(without_alpha(values), name), name)
    if pixels.min_is_white and pixels.palette is None:
        samples = np.iinfo(samples.dtype).max - samples
    return samples[area]


def stored_plane(pixels: Pixels, area: Area, name: str) -> np.ndarray:
    """Return the values of an image as they are stored, of any type; those of palettes by their colours.

    Returns
    -------
    ndarray of the file's type, shape (y, x)

    Raises
    ------
    InputError
        When there is real colour.
    """
    values = pixels.values if pixels.palette is None else pixels.palette[pixels.values]
    gray = _equal_channels(without_alpha(values), name)
    if pixels.min_is_white and pixels.palette is None and gray.dtype.kind == "u":
        gray = np.iinfo(gray.dtype).max - gray
    return gray[area]


def label_plane(pixels: Pixels, area: Area, name: str) -> np.ndarray:
    """Return the values of a label image as they are: palette indices, or gray values of any type.

    Where 0 is white, stored values of more than one bit count: masks of ImageJ with an inverting look-up table hold 255
    where the objects are.

    Returns
    -------
    ndarray of the file's type, shape (y, x)

    Raises
    ------
    InputError
        When there is real colour, or only the alpha channel tells pixels apart.
    """
    if pixels.palette is not None:
        return pixels.values[area]
    _refuse_mask_in_alpha(pixels.values, name)
    values = _equal_channels(without_alpha(pixels.values), name)
    if pixels.min_is_white:
        _say_once(
            f"{name}: 0 is white in these labels (an inverting look-up table); "
            + ("white is" if pixels.one_bit else "what is stored as other values than 0, and looks black, is")
            + " taken for foreground"
        )
        if pixels.one_bit:
            values = np.iinfo(values.dtype).max - values
    return values[area]


def _refuse_mask_in_alpha(values: np.ndarray, name: str) -> None:
    if values.ndim == 3 and values.shape[-1] in (2, 4):
        shown, alpha = values[..., :-1], values[..., -1]
        if (shown == shown[:1, :1]).all() and (alpha != alpha[:1, :1]).any():
            raise InputError(
                f"{name} holds its mask in the alpha channel, its gray values are all {shown.flat[0]}; expected labels "
                "as gray values. Save the alpha channel as an image of its own"
            )


@lru_cache(maxsize=64)
def _warn(source: str) -> None:
    logger.warning("Warning: %s", source)


def _say_once(words: str) -> None:
    """Warn once of what may hold for every plane of a volume."""
    _warn(words)


def segmentation_plane(pixels: Pixels, area: Area, name: str) -> np.ndarray:
    """Return the labels of a segmentation as they are: whole numbers, of whatever type.

    Returns
    -------
    ndarray of the file's type, shape (y, x)

    Raises
    ------
    InputError
        When there is real colour, or a value with a fraction.
    """
    return whole_numbers(label_plane(pixels, area, name), name)


def _exact_rule(importer: Importer, *, in_folder: bool) -> Rule:
    if importer == "imageimporter":
        return _imported_plane
    return _cropped_plane if in_folder else _plane_of_stack


def _imported_plane(pixels: Pixels, area: Area, name: str) -> np.ndarray:
    """Read as imageimporter.m: any colour is an error (defect 13)."""
    plane = imread(pixels.values, palette=pixels.palette, min_is_white=pixels.min_is_white)
    if plane.ndim > 2:
        raise InputError(f"{name} is in colour; the original trains on gray images only. Convert it to 8-bit gray")
    return plane[area]


def _cropped_plane(pixels: Pixels, area: Area, name: str) -> np.ndarray:
    """Read as imageimporter_large.m reads folders: cut with OpenCV, then imread(), then the first channel."""
    del name
    part = pixels.cropped(area)
    values = through_opencv(part.values, palette=part.palette)
    return first_channel(imread(values, min_is_white=part.min_is_white))


def _plane_of_stack(pixels: Pixels, area: Area, name: str) -> np.ndarray:
    """Read as imageimporter_large.m reads stack files: imread() of the whole plane, then the first channel."""
    del name
    return first_channel(imread(pixels.values, palette=pixels.palette, min_is_white=pixels.min_is_white))[area]


def _equal_channels(values: np.ndarray, name: str) -> np.ndarray:
    if values.ndim == 2:
        return values
    if (values[..., :1] != values).any():
        raise InputError(
            f"{name} is in colour (red, green and blue differ); expected gray images. "
            "Convert them to 8-bit gray, for example with ImageJ (Image > Type > 8-bit) or `mogrify -colorspace gray`"
        )
    return values[..., 0]


def _check_headers(source: PlaneSource, headers: Sequence[Header], role: Role) -> None:
    """Make sure that all planes have one size and, for images, one type; the odd one among them is named."""
    sizes = [header.size for header in headers]
    usual = _usual(sizes)
    for z, size in enumerate(sizes):
        _check_size(source, z, size, sizes[usual], like=usual)
    samples = [header.sample for header in headers]
    usual = _usual(samples)
    for z, sample in enumerate(samples if role in ("image", "values") else ()):
        _check_sample(source, z, sample, usual, samples[usual])


def _usual(values: Sequence[Hashable]) -> int:
    """Return the place of the first of the most frequent values."""
    return values.index(Counter(values).most_common(1)[0][0])


def _check_size(
    source: PlaneSource, z: int, size: tuple[int, ...], expected: tuple[int, ...], *, like: int = 0
) -> None:
    if tuple(size) != tuple(expected):
        raise InputError(
            f"{source.name(z)} is {size[1]} x {size[0]} pixels, {source.name(like)} is {expected[1]} x {expected[0]}; "
            "expected planes of one size. Remove it, or crop all images alike"
        )


def _check_sample(source: PlaneSource, z: int, sample: np.dtype, like: int, expected: np.dtype) -> None:
    if sample != expected:
        raise InputError(
            f"{source.name(z)} holds {sample} values, {source.name(like)} {expected}; expected one type. "
            "Convert all images alike"
        )
