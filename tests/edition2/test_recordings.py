"""That no recorded case is passed over, and that further ones are taken."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edition2 import recordings as found
from edition2.recordings import KINDS, NOT_REPEATED, files, recordings
from edition2.test_recorded_steps import REPEATED


def test_every_recorded_case_is_repeated_or_named_with_a_reason():
    from edition2 import test_recorded_commands, test_recorded_statuses, test_recorded_training

    del test_recorded_commands, test_recorded_statuses, test_recorded_training
    recorded = {(kind, recording.name) for kind in KINDS for recording in recordings(kind)}
    assert {name for _, name in recorded - REPEATED} <= set(NOT_REPEATED)
    assert not {name for _, name in REPEATED} & set(NOT_REPEATED)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("folder", "name"),
    [("edition2", "{}"), ("edition2_more", "{}"), ("edition2", "held_back_{}"), ("edition2/more", "{}_2")],
)
def test_further_recordings_are_taken_whatever_their_files_are_called(monkeypatch, tmp_path, kind, folder, name):
    monkeypatch.setattr(found, "REFERENCE", tmp_path)
    path = tmp_path / folder / f"{name.format(kind)}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{"case": "a", "status": 0}, {"case": "b", "status": 0}]))
    np.savez(path.with_suffix(".npz"), x=np.arange(3))
    assert files(kind) == [path]
    assert [recording.name for recording in recordings(kind)] == ["a", "b"]
    assert recordings(kind)[0].array("x").tolist() == [0, 1, 2]
    assert not any(files(other) for other in KINDS if other != kind)
