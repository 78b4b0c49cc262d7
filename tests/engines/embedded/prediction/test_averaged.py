"""Variants, their mean and its rounding where the net runs: the very numbers of the plain way."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from cdeep3m.matlab_ports.merge_16_probs import to_uint16
from numpy.testing import assert_array_equal

from cdeep3m.engines import averages
from cdeep3m.engines.base import CPU
from cdeep3m.engines.embedded.engine import EmbeddedEngine, load_libraries
from cdeep3m.engines.embedded.fast.prediction_net import FusedNet
from cdeep3m.engines.embedded.prediction import predictor as predictors
from cdeep3m.engines.embedded.prediction import turning
from cdeep3m.engines.embedded.prediction.batches import MOST_WINDOWS, BatchSize
from cdeep3m.errors import EngineError, StoppedError
from cdeep3m.nets import prototxts
from cdeep3m.tiling.variants import VARIANTS, variants_for
from random_nets import random_net, write_model


def model(net, folder, width=16):
    return write_model(random_net(prototxts.deploy(net, width=width, sides=(32, 32))), folder, net)


def windows(frames, count, shape=(32, 32), dtype=np.uint8):
    largest = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 255
    return list(np.random.default_rng(0).integers(0, largest, (count, frames, *shape)).astype(dtype))


def plainly(net, given, variants):
    return np.stack(list(averages.averaged(net.foreground, given, variants)))


@pytest.mark.parametrize(("net", "speed"), [("1fm", 1), ("1fm", 2), ("3fm", 1), ("5fm", 4), ("5fm", 10)])
@pytest.mark.parametrize("gpu", [CPU, pytest.param(0, marks=pytest.mark.gpu)])
def test_means_are_bit_equal_to_those_of_single_predictions(net, speed, gpu, tmp_path):
    loaded, variants = EmbeddedEngine().load(model(net, tmp_path), gpu=gpu), variants_for(net, speed)
    given = windows(loaded.frames, 1)  # of several, the plain way may put variants into one batch
    found = np.stack(list(loaded.averaged(given, variants)))
    assert found.dtype == np.uint16
    assert_array_equal(found, plainly(loaded, given, variants))
    assert len(np.unique(found)) > 10


def test_means_come_unrounded_where_they_are_asked_for(tmp_path):
    loaded, given = EmbeddedEngine().load(model("3fm", tmp_path)), windows(3, 2)
    found = list(loaded.averaged(given, VARIANTS, unrounded=True))
    assert found[0].dtype == np.float64
    assert_array_equal(found, list(averages.averaged(loaded.foreground, given, VARIANTS, unrounded=True)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_oblong_windows_of_any_type_come_back_upright(dtype, tmp_path):
    loaded = EmbeddedEngine().load(model("3fm", tmp_path))
    given = windows(3, 1, (32, 48), dtype)
    (found,) = loaded.averaged([given[0][:, ::-1]], VARIANTS)
    assert found.shape == (32, 48)
    assert_array_equal(found, plainly(loaded, [given[0][:, ::-1]], VARIANTS)[0])


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.index)
def test_variants_are_applied_and_undone_as_numpy_does(variant):
    stack = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    turned = turning.apply(variant, torch.from_numpy(stack))
    assert_array_equal(turned.numpy(), variant.apply(stack))
    assert_array_equal(turning.undo(variant, turned[0]).numpy(), variant.undo(variant.apply(stack)[:1])[0])


def test_means_are_rounded_as_the_original_does():
    halves = (np.arange(65536) + 0.5) * 65537 / (2**32 - 1)
    odd = [0.0, 1.0, 1.5, -1.0, np.nan, np.inf, 0.5, np.nextafter(0.5, 1)]
    mean = np.concatenate([halves, np.random.default_rng(0).random(10_000), odd])
    found = turning.to_png16(torch.from_numpy(mean)).numpy().view(np.uint16)
    assert_array_equal(found, to_uint16(mean))


def test_a_request_to_stop_is_seen_before_every_batch(tmp_path):
    loaded, asked = EmbeddedEngine().load(model("1fm", tmp_path)), []

    def ask():
        asked.append(True)
        if len(asked) == 4:
            raise StoppedError("KILL.REQUEST found")

    means = loaded.averaged(windows(1, 5), VARIANTS, before_batch=ask)
    next(means)
    assert len(asked) == len(VARIANTS) / MOST_WINDOWS
    with pytest.raises(StoppedError):
        list(means)


@pytest.fixture
def short_of_memory(monkeypatch):
    """Nets that cannot take more than so many windows at once."""

    def limit(most):
        whole = FusedNet.forward

        def forward(self, inputs, **options):
            if len(inputs["data"]) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nMore words.")
            return whole(self, inputs, **options)

        monkeypatch.setattr(FusedNet, "forward", forward)

    return limit


def test_where_memory_runs_out_fewer_are_predicted_at_once_and_it_is_said_once(short_of_memory, tmp_path, caplog):
    loaded = EmbeddedEngine().load(model("1fm", tmp_path))
    given = windows(1, 3)
    expected = plainly(loaded, given, VARIANTS)
    short_of_memory(2)
    with caplog.at_level(logging.WARNING):
        found = list(loaded.averaged(given, VARIANTS))
    assert_array_equal(np.abs(np.stack(found).astype(int) - expected) <= 1, True)
    assert caplog.messages == ["memory of cpu ran out with 8 windows at once: going on with fewer"]


def test_where_not_even_one_window_fits_the_error_says_what_to_do(short_of_memory, tmp_path):
    loaded = EmbeddedEngine().load(model("1fm", tmp_path))
    short_of_memory(0)
    with pytest.raises(EngineError, match=r"(?s)does not fit into the memory of cpu \(CUDA out of memory.*--gpu -1"):
        list(loaded.averaged(windows(1, 1), VARIANTS))


def test_numbers_that_float16_hardly_holds_are_predicted_with_bfloat16(tmp_path, monkeypatch, caplog):
    given = windows(1, 2, dtype=np.uint16)
    given[0] //= 256
    given[1][0, 5, 7] = 40000
    for number in (torch.bfloat16, torch.float16):
        monkeypatch.setattr(predictors, "number_for", lambda *_, number=number: number)
        loaded = EmbeddedEngine().load(model("1fm", tmp_path), precision="fast")
        means = np.stack(list(loaded.averaged(given, VARIANTS[:8])))
        if number == torch.bfloat16:
            expected = means
    assert_array_equal(means[1], expected[1])
    assert (means[0] != expected[0]).any()
    assert caplog.messages == ["1fm: numbers beyond float16: such planes are predicted with bfloat16"]
    assert np.isfinite(list(loaded.foreground(given))).all()


def test_batches_grow_with_small_windows_and_never_beyond_a_bound():
    size = BatchSize(torch.device("cpu"), torch.float32)
    assert [size.of(side * side) for side in (1024, 512, 256)] == [1, 4, MOST_WINDOWS]


def test_nets_of_a_model_that_was_read_once_predict_as_those_that_are_read_alone(tmp_path):
    made, engine = model("3fm", tmp_path), EmbeddedEngine()
    given = windows(3, 2)
    nets = engine.load_each(made, ("fast", "float32", "fast"))
    for net, precision in zip(nets, ("fast", "float32", "fast"), strict=True):
        alone = engine.load(made, precision=precision)
        assert_array_equal(list(net.averaged(given, VARIANTS)), list(alone.averaged(given, VARIANTS)))
    assert len({id(step) for net in nets for step in net._net.steps}) == 3 * len(nets[1]._net.steps)


@pytest.mark.parametrize("gpu", [CPU, pytest.param(0, marks=pytest.mark.gpu)])
def test_what_any_net_needs_can_be_loaded_before_there_is_one(gpu):
    engine = EmbeddedEngine()
    engine.wake(gpu)
    load_libraries(engine.place(gpu))
    assert engine.is_apart(gpu) is (gpu != CPU)
