"""The docker engine on Podman's Docker-compatible socket, as root and rootless: the same suite as on Docker's."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from cdeep3m.engines.base import CPU
from cdeep3m.engines.docker.containers import OWNER
from cdeep3m.engines.docker.daemon import connect, describe
from cdeep3m.engines.docker.engine import DockerCaffe
from cdeep3m.engines.images import Lock, find_image
from engines.conformance import EngineTests
from podman_service import PodmanService, RefusedError, find_obstacle

pytestmark = [pytest.mark.docker, pytest.mark.podman, pytest.mark.slow]


@pytest.fixture(scope="session")
def image_archive(docker_client, caffe_image, tmp_path_factory):
    """The image of docker/Dockerfile in a file, as `docker save` writes it."""
    path = tmp_path_factory.mktemp("image") / "image.tar"
    with path.open("wb") as archive:
        for chunk in docker_client.images.get(caffe_image).save(named=True):
            archive.write(chunk)
    yield path
    path.unlink()


class PodmanTests(EngineTests):
    """The suite, on a Podman of the tests' own."""

    rootless = False

    @pytest.fixture(scope="class")
    def service(self, request):
        if obstacle := find_obstacle(rootless=self.rootless):
            pytest.skip(obstacle)
        service = PodmanService(rootless=self.rootless)
        try:
            service.start()
            service.load(request.getfixturevalue("image_archive"))
            yield service
        except RefusedError as refusal:
            pytest.skip(str(refusal))
        finally:
            service.stop()

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

    def test_what_is_written_is_the_caller_s(self, engine, job):
        engine.predict(job)
        (plane, *_) = job.stacks[0][1].iterdir()
        assert plane.stat().st_uid == self.owner

    @property
    def owner(self) -> int:
        return os.geteuid()


class TestRootPodman(PodmanTests):
    """Podman as root runs tools as the caller."""


class TestRootlessPodman(PodmanTests):
    """Podman of a user runs tools as that user, root within the container."""

    rootless = True

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
