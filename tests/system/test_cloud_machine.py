"""A machine in the cloud, from its user data to a predicted plane: cloud-init and systemd in a bare Debian."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from cloud.scripts import CLOUD, Provider, serve
from docker_daemon import find_obstacle
from docker_images import import_machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from docker.models.containers import Container

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(find_obstacle() is not None, reason=str(find_obstacle())),
]

CACHE = CLOUD.parents[1] / "build" / "docker-base"
SEED = "var/lib/cloud/seed/nocloud"
LONGEST = 400
"""Seconds that an installation may take on a busy machine."""


@pytest.fixture(scope="module")
def machine_image(docker_daemon, docker_client) -> str:
    """Name of the image of a cloud's machine."""
    return import_machine(docker_client, cache=CACHE)


@pytest.fixture(scope="module")
def archive(build_context, tmp_path_factory) -> Path:
    """A release's archive, with the wheels that it is installed from."""
    path = tmp_path_factory.mktemp("release") / "cdeep3m.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(build_context, "cdeep3m-0.1.0")
    return path


@pytest.fixture(scope="module")
def provider(archive) -> Iterator[Provider]:
    """The provider, which has the archive."""
    with serve() as provider:
        provider.files["/release.tar.gz"] = archive.read_bytes()
        yield provider


def user_data(settings: dict[str, object]) -> str:
    """Return cloud-init.yaml as somebody edited it."""
    text = (CLOUD / "cloud-init.yaml").read_text()
    for name, value in settings.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f'        "{name}": ')]
        text = text.replace(line, f'        "{name}": {json.dumps(value)}' + "," * line.endswith(","))
    return text


