"""Losses beyond Caffe: their values by hand, their slopes by differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from cdeep3m.engines.embedded.net.layers.base import Context
from cdeep3m.engines.embedded.net.layers.losses import cross_entropy, dice_loss, total
from cdeep3m.engines.embedded.net.layers.softmax_with_loss import SoftmaxWithLoss
from cdeep3m.engines.learning import Loss
from cdeep3m.errors import InputError
from cdeep3m.proto.caffe_pb2 import TEST, TRAIN, LayerParameter, LossParameter

SCORES = torch.tensor(
    [[[[0.0, 1.0, -2.0, 0.5]], [[0.5, -1.0, 3.0, 0.25]], [[1.0, 0.0, -1.0, 2.0]]]], dtype=torch.float64
)
LABEL = torch.tensor([[[0, 2, 1, 1]]])
VALID = torch.tensor([[[True, True, False, True]]])
WEIGHTS = torch.tensor([[[0.5, 2.0, 0.0, 1.0]]], dtype=torch.float64)
LOSSES = {
    "weighted": Loss(class_weights="equal"),
    "focal": Loss(focal=2),
    "steep focal": Loss(focal=0.5),
    "smoothed": Loss(smoothing=0.25),
    "both": Loss(focal=1.5, smoothing=0.25),
    "dice": Loss(cross_entropy=0, dice=1),
    "all": Loss(cross_entropy=0.5, dice=2, focal=1, smoothing=0.125),
}


def by_hand(loss: Loss) -> float:
    """Return the loss of `SCORES`, pixel by pixel."""
    scores, label = SCORES[0, :, 0].numpy(), LABEL[0, 0].numpy()
    probability = np.exp(scores) / np.exp(scores).sum(axis=0)
    entropy = 0.0
    for pixel, weight in enumerate(WEIGHTS[0, 0].numpy()):
        for c in range(3):
            target = (1 - loss.smoothing) * (label[pixel] == c) + loss.smoothing / 3
            p = probability[c, pixel]
            entropy -= weight * target * (1 - p) ** loss.focal * np.log(p)
    coefficients = []
    for c in (1, 2):
        both = sum(probability[c, i] for i in (0, 1, 3) if label[i] == c)
        all_of_both = sum(probability[c, i] + (label[i] == c) for i in (0, 1, 3))
        coefficients.append((2 * both + 1) / (all_of_both + 1))
    return loss.cross_entropy * entropy / 3.5 + loss.dice * (1 - np.mean(coefficients))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_values_are_those_of_the_formulas(loss):
    found = total(SCORES, LABEL, VALID, loss, weights=WEIGHTS, divisor=3.5)
    assert found.item() == pytest.approx(by_hand(loss), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_slopes_are_those_of_the_values(loss):
    scores = SCORES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: total(s, LABEL, VALID, loss, weights=WEIGHTS, divisor=3.5), scores)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_pixels_that_do_not_count_have_no_slope(loss):
    scores = SCORES.clone().requires_grad_()
    total(scores, LABEL, VALID, loss, weights=WEIGHTS, divisor=3.5).backward()
    assert (scores.grad[..., 2] == 0).all()
    assert (scores.grad[..., [0, 1, 3]] != 0).any(dim=1).all()


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_a_certain_pixel_has_a_finite_slope_at_any_focal_exponent(exponent):
    scores = torch.tensor([[[200.0], [0.0]]], requires_grad=True)
    cross_entropy(torch.log_softmax(scores, 1), torch.tensor([[0]]), focal=exponent).sum().backward()
    assert torch.isfinite(scores.grad).all()


def test_dice_is_0_for_what_is_right_and_grows_with_what_is_wrong():
    label, valid = torch.tensor([[0, 1, 1, 0]]), torch.ones(1, 4, dtype=torch.bool)
    right = torch.tensor([[[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]])
    assert dice_loss(right, label, valid).item() == 0
    assert dice_loss(1 - right, label, valid).item() == pytest.approx(1 - 1 / 5)


def layer(loss: Loss | None, *, phase=TRAIN, **settings) -> SoftmaxWithLoss:
    message = LayerParameter(name="loss", type="SoftmaxWithLoss", bottom=["s", "l"], top=["t", "p"], **settings)
    return SoftmaxWithLoss(message, [(1, 3, 1, 4), (1, 1, 1, 4)], Context(phase=phase, sources={"loss": loss}))


def run(made: SoftmaxWithLoss, *labels: int) -> tuple[float, torch.Tensor]:
    scores = SCORES.float().requires_grad_()
    value = made.forward(scores, torch.tensor(labels, dtype=torch.float32).reshape(1, 1, 1, 4))[0]
    value.backward()
    return value.item(), scores.grad


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_a_loss_of_defaults_is_caffes_to_the_last_bit(phase):
    plain, ours = run(layer(None, phase=phase), 0, 2, 1, 1), run(layer(Loss(), phase=phase), 0, 2, 1, 1)
    assert plain[0] == ours[0]
    assert torch.equal(plain[1], ours[1])


def test_a_label_that_is_ignored_counts_as_caffes_own_does():
    caffes = layer(None, loss_param=LossParameter(ignore_label=7))
    value, slope = run(caffes, 0, 7, 1, 1)
    for made in (layer(Loss(ignore=7)), layer(Loss(ignore=7), loss_param=LossParameter(ignore_label=255))):
        found = run(made, 0, 7, 1, 1)
        assert found[0] == value
        assert torch.equal(found[1], slope)


def test_two_labels_may_be_ignored():
    made = layer(Loss(ignore=7), loss_param=LossParameter(ignore_label=255))
    _, slope = run(made, 0, 7, 255, 1)
    assert (slope != 0).any(dim=1).reshape(-1).tolist() == [True, False, False, True]


def test_a_loss_beside_cross_entropy_keeps_caffes_balance_of_classes():
    balanced, own = (run(layer(loss), 0, 0, 1, 2)[1] for loss in (None, Loss(cross_entropy=1, dice=1)))
    only_dice = run(layer(Loss(cross_entropy=0, dice=1)), 0, 0, 1, 2)[1]
    assert_close(own, balanced + only_dice)


def test_given_weights_count_in_proportion():
    scores = torch.log_softmax(SCORES.float(), 1)[0, :, 0]
    value, _ = run(layer(Loss(class_weights=(1.0, 2.0, 5.0))), 0, 2, 1, 1)
    terms = [weight * -scores[c, i].item() for i, (c, weight) in enumerate([(0, 1.0), (2, 5.0), (1, 2.0), (1, 2.0)])]
    assert value == pytest.approx(sum(terms) / 10)


def test_weights_by_frequency_are_the_inverse_of_the_shares():
    made = layer(Loss(class_weights="frequency"))
    made.weigh([0.5, 0.25, 0.25])
    assert run(made, 0, 2, 1, 1)[0] == pytest.approx(run(layer(Loss(class_weights=(1.0, 2.0, 2.0))), 0, 2, 1, 1)[0])


def test_tests_report_the_plain_mean_whatever_is_minimised():
    assert run(layer(Loss(dice=1, class_weights="equal"), phase=TEST), 0, 2, 1, 1)[0] == run(layer(None), 0, 2, 1, 1)[0]


def test_a_batch_without_a_voxel_that_counts_has_no_loss_and_no_slope():
    for loss in (Loss(ignore=7), Loss(ignore=7, class_weights="equal"), Loss(ignore=7, focal=1)):
        value, slope = run(layer(loss), 7, 7, 7, 7)
        assert value == 0
        assert (slope == 0).all()


def test_weights_for_other_classes_are_refused():
    with pytest.raises(InputError, match="class weights 1.0, 5.0; expected one for each of the net's 3 classes"):
        layer(Loss(class_weights=(1.0, 5.0)))


def test_the_probabilities_are_a_top_as_ever():
    made = layer(replace(Loss(), dice=1))
    assert_close(
        made.forward(SCORES.float(), LABEL.float().reshape(1, 1, 1, 4))[1], torch.softmax(SCORES.float(), dim=1)
    )
