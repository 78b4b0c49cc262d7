"""Tell which of the nets 1fm, 3fm and 5fm some weights belong to, and how compact that net is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from cdeep3m.nets.binning import BIN, BIN_SMOOTHLY
from cdeep3m.nets.inception import CLASSES
from cdeep3m.nets.prototxts import BINNINGS, NETS, deploy, train_val
from cdeep3m.nets.shapes import blob_shapes, shape_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cdeep3m.nets.shapes import Shape


SCORES = "conv_deconv5_16x"
"""A layer of every net with an output for each class."""


@dataclass(frozen=True)
class Fit:
    """How well weights fit one of the nets.

    Attributes
    ----------
    net : str
        The net that they fit, or come nearest to.
    width : int
        Divisor of its numbers of channels, as `--width` takes it.
    problems : tuple of str
        What does not fit; empty where everything does.
    classes : int
        How many the net tells apart.
    least : int
        Channels that the divisor left at least, as `--least_channels` takes it.
    binning : int
        As `--binning` takes it.
    """

    net: str
    width: int
    problems: tuple[str, ...] = ()
    classes: int = CLASSES
    least: int = CLASSES
    binning: int = 1

    def __bool__(self) -> bool:
        return not self.problems

    @property
    def shapes(self) -> dict[str, list[Shape]]:
        """Shapes of the blobs of every layer of this net that has any when it trains, in order."""
        return expected_shapes(self.net, self.width, self.classes, self.least, self.binning)


def fit_of_layers(shapes: Mapping[str, Sequence[Shape]]) -> Fit | None:
    """Return the net that weights fit best.

    Parameters
    ----------
    shapes : mapping of str to sequence of tuple of int
        Shapes of the blobs of every layer that has any. Further layers are ignored, as Caffe ignores them.

    Returns
    -------
    Fit or None
        None where none of the nets' layers is there.

    Examples
    --------
    >>> shapes = {name: blobs for name, blobs in blob_shapes(deploy("3fm", width=4)).items() if blobs}
    >>> fit_of_layers(shapes)
    Fit(net='3fm', width=4, problems=(), classes=2, least=2, binning=1)
    """
    classes = shapes[SCORES][0][0] if shapes.get(SCORES) and shapes[SCORES][0] else CLASSES
    firsts = [shape[0] for blobs in shapes.values() for shape in blobs if shape]
    binning = 2 if shapes.keys() & {BIN, BIN_SMOOTHLY} else 1
    fits = [
        Fit(net, width, tuple(_problems(shapes, expected_shapes(net, width, classes, least))), classes, least, binning)
        for net in NETS
        if shapes.keys() & expected_shapes(net, 1).keys()
        for width, least in _makes(firsts, classes)
    ]
    return min(fits, key=lambda fit: len(fit.problems), default=None)


def fit_of_history(shapes: Sequence[Shape]) -> Fit | None:
    """Return the net of two classes whose training wrote a solver state with a history of `shapes`, or None.

    Adam and AdaDelta keep two blobs for each one of the net.
    """
    found = [without_leading_ones(shape) for shape in shapes]
    makes = _makes([shape[0] for shape in shapes if shape], CLASSES)
    for net, (width, least), binning in product(NETS, makes, BINNINGS):
        expected = [
            without_leading_ones(shape)
            for blobs in expected_shapes(net, width, least=least, binning=binning).values()
            for shape in blobs
        ]
        if found in (expected, 2 * expected):
            return Fit(net, width, least=least, binning=binning)
    return None


@lru_cache(maxsize=512)
def expected_shapes(
    net: str, width: int, classes: int = CLASSES, least: int = CLASSES, binning: int = 1
) -> dict[str, list[Shape]]:
    """Return the shapes of the blobs of every layer of `net` that has any when it trains, in order."""
    made = train_val(net, width=width, least=least, classes=classes, binning=binning)
    return {name: blobs for name, blobs in blob_shapes(made).items() if blobs}


def without_leading_ones(shape: Shape) -> Shape:
    """Return `shape` without leading ones, which old files add (they write a vector as 1 x 1 x 1 x n).

    >>> without_leading_ones((1, 1, 1, 5))
    (5,)
    """
    first = next((i for i, side in enumerate(shape) if side != 1), len(shape))
    return tuple(shape[first:])


def _makes(firsts: Sequence[int], classes: int) -> list[tuple[int, int]]:
    """Return the pairs of `--width` and `--least_channels` that nets may have been made with, the plainest first.

    Parameters
    ----------
    firsts : sequence of int
        The first side of each blob: of most, how many channels their layer makes.
    """
    widest = max(firsts, default=0)
    narrowest = min((side for side in firsts if side > max(CLASSES, classes)), default=CLASSES)
    return [(width, least) for least in sorted({CLASSES, narrowest}) for width in _widths(widest)]


def _widths(widest: int) -> list[int]:
    """Return the divisors that make the widest layer of the nets `widest` channels wide, one for each make of nets.

    1, where no divisor does.
    """
    channels = _channels()
    makes: dict[tuple[int, ...], int] = {}
    for width in range(1, max(channels) // CLASSES + 1):
        narrowed = tuple(max(CLASSES, number // width) for number in channels)
        if max(narrowed) == widest:
            makes.setdefault(narrowed, width)
    return list(makes.values()) or [1]


@lru_cache(maxsize=1)
def _channels() -> list[int]:
    """Return the numbers of channels that occur in the nets and that `--width` divides."""
    numbers = {layer.convolution_param.num_output for net in NETS for layer in deploy(net).layer}
    return sorted(number for number in numbers if number > CLASSES)


def _problems(found: Mapping[str, Sequence[Shape]], expected: Mapping[str, Sequence[Shape]]) -> Iterator[str]:
    for name, blobs in expected.items():
        if name not in found:
            yield f"layer {name} is missing"
        elif [without_leading_ones(shape) for shape in found[name]] != [without_leading_ones(shape) for shape in blobs]:
            yield f"layer {name} has blobs {_list(found[name])}, expected {_list(blobs)}"


def _list(shapes: Sequence[Shape]) -> str:
    return ", ".join(map(shape_text, shapes)) or "none"
