"""The demo's own part: its folder, its commands, its scores. The commands themselves are replaced here."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdeep3m.cli import demo, demo_steps
from cdeep3m.errors import RunError

NETS = ("1fm", "3fm")
TINY = demo.Settings(train_shape=(2, 160, 200), held_out_shape=(3, 200, 240))


@pytest.fixture
def commands(monkeypatch):
    """Replace the commands by a recorder; its `probability` turns a true label into the maps that they would write."""

    class Recorder(list):
        probability = staticmethod(lambda label: label)

        def __call__(self, command):
            self.append(command)
            if command[1] == "predict":
                images, out = map(Path, command[-2:])
                for z, path in enumerate(sorted((images.parent / "labels").iterdir())):
                    for folder in (*NETS, "ensembled"):
                        (out / folder).mkdir(parents=True, exist_ok=True)
                        plane = self.probability(np.asarray(Image.open(path)))
                        Image.fromarray(plane).save(out / folder / f"Segmented_{z + 1:04d}.png")

    recorder = Recorder()
    monkeypatch.setattr(demo, "run_command", recorder)
    return recorder


def test_right_maps_pass_and_are_scored_and_drawn(tmp_path, commands, capsys):
    assert demo._demo(tmp_path / "demo", TINY) == 0
    shown = capsys.readouterr().out
    assert [command[:2] for command in commands] == [["cdeep3m", name] for name in ("train", "predict", "report")]
    assert commands[0][2:6] == ["--recipe", "quick", "--time", "5m"]
    assert shown.splitlines()[-1].endswith("/demo/predicted/report.html")
    for name in (*NETS, "ensemble"):
        assert f"{name:16}     1.000     1.000     1.000" in shown
    with Image.open(tmp_path / "demo" / "overlay.png") as picture:
        assert picture.size == (240, 200)


def test_maps_are_cut_at_one_half_and_nowhere_else(tmp_path, commands, capsys):
    """Background comes out as 150: half takes it for foreground, though a higher threshold would not."""
    commands.probability = lambda label: np.where(label > 0, 200, 150).astype(np.uint8)
    assert demo._demo(tmp_path / "demo", TINY) == 1
    commands.probability = lambda label: np.where(label > 0, 128, 127).astype(np.uint8)
    assert demo._demo(tmp_path / "other", TINY) == 0
    assert f"{'ensemble':16}     1.000     1.000     1.000" in capsys.readouterr().out


def test_a_number_of_iterations_takes_the_place_of_the_time(tmp_path, commands):
    settings = demo.Settings(train_shape=(2, 160, 200), held_out_shape=(3, 200, 240), iterations=7)
    demo._demo(tmp_path / "demo", settings)
    assert commands[0][4:6] == ["--numiterations", "7"]
    assert "--time" not in commands[0]


def test_wrong_maps_fail_with_status_1(tmp_path, commands, capsys):
    commands.probability = lambda label: 255 - label
    assert demo._demo(tmp_path / "demo", TINY) == 1
    assert "expected at least 0.92" in capsys.readouterr().err


def test_volumes_are_written_once_and_held_out_is_another(tmp_path, commands):
    demo._demo(tmp_path / "demo", TINY)
    images = sorted((tmp_path / "demo" / "training" / "images").iterdir())
    assert [path.name for path in images] == ["images_0001.png", "images_0002.png"]
    before = images[0].stat().st_mtime_ns
    demo._demo(tmp_path / "demo", TINY)
    assert images[0].stat().st_mtime_ns == before


def test_folder_of_other_settings_or_of_something_else_is_left_alone(tmp_path, commands):
    demo._demo(tmp_path / "demo", TINY)
    with pytest.raises(RunError, match="other settings"):
        demo._demo(tmp_path / "demo", demo.Settings(seed=2))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(RunError, match="no demo"):
        demo._demo(tmp_path / "mine", TINY)
    assert len(commands) == 3


def test_a_command_that_fails_stops_the_demo_with_its_status(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo_steps, "program", lambda name: shutil.which("false"))
    assert demo_steps.run_command(["cdeep3m", "train"]) == 1
    assert "cdeep3m ended with exit status 1; the demo stops here" in capsys.readouterr().err
    monkeypatch.setattr(demo, "run_command", lambda command: 10 if command[1] == "predict" else 0)
    assert demo._demo(tmp_path / "demo", TINY) == 10


def test_a_command_that_a_signal_ends_is_told(monkeypatch, tmp_path):
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(demo_steps, "program", lambda name: killed)
    with pytest.raises(RunError, match="signal 9 ended cdeep3m"):
        demo_steps.run_command(["cdeep3m", "train"])


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux does")
def test_the_commands_of_a_demo_end_with_it(tmp_path):
    sleeping = tmp_path / "sleeping"
    sleeping.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/number\nexec sleep 60\n")
    sleeping.chmod(0o755)
    code = f"from cdeep3m.cli import demo_steps as d; d.program = lambda name: {str(sleeping)!r}; d.run_command(['x'])"
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    number = tmp_path / "number"
    until(lambda: number.exists() and number.read_text().strip())
    started.kill()
    started.wait()
    until(lambda: not is_running(int(number.read_text())))


def until(happened, *, patience=10.0):
    end = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_steps_are_given_names_that_are_no_options(tmp_path, commands, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert demo._demo(Path("-mine"), TINY) == 0
    assert all(not word.startswith("-mine") for command in commands for word in command)
    assert (tmp_path / "-mine" / "overlay.png").is_file()


def test_a_demo_that_was_killed_as_it_began_goes_on(tmp_path, commands):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / ".demo.partial-1234.json").write_text("{")
    assert demo._demo(tmp_path / "demo", TINY) == 0
    assert not list((tmp_path / "demo").glob(".demo*"))


def test_a_demo_s_note_is_there_whole_or_not_at_all(tmp_path, commands, monkeypatch):
    """One that was cut off would keep the demo from going on."""

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(demo_steps, "write_text", full)
        with pytest.raises(OSError, match="No space"):
            demo._demo(tmp_path / "demo", TINY)
    assert list((tmp_path / "demo").iterdir()) == []
    assert demo._demo(tmp_path / "demo", TINY) == 0


def test_commands_are_found_without_a_path(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert demo_steps.program("cdeep3m").endswith("/cdeep3m")
