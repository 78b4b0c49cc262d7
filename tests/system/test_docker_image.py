"""docker/Dockerfile, really built: its commands compute in a container what they compute outside."""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import h5py
import numpy as np
import pytest
import torch
from isal import isal_zlib
from numpy.testing import assert_allclose
from PIL import Image

from cdeep3m.cli import runprediction
from cdeep3m.engines.base import TrainJob
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.embedded.prediction.stacks import predict_file
from cdeep3m.engines.embedded.training.loop import train
from cdeep3m.nets.prototxts import deploy
from cdeep3m.proto.caffemodel import blob_to_array, read_model
from cdeep3m.volumes.synthetic import synthesize
from random_nets import random_net, write_model
from tiny_training import make_training

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(r"^\| `([^`]+)` \| `[a-z_0-9]+` \|$", (ROOT / "scripts" / "README.md").read_text(), re.MULTILINE)
VERSION = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE).group(1)
PREFIX = "/opt/cdeep3m"
MEGABYTE = 10**6
TERMINATED = 128 + 15
SHORT = (
    *("--models", "1fm", "--width", "32", "--patch_side", "64", "--numiterations", "1", "--iter_size", "1"),
    *("--bn_fraction", "0.5", "--seed", "1", "--gpu", "-1"),
)
QUICK = ("--models", "1fm", "--augspeed", "10", "--gpu", "-1")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def configuration(docker_client, caffe_image) -> dict:
    """The image's configuration, as `docker inspect` tells it."""
    return docker_client.images.get(caffe_image).attrs["Config"]


def weights_of(path: Path) -> list[np.ndarray]:
    return [blob_to_array(blob) for layer in read_model(path).layer for blob in layer.blobs]


def write_planes(folder: Path, planes: np.ndarray) -> Path:
    folder.mkdir()
    for z, plane in enumerate(planes):
        Image.fromarray(plane).save(folder / f"plane_{z + 1:04d}.png")
    return folder


def test_every_drop_in_command_is_on_the_path(in_container, caffe_image):
    said = in_container(caffe_image, "sh", "-c", 'for name; do command -v "$name"; done', "sh", *COMMANDS)
    assert said.split() == [f"{PREFIX}/bin/{name}" for name in COMMANDS]


@pytest.mark.parametrize("name", ["cdeep3m", "runprediction.sh", "caffe.bin", "predict_seg_new.bin"])
def test_command_runs_for_a_user_without_name_home_or_rights(in_container, caffe_image, name):
    assert in_container(caffe_image, name, "--help").startswith("usage: ")


def test_packages_are_those_of_the_constraints(in_container, caffe_image):
    code = "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()))"
    installed = {word.lower().replace("_", "-") for word in in_container(caffe_image, "python3", "-c", code).split()}
    allowed = {line.split(";")[0].strip() for line in (ROOT / "constraints.txt").read_text().lower().splitlines()}
    assert installed - allowed == {f"cdeep3m=={VERSION}", f"{next(x for x in allowed if x.startswith('torch'))}+cpu"}


def test_image_says_what_it_is_and_runs_as_no_root(configuration):
    labels = configuration["Labels"]
    assert labels["org.opencontainers.image.title"] == "cdeep3m"
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["cdeep3m.device"] == "cpu"
    assert configuration["User"] == "1000:1000"
    assert configuration.get("Healthcheck") is None
    assert not configuration.get("Entrypoint")


def test_a_change_of_the_sources_is_a_small_layer(docker_client, caffe_image):
    newest, *older = [layer["Size"] for layer in docker_client.images.get(caffe_image).history() if layer["Size"]]
    assert newest < 10 * MEGABYTE
    assert older[0] > 50 * newest, "PyTorch has a layer of its own"
    assert sum(size > MEGABYTE for size in older) <= 6, "the base's layers, and one with the dependencies"


def test_image_is_small_on_the_way(docker_client, caffe_image):
    """Compressed as fast as can be, which is no smaller than what a registry has."""
    layers = compressed_layers(docker_client, caffe_image)
    print(*(f"{size / MEGABYTE:.1f} MB, {packed / MEGABYTE:.1f} MB compressed" for size, packed in layers), sep="\n")
    assert sum(packed for _, packed in layers) < 450 * MEGABYTE


def compressed_layers(client: DockerClient, name: str) -> list[tuple[int, int]]:
    """Return the size of each layer of an image, from its base up, and its size after compression."""
    with tempfile.TemporaryFile() as file:
        for block in client.images.get(name).save(chunk_size=1 << 20):
            file.write(block)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            (manifest,) = json.load(archive.extractfile("manifest.json"))
            return [sizes(archive.extractfile(layer)) for layer in manifest["Layers"]]


