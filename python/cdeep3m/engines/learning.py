"""How a training may learn beyond what a solver.prototxt can say; the defaults are what Caffe does, to the letter."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from cdeep3m.errors import InputError

ClassWeights = tuple[float, ...] | Literal["frequency", "equal"] | None
"""Weights of the classes: given, by the inverse of how common each is, none, or as the net says."""

Shape = Literal["caffe", "cosine", "linear"]
"""How the rate falls: by the solver's lr_policy, along half a cosine, or along a line."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a training minimises: a sum of cross-entropy and soft Dice.

    Attributes
    ----------
    cross_entropy, dice : float
        Factors of the two terms.
    focal : float
        Exponent (gamma) with which the cross-entropy counts voxels less the better they are predicted (Lin et al.
        2017); 0 counts all the same.
    smoothing : float
        Share of the target that is spread over all classes, in [0, 1).
    class_weights : tuple of float, "frequency", "equal" or None
        Weight of each class in the cross-entropy: numbers; the inverse of its share of the training's labels; 1 for
        each; or None, as the net says (DeepEM3D's nets balance the classes of every batch).
    ignore : int, optional
        Label of voxels that do not count.
    auxiliary : float, optional
        Factor of the weights of all losses of the net but its last one (deep supervision); 0 trains on the last alone,
        None leaves them as the net says.

    Raises
    ------
    InputError
        A value out of range.
    """

    cross_entropy: float = 1.0
    dice: float = 0.0
    focal: float = 0.0
    smoothing: float = 0.0
    class_weights: ClassWeights = None
    ignore: int | None = None
    auxiliary: float | None = None

    def __post_init__(self) -> None:
        for name in ("cross_entropy", "dice", "focal"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "a number of at least 0")
        terms = self.cross_entropy + self.dice
        _require(terms > 0, "cross_entropy + dice", terms, "a number above 0")
        _require(0 <= self.smoothing < 1, "smoothing", self.smoothing, "a number in [0, 1)")
        _require(self.auxiliary is None or self.auxiliary >= 0, "auxiliary", self.auxiliary, "a number of at least 0")
        if isinstance(self.class_weights, tuple):
            fit = all(weight >= 0 for weight in self.class_weights) and any(self.class_weights)
            _require(fit, "class_weights", self.class_weights, "numbers of at least 0, and one above 0")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate rises and falls.

    Attributes
    ----------
    shape : {"caffe", "cosine", "linear"}
        As the solver's lr_policy says; or from base_lr down to `floor` at max_iter, along half a cosine or a line.
    warm_up : float
        Iterations over which the rate rises in equal steps to what it would be; below 1, that part of all iterations.
    floor : float
        Share of base_lr that a cosine or a line ends at, in [0, 1].

    Raises
    ------
    InputError
        A value out of range.
    """

    shape: Shape = "caffe"
    warm_up: float = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        _require(self.shape in ("caffe", "cosine", "linear"), "schedule", self.shape, "caffe, cosine or linear")
        _require(self.warm_up >= 0, "warm_up", self.warm_up, "a number of at least 0")
        _require(0 <= self.floor <= 1, "floor", self.floor, "a number in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How training patches are drawn.

    Attributes
    ----------
    rare : float
        Share of the patches that are drawn around voxels of the foreground, in [0, 1]; 0 draws as Caffe does.
    workers : int
        Threads that cut out patches.

    Raises
    ------
    InputError
        A value out of range.
    """

    rare: float = 0.0
    workers: int = 1

    def __post_init__(self) -> None:
        _require(0 <= self.rare <= 1, "rare", self.rare, "a number in [0, 1]")
        _require(self.workers >= 1, "workers", self.workers, "a number of at least 1")


@dataclass(frozen=True, kw_only=True)
class Learning:
    """All of it.

    Attributes
    ----------
    loss : Loss
        What is minimised.
    schedule : Schedule
        How the rate rises and falls.
    sampling : Sampling
        How patches are drawn.
    decay : float
        Weight decay that is kept apart from the gradients (AdamW, Loshchilov and Hutter 2019): every update takes this
        share, times the rate, off each weight.
    average : float
        Share of itself that a running average of the weights keeps at every update, in [0, 1); snapshots then hold
        the average. 0 keeps none.

    Raises
    ------
    InputError
        A value out of range.
    """

    loss: Loss = field(default_factory=Loss)
    schedule: Schedule = field(default_factory=Schedule)
    sampling: Sampling = field(default_factory=Sampling)
    decay: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        _require(self.decay >= 0, "decay", self.decay, "a number of at least 0")
        _require(0 <= self.average < 1, "average", self.average, "a number in [0, 1)")

    @property
    def beyond_caffe(self) -> tuple[str, ...]:
        """Names of the parts that differ from Caffe's; empty where a training is to the letter Caffe's.

        Examples
        --------
        >>> Learning().beyond_caffe, Learning(loss=Loss(dice=1), average=0.99).beyond_caffe
        ((), ('loss', 'average'))
        """
        return tuple(_changed(self, Learning()))

    @property
    def words(self) -> str:
        """What differs from Caffe's, for records and messages.

        Examples
        --------
        >>> Learning(loss=Loss(dice=0.5, class_weights=(1.0, 2.0)), decay=0.01).words
        'dice 0.5, class_weights (1.0, 2.0), decay 0.01'
        """
        parts: dict[str, Any] = {}
        for name, value in _changed(self, Learning()).items():
            parts |= _changed(value, getattr(Learning(), name)) if is_dataclass(value) else {name: value}
        return ", ".join(f"{name} {value}" for name, value in parts.items())


TERMS = {"ce": ("cross_entropy", 1.0), "dice": ("dice", 1.0), "focal": ("focal", 2.0), "smoothing": ("smoothing", 0.1)}
"""How `loss_of` calls the parts of a loss, and what each is where no number is given."""


def loss_of(text: str) -> Loss:
    """Return the loss that a list of terms describes, as in ce,dice or focal=1,dice=0.5,smoothing=0.1.

    Terms that `text` does not name are 0, but for the cross-entropy where focal or smoothing change it.

    Raises
    ------
    InputError
        A term is not known, or its number is out of range.

    Examples
    --------
    >>> loss_of("dice=2"), loss_of("focal")  # doctest: +ELLIPSIS
    (Loss(cross_entropy=0.0, dice=2.0, ...), Loss(cross_entropy=1.0, dice=0.0, focal=2.0, ...))
    """
    given: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if name not in TERMS:
            raise InputError(f"--loss {text}: expected a list of {', '.join(TERMS)}, as in ce,dice=0.5, found {part!r}")
        field_name, usual = TERMS[name]
        try:
            given[field_name] = float(value) if equals else usual
        except ValueError:
            raise InputError(f"--loss {text}: expected a number, as in {name}={usual:g}, found {part!r}") from None
    changes_cross_entropy = bool({"focal", "smoothing"} & given.keys())
    return Loss(**{"cross_entropy": float(changes_cross_entropy), **given})


def class_weights_of(text: str) -> ClassWeights:
    """Return the weights of the classes that an option describes: frequency, equal, batch, or numbers as in 1,5.

    Raises
    ------
    InputError
        It is none of these.

    Examples
    --------
    >>> class_weights_of("1,5"), class_weights_of("frequency"), class_weights_of("batch")
    ((1.0, 5.0), 'frequency', None)
    """
    if text == "batch":
        return None
    if text == "frequency":
        return "frequency"
    if text == "equal":
        return "equal"
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"--class-weights {text}: expected batch, frequency, equal, or a number for each class, as in 1,5"
        ) from None


def _changed(value: Any, usual: Any) -> dict[str, Any]:
    """Return the fields of `value`, a dataclass, that are not as in `usual`."""
    names = (each.name for each in fields(value))
    return {name: getattr(value, name) for name in names if getattr(value, name) != getattr(usual, name)}


def _require(holds: bool, name: str, found: object, expected: str) -> None:
    if not holds:
        raise InputError(f"{name} {found}: expected {expected}")
