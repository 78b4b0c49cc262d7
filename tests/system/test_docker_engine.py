"""The docker engine on a real Docker daemon, whose image holds this project's own tools."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cdeep3m.engines.base import CPU, PredictJob
from cdeep3m.engines.docker.containers import OWNER, owner
from cdeep3m.engines.docker.daemon import connect
from cdeep3m.engines.docker.engine import DockerCaffe
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.images import Image, Lock, find_image
from cdeep3m.engines.tools import ToolCall
from cdeep3m.errors import EngineError
from cdeep3m.prediction.run import PredictRequest, predict
from cdeep3m.proto.caffemodel import read_model, read_state
from cdeep3m.volumes.png import write_plane
from engines.conformance import EngineTests, addresses, make_model, make_stack
from tiny_training import make_training

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def client(docker_host, monkeypatch):
    """A client of the daemon, in which no container of ours may be left."""
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    client = connect()
    yield client
    assert not ours(client), "a container was left"
    client.close()


def ours(client) -> list:
    return client.containers.list(all=True, filters={"label": OWNER}, ignore_removed=True)


@pytest.fixture
def image(caffe_image) -> Image:
    return find_image(caffe_image)


@pytest.fixture
def lock(tmp_path) -> Lock:
    return Lock(tmp_path / "config" / "images.lock")


@pytest.fixture
def engine(client, image, lock):
    return DockerCaffe(image, lock=lock)


class TestDockerCaffe(EngineTests):
    @pytest.fixture
    def engine(self, client, image, tmp_path_factory):
        return DockerCaffe(image, lock=Lock(tmp_path_factory.mktemp("config") / "images.lock"))


@pytest.fixture
def job(tmp_path):
    (tmp_path / "out").mkdir()
    stack = make_stack(tmp_path / "image_stacks_v1.h5", addresses(2))
    return PredictJob(model=make_model(tmp_path / "trained"), stacks=[(stack, tmp_path / "out" / "v1")])


def shell(engine, command: str, folder: Path, *reads: Path) -> list[str]:
    """Run a shell command as the engine runs Caffe's tools."""
    call = ToolCall(tool="sh", arguments=("-c", command), folder=folder, reads=reads, writes=(folder,), gpu=CPU)
    return list(engine.follow(call))


def test_container_has_no_network(engine, tmp_path):
    assert shell(engine, "echo /sys/class/net/*", tmp_path) == ["/sys/class/net/lo"]


def test_inputs_cannot_be_changed(engine, tmp_path):
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / "input.h5"
    source.write_text("as it was")
    (tmp_path / "out").mkdir()
    with pytest.raises(EngineError, match="Read-only file system"):
        shell(engine, f"echo changed > '{source}'", tmp_path / "out", source)
    assert source.read_text() == "as it was"


def test_container_sees_no_other_file_of_this_machine(engine, tmp_path):
    (tmp_path / "secret").write_text("hidden")
    (tmp_path / "out").mkdir()
    assert shell(engine, f"cat '{tmp_path / 'secret'}' 2> /dev/null || echo none", tmp_path / "out") == ["none"]


def test_what_is_written_is_the_caller_s(engine, tmp_path, monkeypatch):
    if os.getuid():
        pytest.skip("only root can act for another user here")
    tmp_path.chmod(0o755)
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, 1234, 2345)
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setattr(os, "getgid", lambda: 2345)
    shell(engine, "echo mine > written", out)
    assert ((out / "written").stat().st_uid, (out / "written").stat().st_gid) == (1234, 2345)


def test_content_is_pinned_at_the_first_run_and_demanded_later(engine, image, lock, tmp_path, client):
    shell(engine, "true", tmp_path)
    found = client.images.get(image.reference)
    assert lock.pin_of(image) in (found.id, *found.attrs["RepoDigests"])
    assert lock.pin_of(image) in engine.device(CPU)
    lock.pin(image, f"sha256:{'0' * 64}")
    with pytest.raises(EngineError, match="was pinned") as caught:
        shell(DockerCaffe(image, lock=lock), "true", tmp_path)
    assert "\n" not in str(caught.value)


def test_image_without_the_tools_is_one_line(client, image, lock, job):
    engine = DockerCaffe(replace(image, tools="/nowhere"), lock=lock)
    with pytest.raises(EngineError, match="no such program") as caught:
        engine.predict(job)
    assert "\n" not in str(caught.value)