def sizes(layer: IO[bytes]) -> tuple[int, int]:
    """Return the size of a layer before and after compression."""
    packing = isal_zlib.compressobj(3)
    size = packed = 0
    for block in iter(lambda: layer.read(1 << 20), b""):
        size += len(block)
        packed += len(packing.compress(block))
    return size, packed + len(packing.flush())


def test_image_holds_no_tools_of_its_making(in_container, caffe_image):
    found = in_container(caffe_image, "sh", "-c", "ls /build /opt/cdeep3m/bin/pip* /root/.cache 2>/dev/null; true")
    assert found == ""
    clutter = (
        r"find /opt /root /work \( -name '*.whl' -o -name .git -o -name tests -o -path '*/torch/include' \) -print"
    )
    assert in_container(caffe_image, "sh", "-c", f"{clutter} 2>/dev/null; true") == ""


def test_training_by_caffe_s_tool_is_that_of_the_host(in_container, caffe_image, tmp_path):
    make_training(tmp_path, max_iter=2)
    said = in_container(caffe_image, "caffe.bin", "train", "--solver=solver.prototxt", "--gpu=-1")
    assert "Optimization Done." in said
    found = weights_of(tmp_path / "snap" / "tiny_iter_2.caffemodel")
    train(TrainJob(solver=make_training(tmp_path / "host", max_iter=2), folder=tmp_path / "host"), device="cpu")
    for one, other in zip(found, weights_of(tmp_path / "host" / "snap" / "tiny_iter_2.caffemodel"), strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_prediction_by_caffe_s_tool_is_that_of_the_host(in_container, caffe_image, tmp_path):
    model = write_model(random_net(deploy("3fm", width=32, sides=(96, 80))), tmp_path, "3fm")
    stack = np.random.default_rng(0).integers(0, 255, (96, 80, 3), dtype=np.uint8)
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["data"] = stack
    in_container(
        caffe_image, "predict_seg_new.bin", f"--model={model.deploy.name}", f"--weights={model.weights.name}",
        "--data=stack.h5", "--predict=found/test", "--shift_axis=2", "--shift_stride=1", "--gpu=-1",
    )  # fmt: skip
    planes = list(predict_file(EmbeddedEngine().load(model), tmp_path / "stack.h5", tmp_path / "host"))
    assert planes == [0, 1, 2]
    for z in planes:
        with (
            h5py.File(tmp_path / "found" / f"test_shift_{z}.h5") as one,
            h5py.File(f"{tmp_path}/host_shift_{z}.h5") as other,
        ):
            assert one["data"].shape == (1, 2, 96, 80)
            assert_allclose(one["data"][...], other["data"][...], rtol=0, atol=1e-5)


def test_the_whole_product_runs_in_a_container(in_container, caffe_image, tmp_path):
    volume = synthesize((5, 120, 112), seed=3)
    write_planes(tmp_path / "images", volume.image)
    write_planes(tmp_path / "labels", volume.label * 255)
    in_container(caffe_image, "PreprocessTrainingData.m", "images", "labels", "augmented")
    said = in_container(caffe_image, "runtraining.sh", *SHORT, "augmented", "trained")
    assert "Training has completed. Results are stored in trained" in said
    in_container(caffe_image, "runprediction.sh", *QUICK, "trained", "images", "predicted")
    words = [*QUICK, tmp_path / "trained", tmp_path / "images", tmp_path / "host"]
    assert runprediction.main([str(word) for word in words]) == 0
    names = [f"Segmented_{z + 1:04d}.png" for z in range(5)]
    assert sorted(path.name for path in (tmp_path / "predicted" / "ensembled").glob("*.png")) == names
    for name in names:
        one, other = (np.asarray(Image.open(tmp_path / run / "ensembled" / name)) for run in ("predicted", "host"))
        assert_allclose(one.astype(int), other.astype(int), rtol=0, atol=1)
    assert (tmp_path / "predicted" / "DONE").read_text() == "success\n0\n"


def test_a_container_that_is_stopped_ends_at_once(start_container, caffe_image, tmp_path):
    make_training(tmp_path, max_iter=10**6)
    container = start_container(caffe_image, "caffe.bin", "train", "--solver=solver.prototxt", "--gpu=-1")
    wait_for(lambda: b"Iteration 1," in container.logs())
    begin = time.monotonic()
    container.stop(timeout=60)
    assert time.monotonic() - begin < 30
    assert container.wait()["StatusCode"] == TERMINATED


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"nothing after {seconds} s"
        time.sleep(0.2)
