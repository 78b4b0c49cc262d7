"""Each reason that keeps an engine from running, or from a GPU, is told exactly and with its remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cdeep3m.engines import doctor
from cdeep3m.engines.docker.daemon import Daemon
from cdeep3m.engines.doctor import DockerFacts, GpuFacts, TorchBuild, judge_caffe, judge_docker, judge_embedded
from cdeep3m.engines.images import find_image
from cdeep3m.engines.local import LocalCaffe
from cdeep3m.engines.nvidia import Gpu
from fake_docker import FakeDocker, FakeImage, digest

V100 = Gpu(index=0, name="Tesla V100-SXM2-32GB", memory=32510, driver="535.183.01", capability=(7, 0))
H100 = Gpu(index=1, name="NVIDIA H100 80GB HBM3", memory=81559, driver="550.54.15", capability=(9, 0))
GTX = Gpu(index=0, name="NVIDIA GeForce GTX 1080", memory=8192, driver="535.183.01", capability=(6, 1))
K80 = Gpu(index=0, name="Tesla K80", memory=11441, driver="470.256.02", capability=(3, 7))

CPU_TORCH = TorchBuild(version="2.13.0+cpu", threads=8)
CUDA_TORCH = TorchBuild(
    version="2.13.0+cu126", cuda=(12, 6), architectures=((7, 0), (8, 0), (9, 0)), devices=1, threads=8
)
DOCKER = Daemon(version="Docker 28.2.2", nvidia=True)


def one_remark(verdict) -> str:
    (remark,) = verdict.remarks
    assert "\n" not in remark
    return remark


def test_embedded_without_pytorch_is_not_usable():
    verdict = judge_embedded(None, GpuFacts())
    assert not verdict.usable
    assert one_remark(verdict) == "PyTorch is not installed: pip install 'cdeep3m[embedded]'"


def test_embedded_on_a_machine_without_gpus_needs_no_remark():
    verdict = judge_embedded(CPU_TORCH, GpuFacts())
    assert (verdict.usable, verdict.remarks) == (True, ())
    assert verdict.summary == "PyTorch 2.13.0+cpu built for the CPU; CPU, 8 threads"


def test_embedded_on_its_gpu_needs_no_remark():
    verdict = judge_embedded(CUDA_TORCH, GpuFacts(gpus=[V100], newest_cuda=(12, 2)))
    assert (verdict.usable, verdict.remarks) == (True, ())
    assert "1 GPU" in verdict.summary


@pytest.mark.parametrize(
    ("torch", "facts", "said"),
    [
        (CPU_TORCH, GpuFacts(gpus=[V100], newest_cuda=(12, 2)), r"PyTorch without CUDA does not use GPU 0.*install"),
        (
            TorchBuild(version="2.13.0+cu130", cuda=(13, 0)),
            GpuFacts(gpus=[V100], newest_cuda=(12, 2)),
            r"driver 535\.183\.01 is too old: it runs CUDA up to 12\.2, PyTorch here was built for 13\.0; update it",
        ),
        (
            TorchBuild(version="2.13.0+cu126", cuda=(12, 6)),
            GpuFacts(gpus=[V100], newest_cuda=(12, 2)),
            r"PyTorch sees none of GPU 0.*CUDA_VISIBLE_DEVICES",
        ),
        (
            CUDA_TORCH,
            GpuFacts(gpus=[Gpu(index=0, name="RTX 5090", memory=32607, driver="570.1", capability=(12, 0))]),
            r"GPU 0 \(RTX 5090.*is too new for this PyTorch \(up to 9\.0\)",
        ),
        (
            CUDA_TORCH,
            GpuFacts(gpus=[Gpu(index=0, name="Quadro P6000", memory=24449, driver="570.1", capability=(6, 1))]),
            r"GPU 0 \(Quadro P6000.*is too old for this PyTorch \(from 7\.0\)",
        ),
        (CPU_TORCH, GpuFacts(problem="the NVIDIA driver does not work here: restart"), "restart"),
    ],
)
def test_embedded_says_what_keeps_it_from_a_gpu(torch, facts, said):
    import re

    verdict = judge_embedded(torch, facts)
    assert verdict.usable
    assert re.search(said, one_remark(verdict))


@pytest.mark.parametrize("gpu", [GTX, K80])
def test_gpu_with_less_than_12_gb_can_predict_but_not_train_as_it_is(gpu):
    torch = TorchBuild(version="2", cuda=(11, 8), architectures=((3, 7), (6, 1)), devices=1)
    remark = one_remark(judge_embedded(torch, GpuFacts(gpus=[gpu], newest_cuda=(12, 2))))
    assert "training takes 12 GB at the default batch" in remark
    assert "--patch_side" in remark


def test_caffe_without_its_tools_names_them():
    verdict = judge_caffe(LocalCaffe({"caffe.bin": Path("/opt/caffe.bin")}), GpuFacts())
    assert not verdict.usable
    assert one_remark(verdict).startswith("Caffe's predict_seg_new.bin was not found: set CAFFE_PATH")


def test_caffe_says_where_its_tools_are():
    tools = {name: Path("/opt/caffe") / name for name in ("caffe.bin", "predict_seg_new.bin")}
    verdict = judge_caffe(LocalCaffe(tools), GpuFacts(gpus=[V100, H100]))
    assert (verdict.usable, verdict.summary, verdict.remarks) == (True, "tools in /opt/caffe; 2 GPUs", ())


def test_our_own_tools_are_no_caffe(tmp_path):
    scripts = Path(__file__).parents[2] / "scripts"
    verdict = judge_caffe(
        LocalCaffe({name: scripts / name for name in ("caffe.bin", "predict_seg_new.bin")}), GpuFacts()
    )
    assert not verdict.usable
    assert re.match(
        rf"caffe\.bin and predict_seg_new\.bin in {scripts} are no Caffe but this project's own", one_remark(verdict)
    )


def test_docker_with_a_pinned_image_and_its_gpu_needs_no_remark():
    docker = DockerFacts(daemon=DOCKER, here=digest("a"), pin=digest("a"))
    verdict = judge_docker(docker, find_image("ncmir/cdeep3m"), GpuFacts(gpus=[V100], newest_cuda=(12, 2)))
    assert (verdict.usable, verdict.remarks) == (True, ())
    assert verdict.summary == f"Docker 28.2.2, image ncmir/cdeep3m pinned as {digest('a')}"


HERE = DockerFacts(daemon=DOCKER, here=digest("a"))


@pytest.mark.parametrize(
    ("docker", "image", "facts", "usable", "said"),
    [
        (DockerFacts(problem="no Docker daemon: start it"), "cdeep3m", GpuFacts(), False, "no Docker daemon"),
        (DockerFacts(daemon=DOCKER), "cdeep3m", GpuFacts(), False, "build it with `docker build"),
        (DockerFacts(daemon=DOCKER), "ncmir/cdeep3m", GpuFacts(), True, "pulled at the first run"),
        (DockerFacts(daemon=DOCKER, image_problem="was pinned"), "ncmir/cdeep3m", GpuFacts(), False, "was pinned"),
        (
            HERE,
            "ncmir/cdeep3m",
            GpuFacts(gpus=[H100], newest_cuda=(12, 4)),
            True,
            "too new for ncmir/cdeep3m: its CUDA 9",
        ),
        (HERE, "ncmir/cdeep3m", GpuFacts(gpus=[V100], newest_cuda=(8, 0)), True, "was built for 9.0; update it"),
        (
            DockerFacts(daemon=Daemon(version="Docker 28.2.2"), here=digest("a")),
            "cdeep3m",
            GpuFacts(gpus=[V100]),
            True,
            "no NVIDIA runtime, so containers get no GPU: install",
        ),
        (
            DockerFacts(daemon=Daemon(version="Podman 4.9.3", podman=(4, 9), nvidia=True), here=digest("a")),
            "cdeep3m",
            GpuFacts(gpus=[V100]),
            True,
            "Podman 5.4 or newer",
        ),
    ],
)
def test_docker_says_what_stops_it_or_keeps_it_from_a_gpu(docker, image, facts, usable, said):
    verdict = judge_docker(docker, find_image(image), facts)
    assert verdict.usable is usable
    assert said in one_remark(verdict)


@pytest.fixture
def daemon(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    client = FakeDocker(FakeImage(id=digest("a"), tags=["cdeep3m:latest"]))
    monkeypatch.setattr("cdeep3m.engines.docker.daemon.connect", lambda: client)
    return client


def test_looking_at_docker_neither_pulls_nor_pins(daemon, tmp_path):
    facts = doctor.gather_docker(find_image("cdeep3m"))
    assert (facts.here, facts.pin, facts.daemon.version) == (digest("a"), "", "Docker 28.2.2")
    assert doctor.gather_docker(find_image("ncmir/cdeep3m")).here == ""
    assert not daemon.api.pulled
    assert not list(tmp_path.iterdir())


def test_daemon_on_another_machine_is_told(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://gpu.example.org:2376")
    assert "another machine" in doctor.gather_docker(find_image("cdeep3m")).problem


def test_this_very_machine_can_be_examined(daemon):
    verdicts = {verdict.engine: verdict for verdict in doctor.examine(find_image("cdeep3m"))}
    assert verdicts["embedded"].usable
    assert verdicts["docker"].usable
    assert "will be pinned" in verdicts["docker"].summary
