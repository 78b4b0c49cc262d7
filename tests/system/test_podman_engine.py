"""The docker engine on Podman's Docker-compatible socket, as root and rootless: the same suite as on Docker's."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cdeep3m.engines.base import CPU
from cdeep3m.engines.docker.containers import OWNER
from cdeep3m.engines.docker.daemon import connect, describe
from cdeep3m.engines.docker.engine import DockerCaffe
from cdeep3m.engines.images import Lock, find_image
from cdeep3m.errors import EngineError
from engines.conformance import EngineTests
from podman_service import PodmanService, RefusedError, find_obstacle

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.docker, pytest.mark.podman, pytest.mark.slow]


@pytest.fixture(scope="module")
def image_archive(docker_client, caffe_image, tmp_path_factory):
    """The image of docker/Dockerfile in a file, as `docker save` writes it."""
    path = tmp_path_factory.mktemp("image") / "image.tar"
    with path.open("wb") as archive:
        for chunk in docker_client.images.get(caffe_image).save(named=True):
            archive.write(chunk)
    yield path
    path.unlink()


@contextmanager
def podman(request: pytest.FixtureRequest, *, rootless: bool) -> Iterator[PodmanService]:
    """A Podman with the image, or a skip that says why there is none."""
    if obstacle := find_obstacle(rootless=rootless):
        pytest.skip(obstacle)
    service = PodmanService(rootless=rootless)
    try:
        service.start()
        service.load(request.getfixturevalue("image_archive"))
        yield service
    except RefusedError as refusal:
        pytest.skip(str(refusal))
    finally:
        service.stop()


@pytest.fixture(scope="module")
def root_podman(request):
    with podman(request, rootless=False) as service:
        yield service


@pytest.fixture(scope="module")
def rootless_podman(request):
    with podman(request, rootless=True) as service:
        yield service


class PodmanTests(EngineTests):
    """The suite, on a Podman of the tests' own."""

    rootless = False
    odd_name = "a run's \u00e9 folder, 1 2"

    @pytest.fixture
    def client(self, service, monkeypatch):
        monkeypatch.setenv("DOCKER_HOST", service.host)
        client = connect()
        yield client
        left = client.containers.list(all=True, filters={"label": OWNER}, ignore_removed=True)
        client.close()
        assert not left, "a container was left"

    @pytest.fixture
    def engine(self, client, caffe_image, tmp_path_factory):
        return DockerCaffe(find_image(caffe_image), lock=Lock(tmp_path_factory.mktemp("config") / "images.lock"))

    def test_says_that_it_is_podman(self, client, engine):
        daemon = describe(client)
        assert daemon.podman
        assert daemon.version.startswith("Podman ")
        assert daemon.rootless == self.rootless
        assert "CPU" in engine.device(CPU)

    def test_a_path_with_a_comma_and_a_colon_is_one_line(self, engine, job, tmp_path):
        folder = tmp_path / "1:2, 3"
        folder.mkdir()
        with pytest.raises(EngineError, match=r"1:2, 3.*with a comma and a colon; rename it"):
            engine.predict(replace(job, stacks=[(job.stacks[0][0], folder / "v1")]))

    def test_what_is_written_is_the_caller_s(self, engine, job):
        engine.predict(job)
        (plane, *_) = job.stacks[0][1].iterdir()
        assert plane.stat().st_uid == self.owner

    @property
    def owner(self) -> int:
        return os.geteuid()


class TestRootPodman(PodmanTests):
    """Podman as root runs tools as the caller."""

    @pytest.fixture
    def service(self, root_podman):
        return root_podman


class TestRootlessPodman(PodmanTests):
    """Podman of a user runs tools as that user, root within the container."""

    rootless = True

    @pytest.fixture
    def service(self, rootless_podman):
        return rootless_podman

    @pytest.fixture
    def tmp_path(self, service, monkeypatch):
        """A folder where Podman's user may write, when that is not the one who runs the tests."""
        make = tempfile.mkdtemp

        def make_open(*arguments, **options):
            folder = make(*arguments, **options)
            os.chmod(folder, 0o777)
            return folder

        monkeypatch.setattr(tempfile, "mkdtemp", make_open)
        folder = Path(tempfile.mkdtemp(prefix="cdeep3m-rootless-")).resolve()
        before = os.umask(0)
        yield folder
        os.umask(before)
        shutil.rmtree(folder)

    @property
    def owner(self) -> int:
        return PodmanService.user(rootless=True)
