"""What a training may ask for beyond Caffe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cdeep3m.engines.base import TrainJob
from cdeep3m.engines.learning import Learning, Loss, Sampling, Schedule
from cdeep3m.engines.local import LocalCaffe
from cdeep3m.errors import EngineError, InputError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_defaults_are_to_the_letter_what_caffe_does() -> None:
    assert Learning().beyond_caffe == ()
    assert Learning(loss=Loss(), schedule=Schedule(), sampling=Sampling()).beyond_caffe == ()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Loss, {"dice": -1}),
        (Loss, {"cross_entropy": 0}),
        (Loss, {"focal": -0.5}),
        (Loss, {"smoothing": 1}),
        (Loss, {"class_weights": (0.0, 0.0)}),
        (Loss, {"class_weights": (1.0, -1.0)}),
        (Loss, {"auxiliary": -1}),
        (Schedule, {"shape": "stairs"}),
        (Schedule, {"warm_up": -1}),
        (Schedule, {"floor": 1.5}),
        (Sampling, {"rare": 1.1}),
        (Sampling, {"workers": 0}),
        (Learning, {"decay": -1}),
        (Learning, {"average": 1}),
    ],
)
def test_values_out_of_range_are_refused(kind: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        kind(**settings)


def test_caffes_own_tools_refuse_what_caffe_does_not_know(tmp_path: Path) -> None:
    asked = Learning(schedule=Schedule(shape="cosine"), decay=0.1)
    job = TrainJob(solver=tmp_path / "solver.prototxt", folder=tmp_path, learning=asked)
    with pytest.raises(EngineError, match="Caffe does not know the schedule, decay"):
        LocalCaffe({}).train(job)
