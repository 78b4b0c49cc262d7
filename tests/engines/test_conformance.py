"""The conformance suite on the engines that need nothing but this project."""

from __future__ import annotations

import pytest

from cdeep3m.engines.docker.engine import DockerCaffe
from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.identity import IdentityEngine, share_of_largest
from cdeep3m.engines.images import Lock, find_image
from cdeep3m.engines.local import LocalCaffe
from engines.conformance import EngineTests, InProcessEngineTests
from fake_docker import FakeDocker, FakeImage, digest


class TestIdentityEngine(InProcessEngineTests):
    predicts_only_itself = True

    @pytest.fixture
    def engine(self):
        return IdentityEngine()

    def expected(self, volume):
        return share_of_largest(volume)


class TestEmbeddedEngine(InProcessEngineTests):
    @pytest.fixture
    def engine(self):
        return EmbeddedEngine()


class TestLocalCaffe(EngineTests):
    """With the embedded engine's tools on PATH, in the place of Caffe's."""

    @pytest.fixture
    def engine(self, monkeypatch, warm_tools):
        monkeypatch.delenv("CAFFE_PATH", raising=False)
        monkeypatch.setenv("PATH", str(warm_tools), prepend=":")
        return LocalCaffe.from_environment()


class TestDockerCaffe(EngineTests):
    """With a daemon whose containers are processes of this machine."""

    @pytest.fixture
    def client(self, warm_tools):
        return FakeDocker(FakeImage(id=digest("a"), tags=["cdeep3m:latest"], tools=warm_tools))

    @pytest.fixture
    def engine(self, client, tmp_path_factory):
        lock = Lock(tmp_path_factory.mktemp("config") / "images.lock")
        yield DockerCaffe(find_image("cdeep3m"), lock=lock, connect=lambda: client)
        assert not client.containers.by_name, "a container was left"
