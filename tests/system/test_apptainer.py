"""docker/cdeep3m.def, built and run by Apptainer, which a Debian of its own brings."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from docker_daemon import find_obstacle
from docker_images import DOCKER, ROOT, apptainer_archive, base_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(find_obstacle() is not None, reason=str(find_obstacle())),
]

CACHE = ROOT / "build" / "docker-base"
# Apptainer wants every capability, which root may lack here, but has in a namespace of users of its own.
IN_NAMESPACES = """
set -eu
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
cd "$1"
pivot_root . mnt
umount -l /mnt
exec unshare --user --map-users=0,0,65536 --map-groups=0,0,65536 --setuid 0 --setgid 0 --mount sh -c "$2"
"""


@pytest.fixture(scope="module")
def in_debian(build_context, tmp_path_factory) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run a shell command in a Debian that has Apptainer, the sources in /sources, and the definition's base in /base.

    No registry can be reached, so the definition's first two lines name that base; pip has the wheels of the sources.
    """
    root = tmp_path_factory.mktemp("apptainer")
    try:
        newest = apptainer_archive(CACHE)
    except AssertionError as error:  # the newest Debian is not always whole
        pytest.skip(f"Apptainer is not to be had today: {str(error)[-200:]}")
    for archive, folder in ((newest, root), (base_archive(CACHE), root / "base")):
        folder.mkdir(exist_ok=True)
        devices = "--exclude=./dev/*"  # which nobody can make in such a namespace
        subprocess.run(["tar", "--numeric-owner", devices, "-C", folder, "-xpf", archive], check=True)
    shutil.copy("/etc/hosts", root / "etc")
    (root / "base" / "etc" / "pip.conf").write_text("[global]\nno-index = true\n")
    shutil.copytree(build_context, root / "sources")
    definition = (DOCKER / "cdeep3m.def").read_text()
    registry = "Bootstrap: docker\nFrom: {{ BASE }}\n"
    assert definition.count(registry) == 1
    local = definition.replace(registry, "Bootstrap: localimage\nFrom: /base\n")
    (root / "sources" / "cdeep3m.def").write_text(local)

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", IN_NAMESPACES, "sh", root, command],
            text=True, capture_output=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    yield run
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def image(in_debian) -> str:
    """Path of the image that Apptainer built."""
    words = "APPTAINER_TMPDIR=/var/tmp apptainer build --force --build-arg DEVICE=cpu /cdeep3m.sif cdeep3m.def"
    done = in_debian(f"cd /sources && {words}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return "/cdeep3m.sif"


def test_definition_builds_an_image_that_passes_its_own_test(in_debian, image):
    done = in_debian(f"apptainer test {image}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "0.1.0"


def test_commands_run_in_the_image_and_the_engine_is_usable(in_debian, image):
    done = in_debian(f"apptainer run {image} cdeep3m engines")
    assert re.search(r"^embedded +usable: PyTorch .* built for the CPU", done.stdout, re.MULTILINE), done.stderr


def test_image_without_a_command_explains_itself(in_debian, image):
    assert in_debian(f"apptainer run {image}").stdout.startswith("usage: cdeep3m ")


def test_a_plane_is_predicted_in_the_image(in_debian, image):
    prepare = (DOCKER / "cloud" / "prepare.py").read_text()
    volume = prepare.split('MAKE_VOLUME = """\\\n')[1].split('"""')[0]
    short = "--models 1fm --gpu -1 --width 32 --patch_side 64 --numiterations 1 --iter_size 1 --bn_fraction 0.5"
    script = f"""mkdir -p /var/tmp/lab && cd /var/tmp/lab && mkdir images labels && cat >volume.py <<'END'
{volume}END
run="apptainer run --bind /var/tmp/lab --pwd /var/tmp/lab {image}"
$run python3 volume.py && $run cdeep3m train {short} images labels trained &&
$run runprediction.sh --models 1fm --gpu -1 --augspeed 10 trained images predicted && ls predicted/ensembled"""
    done = in_debian(script)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    planes = [f"Segmented_{z:04d}.png" for z in range(1, 6)]
    assert [word for word in done.stdout.split()[-8:] if word.endswith(".png")] == planes
