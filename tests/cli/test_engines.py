"""`cdeep3m engines`: what a user reads, and the exit statuses."""

from __future__ import annotations

import pytest

from cdeep3m.cli.main import main
from cdeep3m.engines import doctor
from cdeep3m.engines.doctor import DockerFacts, GpuFacts
from cdeep3m.engines.images import Lock, find_image
from cdeep3m.engines.nvidia import Gpu
from fake_docker import FakeDocker, FakeImage, digest

V100 = Gpu(index=0, name="Tesla V100", memory=32510, driver="535.183.01", capability=(7, 0))


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine with a GPU, but without PyTorch, Caffe and Docker."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CAFFE_PATH", "CDEEP3M_ENGINE", "CDEEP3M_IMAGE", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor, "gather_gpus", lambda: GpuFacts(gpus=[V100], newest_cuda=(12, 2)))
    monkeypatch.setattr(doctor, "gather_torch", lambda: None)
    monkeypatch.setattr(doctor, "gather_docker", lambda image: DockerFacts(problem="no Docker daemon: start Docker"))


@pytest.fixture
def client(monkeypatch):
    client = FakeDocker(FakeImage(id=digest("a"), tags=["cdeep3m:latest"]))
    monkeypatch.setattr("cdeep3m.engines.docker.daemon.connect", lambda: client)
    return client


def test_machine_on_which_nothing_runs_is_status_1_with_every_remedy(capsys):
    assert main(["engines"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("GPU 0 (Tesla V100, compute capability 7.0, driver 535.183.01), 32510 MiB; the driver runs")
    assert "embedded  not usable\n          - PyTorch is not installed: pip install" in said
    assert "caffe     not usable\n          - Caffe's caffe.bin was not found: set CAFFE_PATH" in said
    assert "docker    not usable\n          - no Docker daemon: start Docker" in said
    assert said.endswith("--engine auto is embedded here.\n")


def test_one_engine_is_enough_for_status_0(monkeypatch, tmp_path, capsys):
    for name in ("caffe.bin", "predict_seg_new.bin"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert main(["engines"]) == 0
    assert f"caffe     usable: tools in {tmp_path}; 1 GPU" in capsys.readouterr().out


def test_list_shows_what_is_known_and_pinned(capsys):
    Lock().pin(find_image("ncmir/cdeep3m"), f"ncmir/cdeep3m@{digest('b')}")
    Lock().pin(find_image("lab/caffe:8"), digest("c"))
    assert main(["engines", "list"]) == 0
    said = capsys.readouterr().out
    assert f"pinned: ncmir/cdeep3m@{digest('b')}" in said
    assert f"lab/caffe:8\n    pinned: {digest('c')}" in said
    assert "cdeep3m\n    this project's own" in said
    assert "CUDA 9.0 compute capability from 3.0 up to 7.0" in said
    assert str(Lock().path) in said


def test_pin_and_unpin_are_there_and_back(client, capsys):
    assert main(["engines", "pin", "cdeep3m"]) == 0
    assert Lock().pins() == {"cdeep3m:latest": digest("a")}
    assert main(["engines", "unpin", "cdeep3m"]) == 0
    assert main(["engines", "unpin", "cdeep3m"]) == 0
    assert Lock().pins() == {}
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == [digest("a"), "pinned", "not"]


def test_pin_accepts_what_the_name_means_now(client):
    Lock().pin(find_image("cdeep3m"), digest("e"))
    assert main(["engines", "pin", "cdeep3m"]) == 0
    assert Lock().pins() == {"cdeep3m:latest": digest("a")}


def test_pin_pulls_an_absent_image(client):
    client.registry = [FakeImage(id=digest("1"), tags=["lab/caffe:8"], digests=[f"lab/caffe@{digest('b')}"])]
    assert main(["engines", "pin", "lab/caffe:8"]) == 0
    assert Lock().pins() == {"lab/caffe:8": f"lab/caffe@{digest('b')}"}


def test_digest_is_pinned_without_a_daemon():
    assert main(["engines", "pin", "ncmir/cdeep3m", f"ncmir/cdeep3m@{digest('d')}"]) == 0
    assert Lock().pins() == {"ncmir/cdeep3m:latest": f"ncmir/cdeep3m@{digest('d')}"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pin", "ncmir/cdeep3m", "latest"], "ERROR, 'latest' is no digest"),
        (["pin", "two words"], "ERROR, 'two words' is no image's name"),
        (["pin", "unknown/image"], "ERROR, unknown/image cannot be pulled: manifest"),
        (["--image", "a b"], "ERROR, 'a b' is no image's name"),
    ],
)
def test_wrong_names_are_one_line_and_status_1(client, capsys, words, said):
    assert main(["engines", *words]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)


@pytest.mark.parametrize("words", [["pin"], ["unpin"], ["remove"], ["list", "cdeep3m"], ["check", "cdeep3m"]])
def test_wrong_usage_is_status_1_and_says_how(capsys, words):
    with pytest.raises(SystemExit) as caught:
        main(["engines", *words])
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("usage: cdeep3m engines")
