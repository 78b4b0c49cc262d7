"""The conformance suite on the engines that need nothing but this project."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdeep3m.engines.embedded.engine import EmbeddedEngine
from cdeep3m.engines.identity import IdentityEngine, share_of_largest
from cdeep3m.engines.local import LocalCaffe
from engines.conformance import EngineTests, InProcessEngineTests

SCRIPTS = Path(__file__).parents[2] / "scripts"


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
    def engine(self, monkeypatch):
        monkeypatch.delenv("CAFFE_PATH", raising=False)
        monkeypatch.setenv("PATH", str(SCRIPTS), prepend=":")
        return LocalCaffe.from_environment()
