"""What short numbers change is told of every net, before the prediction or beside it; maps do not depend on it."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from address_volumes import ArrayVolume, addresses
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.identity import IdentityEngine, IdentityNet
from cdeep3m.errors import EngineError
from cdeep3m.prediction.comparing import Comparisons
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.tiling.grid import Tiling
from octave_cases import png_folder
from random_nets import publish_random

NETS = ("1fm", "3fm")


class HastyNet(IdentityNet):
    """Predicts a little too much."""

    def foreground(self, windows):
        return (plane + np.float32(0.02) for plane in super().foreground(windows))


class PairingEngine(IdentityEngine):
    """Predicts with short numbers, on a device of its own or here; keeps which nets each thread used."""

    def __init__(self, *, apart: bool, broken: int = 0, stopped: threading.Event | None = None) -> None:
        super().__init__()
        self.apart, self.broken, self.stopped = apart, broken, stopped
        self.used, self.woken = {}, threading.Event()

    def load_each(self, model, precisions, *, gpu=-1):
        return tuple(self._net(model, precision) for precision in precisions)

    def is_apart(self, gpu):
        return self.apart

    def wake(self, gpu):
        self.woken.set()
        raise OSError("no library of kernels")

    def _net(self, model, precision):
        engine = self

        class Net(HastyNet if precision == "fast" else IdentityNet):
            def foreground(self, windows):
                engine.used.setdefault(id(self), set()).add(threading.get_ident())
                if precision == "float32" and engine.broken:
                    engine.broken -= 1
                    raise EngineError("one window does not fit into the memory")
                return super().foreground(windows)

        return Net(int(model.net[0]))


@pytest.fixture
def request_(tmp_path):
    for net in NETS:
        (tmp_path / "trained" / net / "trainedmodel").mkdir(parents=True)
        (tmp_path / "trained" / net / "deploy.prototxt").touch()
        (tmp_path / "trained" / net / "trainedmodel" / f"{net}_classifer_iter_5.caffemodel").touch()
    png_folder(tmp_path / "images", addresses((4, 20, 24)).astype(np.uint8))
    return PredictRequest(
        trained=tmp_path / "trained",
        images=tmp_path / "images",
        out=tmp_path / "out",
        nets=NETS,
        precision="fast",
        fit=True,
    )


def told(request) -> list[str]:
    lines = (request.out / "logs" / "prediction.log").read_text().splitlines()
    return [line.split(" ", 2)[2] for line in lines if "fast numbers" in line]


def written(request) -> dict[str, bytes]:
    return {str(path.relative_to(request.out)): path.read_bytes() for path in request.out.rglob("Segmented_*.png")}


def test_a_comparison_beside_the_prediction_says_the_same_and_changes_no_byte(request_, tmp_path):
    beside = replace(request_, out=tmp_path / "beside")
    engine = PairingEngine(apart=True)
    assert predict(request_, PairingEngine(apart=False), gpu=-1)
    assert predict(beside, engine, gpu=-1)
    assert told(beside) == told(request_)
    assert [line[:3] for line in told(beside)] == list(NETS)
    assert written(beside) == written(request_)
    assert engine.woken.wait(10)


def test_a_net_that_is_compared_beside_is_used_by_no_other_thread(request_):
    engine = PairingEngine(apart=True)
    predict(request_, engine, gpu=-1)
    assert len(engine.used) == 3 * len(NETS)
    assert {len(threads) for threads in engine.used.values()} == {1}
    assert len({thread for threads in engine.used.values() for thread in threads}) == 2


def test_a_comparison_for_which_both_together_lack_memory_is_made_alone_at_the_end(request_):
    predict(request_, PairingEngine(apart=True, broken=1), gpu=-1)
    assert sorted(line[:3] for line in told(request_)) == list(NETS)


@pytest.mark.parametrize("apart", [True, False])
def test_a_comparison_that_cannot_be_made_fails_the_run(request_, apart):
    with pytest.raises(EngineError, match="does not fit"):
        predict(request_, PairingEngine(apart=apart, broken=9), gpu=-1)
    assert "does not fit" in (request_.out / "ERROR").read_text()
    assert not (request_.out / "DONE").exists()


def test_an_interrupt_leaves_no_comparison_behind():
    said = []
    tiling = Tiling.of((4, 20, 24), fit=True)
    before = threading.active_count()

    def interrupted():
        with Comparisons(ArrayVolume(addresses((4, 20, 24))), tiling, note=said.append, beside=True) as comparisons:
            comparisons.tell("1fm", IdentityNet(1), HastyNet(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before


def test_a_net_of_pytorch_that_is_compared_beside_predicts_the_same_bytes(tmp_path, monkeypatch):
    publish_random(tmp_path / "trained")
    png_folder(tmp_path / "images", np.random.default_rng(0).integers(0, 256, (5, 40, 60), np.uint8))
    request = PredictRequest(
        trained=tmp_path / "trained",
        images=tmp_path / "images",
        out=tmp_path / "out",
        nets=("3fm",),
        precision="fast",
        fit=True,
    )
    assert predict(request, EmbeddedEngine(), gpu=-1)
    monkeypatch.setattr(EmbeddedEngine, "is_apart", lambda *_: True)
    beside = replace(request, out=tmp_path / "beside")
    assert predict(beside, EmbeddedEngine(), gpu=-1)
    assert written(beside) == written(request)
    assert len(set(written(request).values())) > 3
    assert told(beside) == told(request)
