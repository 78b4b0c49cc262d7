from __future__ import annotations

import pytest

from cdeep3m.errors import CDeep3MError, InputError, RunError, describe, failing_with
from cdeep3m.system.files import whole_file, write_text


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "plane.png"
    with whole_file(target) as partial:
        assert partial.suffix == ".png"
        partial.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["plane.png"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "plane.png"
    write_text(target, "old")

    def fail():
        with whole_file(target) as partial:
            partial.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["plane.png"]


def test_a_full_disk_is_told_as_such():
    assert "disk is full" in describe(OSError(28, "No space left on device", "plane.png"))


def test_a_stage_gives_its_exit_status_to_every_error():
    with pytest.raises(CDeep3MError) as caught, failing_with(4):
        raise InputError("no images")
    assert caught.value.exit_code == 4
    with pytest.raises(RunError, match="disk is full") as caught, failing_with(10):
        raise OSError(28, "No space left on device")
    assert caught.value.exit_code == 10
