"""Losses that Caffe does not have: weighted, focal and smoothed cross-entropy, and soft Dice.

Everything here is a function of the scores that autograd differentiates; nothing asks the device for a number.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from cdeep3m.engines.learning import Loss

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST_MISS = 1e-12
"""1 - probability counts as no less in the focal factor, whose slope would be endless at 0 for exponents below 1."""

DICE_OFFSET = 1.0
"""Added to both parts of the Dice quotient, so that a class that a batch lacks has a slope, too."""


def is_caffes(loss: Loss | None) -> bool:
    """Return whether a SoftmaxWithLoss of Caffe minimises this loss, whichever voxels it leaves out.

    Examples
    --------
    >>> is_caffes(None), is_caffes(Loss(ignore=7, auxiliary=0)), is_caffes(Loss(class_weights="equal"))
    (True, True, False)
    """
    return loss is None or replace(loss, ignore=None, auxiliary=None) == Loss()


def total(
    scores: torch.Tensor,
    label: torch.Tensor,
    valid: torch.Tensor,
    loss: Loss,
    *,
    weights: torch.Tensor,
    divisor: torch.Tensor | float,
) -> torch.Tensor:
    """Return the weighted sum of cross-entropy and Dice loss.

    Parameters
    ----------
    scores : torch.Tensor of float32 or float64, shape (n, classes, ...)
    label : torch.Tensor of int64, shape (n, ...)
        A class for every pixel, any one where it is not valid.
    valid : torch.Tensor of bool, shape (n, ...)
        Pixels that count.
    loss : Loss
        Factors of the terms, focal exponent and smoothing.
    weights : torch.Tensor, shape (n, ...)
        Weight of each pixel in the cross-entropy, 0 where it is not valid.
    divisor : torch.Tensor, shape (), or float
        What the sum of the cross-entropy over the pixels is divided by.

    Returns
    -------
    torch.Tensor, shape ()
    """
    log_probability = torch.log_softmax(scores, dim=1)
    terms = []
    if loss.cross_entropy:
        misses = cross_entropy(log_probability, label, focal=loss.focal, smoothing=loss.smoothing)
        terms.append(loss.cross_entropy * (misses * weights).sum() / divisor)
    if loss.dice:
        terms.append(loss.dice * dice_loss(log_probability.exp(), label, valid))
    return sum(terms[1:], terms[0])


def cross_entropy(
    log_probability: torch.Tensor, label: torch.Tensor, *, focal: float = 0.0, smoothing: float = 0.0
) -> torch.Tensor:
    """Return the cross-entropy of every pixel with its label.

    Parameters
    ----------
    log_probability : torch.Tensor, shape (n, classes, ...)
    label : torch.Tensor of int64, shape (n, ...)
    focal : float
        Exponent of (1 - probability), the factor of each class's logarithm (Lin et al. 2017).
    smoothing : float
        Share of the target that is spread evenly over all classes (Szegedy et al. 2016).

    Returns
    -------
    torch.Tensor, shape (n, ...)
    """
    terms = -log_probability
    if focal:
        terms = terms * (1 - log_probability.exp()).clamp_min(SMALLEST_MISS) ** focal
    chosen = terms.gather(1, label.unsqueeze(1)).squeeze(1)
    return (1 - smoothing) * chosen + smoothing * terms.mean(dim=1) if smoothing else chosen


def dice_loss(probability: torch.Tensor, label: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return 1 minus the soft Dice coefficient of the whole batch, the mean over the classes beyond background.

    Parameters
    ----------
    probability : torch.Tensor, shape (n, classes, ...)
    label : torch.Tensor of int64, shape (n, ...)
    valid : torch.Tensor of bool, shape (n, ...)

    Returns
    -------
    torch.Tensor, shape ()
        In [0, 1]; sums of squares do not occur, as in Drozdzal et al. 2016.
    """
    classes = torch.arange(probability.shape[1], device=label.device).view(-1, *[1] * (label.dim() - 1))
    counted = valid.unsqueeze(1).to(probability.dtype)
    truth = (label.unsqueeze(1) == classes).to(probability.dtype) * counted
    found = probability * counted
    axes = [0, *range(2, probability.dim())]
    both, all_of_both = (found * truth).sum(axes), (found + truth).sum(axes)
    coefficients = (2 * both + DICE_OFFSET) / (all_of_both + DICE_OFFSET)
    return 1 - coefficients[1:].mean()


def inverse_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Return class weights by how common the classes are: 1 / share, scaled so that a voxel weighs 1 on average.

    Examples
    --------
    >>> inverse_shares([0.75, 0.25]), inverse_shares([0.5, 0.5, 0.0])
    ((0.6666666666666666, 2.0), (1.0, 1.0, 0.0))
    """
    found = sum(share > 0 for share in shares)
    return tuple(1 / (share * found) if share else 0.0 for share in shares)
