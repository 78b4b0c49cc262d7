"""Accuracy counts what Caffe counts."""

from __future__ import annotations

import pytest
import torch

from cdeep3m.engines.embedded.net.layers.accuracy import Accuracy
from cdeep3m.engines.embedded.net.layers.base import Context
from cdeep3m.errors import InputError
from cdeep3m.proto.caffe_pb2 import AccuracyParameter, LayerParameter

SCORES = torch.tensor([[[[3.0, 1.0, 0.0, 2.0, 5.0]], [[1.0, 2.0, 0.0, 1.0, 6.0]]]])


def accuracy(label, *, tops=2, **settings):
    message = LayerParameter(
        name="a",
        type="Accuracy",
        bottom=["s", "l"],
        top=["a", "c"][:tops],
        accuracy_param=AccuracyParameter(**settings),
    )
    layer = Accuracy(message, [(1, 2, 1, 5), (1, 1, 1, 5)], Context())
    results = layer.forward(SCORES, torch.tensor(label, dtype=torch.float32).reshape(1, 1, 1, 5))
    assert [tuple(r.shape) for r in results] == list(layer.top_shapes())
    return [result.tolist() for result in results]


def test_overall_accuracy_and_the_recall_of_each_class():
    overall, recall = accuracy([0, 1, 1, 1, 0])
    assert overall == pytest.approx(3 / 5)
    assert recall == pytest.approx([1 / 2, 2 / 3])


def test_of_equal_scores_the_higher_class_wins():
    overall, recall = accuracy([0, 1, 0, 0, 1])
    assert overall == pytest.approx(4 / 5)
    assert recall == pytest.approx([2 / 3, 1])


def test_ignored_pixels_do_not_count():
    assert accuracy([0, 2, 2, 1, 2], ignore_label=2) == [pytest.approx(1 / 2), [1, 0]]


def test_a_class_without_pixels_has_recall_zero():
    assert accuracy([1, 1, 1, 1, 1])[1] == pytest.approx([0, 3 / 5])


def test_all_classes_are_among_the_best_two():
    assert accuracy([0, 1, 0, 1, 0], tops=1, top_k=2) == [1.0]


def test_unknown_labels_are_listed():
    with pytest.raises(InputError, match="expected labels 0, 1; found 2"):
        accuracy([0, 1, 2, 0, 1])