def test_killed_container_is_one_line(engine, client, tmp_path):
    def kill():
        while not (running := [one for one in ours(client) if one.status == "running"]):
            time.sleep(0.05)
        running[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(EngineError, match="sh of .* was killed") as caught:
        shell(engine, "echo begun; sleep 60", tmp_path)
    killer.join()
    assert "its last words: begun" in str(caught.value)


def test_container_beyond_its_memory_says_so(client, image, lock, tmp_path):
    engine = DockerCaffe(image, lock=lock, memory="32m")
    with pytest.raises(EngineError, match="memory limit of 32m: give --memory more"):
        shell(engine, "dd if=/dev/zero of=/dev/null bs=200000000 count=1; exit $?", tmp_path)


def test_full_disk_is_one_line_and_leaves_no_half_written_file(engine, tmp_path):
    writing = "echo half > .plane.partial-1.h5; dd if=/dev/zero of=/dev/full bs=1 count=1"
    with pytest.raises(EngineError, match="the disk is full: make room") as caught:
        shell(engine, writing, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob(".*.partial-*"))


@pytest.fixture
def training(tmp_path):
    """A run that trains until it is stopped, and the command that starts it."""
    make_training(tmp_path / "run" / "1fm", max_iter=100000, snapshot=100000, display=1)
    return tmp_path / "run"


@pytest.fixture
def start_training(image, tmp_path):
    """A function that starts to train in a folder; what still runs after the test is ended."""
    started = []

    def start(run: Path) -> subprocess.Popen:
        words = ("--numiterations", "100000", "--snapshot_interval", "100000", "--gpu", "-1", "--image", image.name)
        command = subprocess.Popen(
            [sys.executable, "-m", "cdeep3m.cli.caffetrain", *words, "1fm", str(run)],
            env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(command)
        return command

    yield start
    for command in (command for command in started if command.poll() is None):
        command.terminate()
        command.communicate()


def wait_for_iterations(run: Path) -> None:
    log = run / "1fm" / "log" / "out.log"
    end = time.monotonic() + 200
    while not (log.exists() and "Iteration 3, loss" in log.read_text()):
        assert time.monotonic() < end, "the training did not begin"
        time.sleep(0.1)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_training_leaves_its_snapshot_and_no_container(client, start_training, training, number, status):
    command = start_training(training)
    wait_for_iterations(training)
    command.send_signal(number)
    said, _ = command.communicate(timeout=90)
    assert command.returncode == status, said
    assert "Interrupted" in said
    assert not ours(client)
    (state,) = (training / "1fm" / "trainedmodel").glob("*.solverstate")
    assert read_state(state).iter > 0
    read_model(state.with_suffix(".caffemodel"))


def test_second_training_in_a_folder_is_refused(client, start_training, training):
    command = start_training(training)
    wait_for_iterations(training)
    second = start_training(training)
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "another training is running" in said
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=90)


def test_container_of_a_killed_run_is_removed_by_the_next(client, image, lock, start_training, training, tmp_path):
    command = start_training(training)
    wait_for_iterations(training)
    command.kill()
    command.communicate()
    left = ours(client)
    assert [one.labels[OWNER] == owner() for one in left] == [False]
    assert shell(DockerCaffe(image, lock=lock), "echo next", tmp_path) == ["next"]
    assert not ours(client)


def test_prediction_in_a_container_gives_the_bytes_of_the_embedded_engine(engine, tmp_path):
    make_model(tmp_path / "trained")
    (tmp_path / "images").mkdir()
    for z, plane in enumerate(addresses(3)):
        write_plane(tmp_path / "images" / f"image{z}.png", plane)
    request = PredictRequest(
        trained=tmp_path / "trained", images=tmp_path / "images", out=tmp_path / "a", nets=("3fm",), aug_speed=10
    )
    predict(request, engine, gpu=CPU)
    predict(replace(request, out=tmp_path / "b"), EmbeddedEngine(), gpu=CPU)
    planes = [f"Segmented_{z:04d}.png" for z in (1, 2, 3)]
    for plane in planes:
        assert (tmp_path / "a" / "3fm" / plane).read_bytes() == (tmp_path / "b" / "3fm" / plane).read_bytes()
    assert f"engine: docker, {engine.device(CPU)}" in (tmp_path / "a" / "readme.txt").read_text()
