from __future__ import annotations

import shutil

import pytest

from published import make_published


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A published model that no test changes."""
    return make_published(tmp_path_factory.mktemp("published") / "model")


@pytest.fixture
def folder(published, tmp_path):
    """A copy of the published model, to be changed."""
    return shutil.copytree(published, tmp_path / "model")
