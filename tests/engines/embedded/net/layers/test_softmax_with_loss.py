"""The loss is a plain mean; its gradient is balanced between the classes."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from torch.testing import assert_close

from cdeep3m.engines.embedded.net.layers.base import Context
from cdeep3m.engines.embedded.net.layers.softmax_with_loss import SoftmaxWithLoss
from cdeep3m.errors import InputError, NetError
from cdeep3m.proto.caffe_pb2 import TEST, TRAIN, LayerParameter, LossParameter
from cdeep3m.rules import CORRECTED, ORIGINAL

SCORES = [[[[0.0, 1.0, -2.0, 0.5]], [[0.5, -1.0, 3.0, 0.25]]]]


def layer(*, phase=TRAIN, rules=CORRECTED, classes=2, pixels=4, tops=1, **settings) -> SoftmaxWithLoss:
    message = LayerParameter(name="loss", type="SoftmaxWithLoss", bottom=["s", "l"], top=["t", "p"][:tops], **settings)
    context = Context(phase=phase, sources={"needs_background": rules.stops_without_background})
    return SoftmaxWithLoss(message, [(1, classes, 1, pixels), (1, 1, 1, pixels)], context)


def labels(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, -1)


def gradient_of(made: SoftmaxWithLoss, label: torch.Tensor, weight: float = 1.0) -> torch.Tensor:
    scores = torch.tensor(SCORES, requires_grad=True)
    (made.forward(scores, label)[0] * weight).backward()
    return scores.grad


def balanced(label: torch.Tensor, weights: list[float]) -> torch.Tensor:
    probability = torch.softmax(torch.tensor(SCORES), dim=1)
    one_hot = torch.nn.functional.one_hot(label.long()[:, 0], 2).movedim(-1, 1)
    return torch.tensor(weights)[label.long()] * (probability - one_hot) / label.numel()


def test_the_reported_loss_is_the_unweighted_mean():
    loss, probability = layer(tops=2).forward(torch.tensor(SCORES), labels(0, 0, 0, 1))
    expected = torch.nn.functional.cross_entropy(torch.tensor(SCORES), labels(0, 0, 0, 1).long()[:, 0])
    assert_close(loss, expected)
    assert_close(probability, torch.softmax(torch.tensor(SCORES), dim=1))


@pytest.mark.parametrize(
    ("label", "weights"),
    [
        (labels(0, 0, 0, 1), [1 / 3, 1.0]),
        (labels(0, 1, 1, 1), [1.0, 1 / 3]),
        (labels(0, 1, 1, 0), [1.0, 1.0]),
        (labels(0, 0, 0, 0), [1.0, 0.0]),
    ],
)
def test_the_gradient_has_the_weight_of_the_rarest_class(label, weights):
    assert_close(gradient_of(layer(), label), balanced(label, weights))


def test_the_gradient_is_scaled_by_the_loss_weight():
    label = labels(0, 0, 1, 1)
    assert_close(gradient_of(layer(), label, weight=0.25), balanced(label, [0.25, 0.25]))


@pytest.mark.correction(20, "corrected")
def test_a_batch_without_background_goes_on_with_one_warning(caplog):
    made, label = layer(), labels(1, 1, 1, 1)
    with caplog.at_level(logging.WARNING):
        gradient = gradient_of(made, label)
        gradient_of(made, label)
    assert_close(gradient, balanced(label, [0.0, 1.0]))
    assert [record.getMessage() for record in caplog.records] == [
        "layer loss: a training batch without any background voxel; its background weight is 0"
    ]


@pytest.mark.correction(20, "exact")
def test_a_batch_without_background_stops_exact_mode():
    with pytest.raises(InputError, match="the original stops here"):
        layer(rules=ORIGINAL).forward(torch.tensor(SCORES), labels(1, 1, 1, 1))


def test_a_test_batch_without_background_is_nothing_special():
    layer(rules=ORIGINAL, phase=TEST).forward(torch.tensor(SCORES), labels(1, 1, 1, 1))


def test_without_auto_balance_every_pixel_counts_the_same():
    made = layer(label_select_param={"auto_balance": False})
    assert_close(gradient_of(made, labels(0, 0, 0, 1)), balanced(labels(0, 0, 0, 1), [1.0, 1.0]))


def test_ignored_pixels_count_nowhere():
    made = layer(loss_param=LossParameter(ignore_label=7))
    scores = torch.tensor(SCORES, requires_grad=True)
    loss = made.forward(scores, labels(0, 7, 1, 7))[0]
    loss.backward()
    kept = torch.tensor(SCORES)[..., [0, 2]]
    assert_close(loss.detach(), torch.nn.functional.cross_entropy(kept, torch.tensor([[[0, 1]]])))
    assert (scores.grad[..., [1, 3]] == 0).all()
    assert (scores.grad[..., [0, 2]] != 0).all()


@pytest.mark.parametrize(
    ("settings", "divisor"),
    [
        (LossParameter(normalization="FULL", ignore_label=7), 4),
        (LossParameter(normalization="BATCH_SIZE"), 1),
        (LossParameter(normalization="NONE"), 1),
        (LossParameter(normalize=False), 1),
        (LossParameter(normalize=True), 4),
    ],
)
def test_losses_are_divided_as_asked_for(settings, divisor):
    loss = layer(loss_param=settings).forward(torch.zeros(1, 2, 1, 4), labels(0, 1, 1, 1))[0]
    assert float(loss) == pytest.approx(4 * math.log(2) / divisor)


def test_the_loss_of_a_hopeless_pixel_is_finite():
    scores = torch.tensor([[[[300.0]], [[0.0]]]], requires_grad=True)
    loss = layer(pixels=1).forward(scores, labels(1))[0]
    assert loss.item() == pytest.approx(-math.log(torch.finfo(torch.float32).tiny))


def test_the_farthest_of_unknown_labels_are_told():
    with pytest.raises(InputError, match="expected labels 0, 1; found 255"):
        layer().forward(torch.tensor(SCORES), labels(0, 3, 255, 0))


def test_scores_and_labels_must_fit():
    message = LayerParameter(name="loss", type="SoftmaxWithLoss", bottom=["s", "l"], top=["t"])
    with pytest.raises(NetError, match="layer loss"):
        SoftmaxWithLoss(message, [(1, 2, 4, 4), (1, 1, 4, 5)], Context())