def tar_of(files: dict[str, str]) -> bytes:
    """Return a tar file with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.fixture(scope="module")
def machine(docker_client, machine_image, archive, provider) -> Iterator[Container]:
    """A machine that has just been started with user data; no package index can be reached from it."""
    settings = {
        "archive": f"{provider.address}/release.tar.gz", "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "device": "auto", "bucket": "lab-data", "idle_minutes": 1, "signal": f"{provider.address}/signal",
    }  # fmt: skip
    container = docker_client.containers.create(
        machine_image, ["/sbin/init"], cap_add=["SYS_ADMIN"], network_mode="host", tty=True,
        security_opt=["apparmor=unconfined", "seccomp=unconfined"], environment={"container": "docker"},
        tmpfs={"/run": "", "/tmp": "", "/sys/fs/cgroup": ""},
    )  # fmt: skip
    pip = "[global]\nno-index = true\n"
    files = {f"{SEED}/user-data": user_data(settings), f"{SEED}/meta-data": "instance-id: lab-1\n", "etc/pip.conf": pip}
    container.put_archive("/", tar_of(files))
    container.start()
    yield container
    container.remove(force=True)


def shell(machine: Container, command: str) -> str:
    """Run a command as root on the machine; return what it printed."""
    done = machine.exec_run(["sh", "-c", command])
    assert done.exit_code == 0, done.output.decode()
    return done.output.decode()


def log_of(machine: Container) -> str:
    return machine.exec_run(["cat", "/var/log/cdeep3m-boot.log"]).output.decode()


def wait_for(condition, machine: Container, seconds: float = LONGEST) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, log_of(machine)[-3000:]
        time.sleep(0.3)


def test_user_data_are_what_cloud_init_s_schema_allows(docker_client, machine_image, tmp_path):
    (tmp_path / "edited.yaml").write_text(user_data({"bucket": "lab-data", "idle_minutes": 0}))
    (tmp_path / "plain.yaml").write_text((CLOUD / "cloud-init.yaml").read_text())
    (tmp_path / "wrong.yaml").write_text("#cloud-config\nwrite_files: {}\n")
    said = docker_client.containers.run(
        machine_image, ["sh", "-c", "for f in /data/*; do cloud-init schema --config-file $f 2>&1; done; true"],
        volumes={str(tmp_path): {"bind": "/data", "mode": "ro"}}, network_mode="none", remove=True,
    )  # fmt: skip
    assert said.decode().count("Valid cloud-config") == 2
    assert "wrong.yaml is not valid" in said.decode() or "not of type 'array'" in said.decode()


def test_power_cut_in_the_middle_of_the_installation_is_no_end(machine, provider):
    wait_for(lambda: "Collecting" in log_of(machine) or "Processing" in log_of(machine), machine)
    machine.kill()
    assert provider.signals == []
    machine.start()
    wait_for(lambda: provider.signals, machine)
    ((signal, kind),) = provider.signals
    assert (signal["Status"], kind) == ("SUCCESS", ""), log_of(machine)[-3000:]
    assert signal["Reason"].endswith("is ready on the CPU: it predicted a plane")
    assert log_of(machine).count("cdeep3m for cpu, from the archive") == 2


def test_commands_are_there_and_a_plane_was_predicted(machine):
    version = (CLOUD.parents[1] / "pyproject.toml").read_text().split('version = "')[1].split('"')[0]
    assert version in shell(machine, "runprediction.sh --version")
    planes = shell(machine, "ls /var/lib/cdeep3m/first-plane/predicted/ensembled").split()
    assert [name for name in planes if name.endswith(".png")] == [f"Segmented_{z:04d}.png" for z in range(1, 6)]


def test_second_run_does_nothing_again(machine, provider):
    provider.signals.clear()
    before = shell(machine, "stat -c %Y /opt/cdeep3m/.ready /var/lib/cdeep3m/first-plane/READY")
    begin = time.monotonic()
    shell(machine, "cdeep3m-boot")
    assert time.monotonic() - begin < 60
    assert shell(machine, "stat -c %Y /opt/cdeep3m/.ready /var/lib/cdeep3m/first-plane/READY") == before
    assert [signal["Status"] for signal, _ in provider.signals] == ["SUCCESS"]


def test_user_without_rights_runs_commands_in_the_folder_of_work(machine):
    shell(machine, "useradd --create-home me")
    said = shell(machine, "su me -c 'mkdir /work/mine && cd /work/mine && cdeep3m engines && cdeep3m-job 2>&1 || true'")
    assert "embedded  usable" in said
    assert "usage: cdeep3m-job" in said
    assert shell(machine, "stat -c '%a %U' /etc/cdeep3m/cloud.json /etc/cdeep3m/job.json") == "600 root\n644 root\n"


def test_failure_is_told_with_its_reason(machine, provider):
    provider.signals.clear()
    shell(machine, "cp -p /etc/cdeep3m/cloud.json /var/tmp/kept")
    shell(machine, """sed -i 's/"device": "auto"/"device": "cuda"/' /etc/cdeep3m/cloud.json""")
    done = machine.exec_run(["cdeep3m-boot"])
    shell(machine, "cp -p /var/tmp/kept /etc/cdeep3m/cloud.json")
    assert done.exit_code == 1
    ((signal, _),) = provider.signals
    assert signal["Status"] == "FAILURE"
    assert signal["Reason"].startswith("expected a GPU with NVIDIA's driver, found no GPU")


def test_archive_that_is_not_the_release_s_is_refused_and_told(machine, provider):
    provider.signals.clear()
    shell(machine, f"""sed -i 's/"sha256": ".*"/"sha256": "{"0" * 64}"/' /etc/cdeep3m/cloud.json""")
    assert machine.exec_run(["cdeep3m-boot"]).exit_code == 1
    shell(machine, "cp -p /var/tmp/kept /etc/cdeep3m/cloud.json")
    assert provider.signals[0][0]["Reason"].startswith(f"expected an archive with the SHA-256 {'0' * 64}, found ")


def test_second_boot_at_the_same_time_is_refused(machine):
    done = machine.exec_run(["flock", "/run/cdeep3m-boot.lock", "cdeep3m-boot"])
    assert (done.exit_code, done.output.decode().count("\n")) == (1, 1)


def test_job_as_a_unit_outlives_the_login_and_ends_gently(machine):
    shell(machine, """echo '{}' >/etc/cdeep3m/job.json""")
    slow = "trap 'echo ended gently; exit 5' TERM; echo begun; while :; do sleep 0.1; done"
    said = shell(machine, f'''cdeep3m-job --detach slow sh -c "{slow}"''')
    assert "tail -f /work/slow.log" in said
    wait_for(lambda: "begun" in shell(machine, "cat /work/slow.log"), machine, 30)
    shell(machine, "cdeep3m-idle 1 /tmp/idle-state false | grep '^busy: .*cdeep3m-job'")
    shell(machine, "systemctl stop cdeep3m-job-slow")
    assert "ended gently" in shell(machine, "cat /work/slow.log")


def test_watch_is_a_timer_that_stops_the_idle_machine(machine):
    assert shell(
        machine, "systemctl is-enabled cdeep3m-idle.timer; systemctl is-active cdeep3m-idle.timer"
    ).split() == [
        "enabled",
        "active",
    ]
    shell(machine, "systemd-analyze verify /etc/systemd/system/cdeep3m-idle.*")
    ago = "print(time.clock_gettime(time.CLOCK_BOOTTIME) - 61)"
    shell(machine, f"python3 -c 'import time; {ago}' >/run/cdeep3m-idle")
    machine.exec_run(["systemctl", "start", "cdeep3m-idle.service"])
    assert machine.wait(timeout=120)["StatusCode"] in (0, 128 + 9, 130, 143)
