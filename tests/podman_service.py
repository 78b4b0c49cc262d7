"""Podman's Docker-compatible socket, of the tests' own: storage, settings and socket in one folder, which goes with it.

As root Podman runs as it is, or rootless as a user without any rights and without subordinate numbers; elsewhere it
runs rootless as the caller. What this machine allows is found out with one container of two files.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from docker_daemon import SYSTEM_PATH, pings

NOBODY = 65534
ENOUGH = 1024
"""Files and processes that a container needs at most."""
STARTING = 30
"""Seconds that the service may need to answer."""

CONTAINERS = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "{runtime}"
"""
"""Limits below those of this process: more than that needs rights that not every machine's root has. crun refuses
control groups of both versions side by side; runc, which Docker brings, does not."""

STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
rootless_storage_path = "{folder}/storage"
runroot = "{folder}/run"
[storage.options.overlay]
ignore_chown_errors = "{rootless}"
"""


class RefusedError(Exception):
    """This machine cannot run Podman, for a reason that is not the tests'."""


def find_obstacle(*, rootless: bool) -> str | None:
    """Say what keeps Podman from being tried here; None where nothing does."""
    if sys.platform != "linux":
        return f"Podman needs Linux, this is {sys.platform}"
    if not rootless and os.geteuid():
        return f"only root can run Podman as root, this is user {os.geteuid()}"
    for tool, package in (("podman", "podman"), ("setpriv", "util-linux")):
        if shutil.which(tool, path=SYSTEM_PATH) is None:
            return f"no {tool} on PATH (Debian: apt install {package})"
    return None


class PodmanService:
    """`podman system service` in a folder of its own.

    Attributes
    ----------
    folder : Path
        Everything that it writes.
    host : str
        Address for DOCKER_HOST.
    """

    def __init__(self, *, rootless: bool) -> None:
        self.rootless = rootless
        self.folder = Path(tempfile.mkdtemp(prefix="cdeep3m-podman-"))
        self.host = f"unix://{self.folder}/podman.sock"
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("home", "runtime", "storage", "run"):
            (self.folder / name).mkdir()
        (self.folder / "containers.conf").write_text(
            CONTAINERS.format(
                files=_limit(resource.RLIMIT_NOFILE),
                processes=_limit(resource.RLIMIT_NPROC),
                runtime="runc" if shutil.which("runc", path=SYSTEM_PATH) else "crun",
            )
        )
        storage = STORAGE.format(folder=self.folder, rootless=str(rootless).lower())
        (self.folder / "storage.conf").write_text(storage)
        if self.user(rootless=rootless) != os.geteuid():
            self.folder.chmod(0o755)
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)

    @staticmethod
    def user(*, rootless: bool) -> int:
        """Return who Podman runs as."""
        return NOBODY if rootless and not os.geteuid() else os.geteuid()

    def start(self) -> None:
        """Start the service; return when it answers and has run a container.

        Raises
        ------
        RefusedError
            This machine does not permit what Podman needs.
        """
        self._try_a_container()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("system", "service", "--time=0", self.host),
                env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        end = time.monotonic() + STARTING
        while not pings(self.host.removeprefix("unix://")):
            if self._process.poll() is not None or time.monotonic() > end:
                raise RefusedError(f"Podman does not answer: {(self.folder / 'log').read_text()[-500:]}")
            time.sleep(0.1)

    def load(self, archive: Path) -> None:
        """Take the images of a `docker save` archive."""
        with archive.open("rb") as images:
            self._run("load", stdin=images)

    def stop(self) -> None:
        """End it and remove its folder."""
        if self._process is not None:
            subprocess.run(
                self._command("rm", "--all", "--force"), env=self._environment(), cwd=self.folder,
                capture_output=True, check=False,
            )  # fmt: skip
            self._process.terminate()
            self._process.wait()
        subprocess.run(
            self._command("system", "reset", "--force"), env=self._environment(), cwd=self.folder,
            capture_output=True, check=False,
        )  # fmt: skip
        shutil.rmtree(self.folder, ignore_errors=True)

    def _try_a_container(self) -> None:
        """Import two files as an image and run one of them."""
        archive = self.folder / "tiny.tar"
        programs = [Path("/bin/true"), *_libraries("/bin/true")]
        with tarfile.open(archive, "w", dereference=True) as tar:
            for program in programs:
                tar.add(program.resolve(), arcname=str(program))
        archive.chmod(0o644)
        try:
            self._run("import", str(archive), "tiny:1")
            self._run("run", "--rm", "--network=none", "tiny:1", "/bin/true")
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
            raise RefusedError(f"Podman cannot run a container here: {said[-1]}") from None

    def _run(self, *words: str, stdin: object = subprocess.DEVNULL) -> None:
        subprocess.run(
            self._command(*words),
            env=self._environment(),
            stdin=stdin,
            capture_output=True,
            check=True,
            cwd=self.folder,
        )

    def _command(self, *words: str) -> list[str]:
        as_nobody = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        who = as_nobody if self.user(rootless=self.rootless) != os.geteuid() else []
        return ["setpriv", *who, "--pdeathsig", "TERM", "podman", *words]

    def _environment(self) -> dict[str, str]:
        folders = {"HOME": "home", "XDG_RUNTIME_DIR": "runtime"}
        files = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_STORAGE_CONF": "storage.conf"}
        return {"PATH": SYSTEM_PATH, **{name: str(self.folder / path) for name, path in (folders | files).items()}}


def _limit(kind: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)


def _libraries(program: str) -> list[Path]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(word) for line in said.splitlines() for word in line.split() if word.startswith("/")]
