#!/usr/bin/env python3
"""Install this release on a machine in the cloud, step by step; boot.py runs it as root from the unpacked archive.

usage: prepare.py SETTINGS

Steps that are done are not done again, and one that was interrupted is begun anew. The last line says what is ready;
an error is one line that begins with `ERROR,`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CLOUD = Path(__file__).resolve().parent
RELEASE = CLOUD.parents[1]
HOME = Path("/opt/cdeep3m")
BIN = Path("/usr/local/bin")
WORK = Path("/work")
UNITS = Path("/etc/systemd/system")
PROOF = Path("/var/lib/cdeep3m/first-plane")
NVIDIA = "0x10de"
DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")

SERVICE = """\
[Unit]
Description=Stop this machine when it has been idle for {minutes} minutes

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/cdeep3m-idle {minutes}
"""
TIMER = """\
[Unit]
Description=Look once a minute whether this machine is idle

[Timer]
OnActiveSec=60
OnUnitActiveSec=60
AccuracySec=5

[Install]
WantedBy=timers.target
"""
LIST_COMMANDS = "import importlib.metadata as m; print(*(f.name for f in m.files('cdeep3m') if f.parent.name == 'bin'))"
MAKE_VOLUME = """\
import numpy as np
from PIL import Image
grays = np.random.default_rng(0).integers(0, 255, (5, 112, 120), dtype=np.uint8)
for name, planes in (("images", grays), ("labels", (grays > 127) * np.uint8(255))):
    for z, plane in enumerate(planes):
        Image.fromarray(plane).save(f"{name}/plane_{z + 1:04d}.png")
"""
SHORT = ("--width", "32", "--patch_side", "64", "--numiterations", "1", "--iter_size", "1", "--bn_fraction", "0.5")


class PrepareError(Exception):
    """What could not be done, in one line."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What /etc/cdeep3m/cloud.json asks for.

    Attributes
    ----------
    sha256 : str
        Hash of the release's archive.
    image : str
        Image to run, `NAME@sha256:...`; empty: install from the archive.
    device : str
        `cuda`, `cpu`, or `auto`: cuda where this machine has a GPU of NVIDIA's.
    package_index : str
        A package index besides pip's own, such as that of PyTorch's CPU builds.
    bucket, endpoint : str
        S3 bucket of images and maps, or nothing; address of its service, where that is not AWS's.
    spot : bool
        Whether AWS may take this machine away.
    idle_minutes : int
        Minutes of idleness after which the machine stops; 0: never.
    """

    sha256: str
    image: str = ""
    device: str = "auto"
    package_index: str = ""
    bucket: str = ""
    endpoint: str = ""
    spot: bool = False
    idle_minutes: int = 30

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise PrepareError(f"device: expected auto, cpu or cuda, found {self.device!r}")
        if self.image and not DIGEST.fullmatch(self.image):
            raise PrepareError(f"image: expected NAME@sha256:..., found {self.image!r}, which can change")
        if self.idle_minutes < 0:
            raise PrepareError(f"idle_minutes: expected 0 or more, found {self.idle_minutes}")


def main(words: list[str]) -> int:
    """Do every step that is not done; return the exit status."""
    try:
        settings = read_settings(Path(words[0]))
        watch(settings.idle_minutes)
        allow_jobs(settings)
        device = find_device(settings.device)
        install_packages(settings)
        install(settings, device)
        check_engine(device)
        version = predict_plane(settings, device)
    except (PrepareError, OSError) as error:
        print(f"ERROR, {error}", flush=True)
        return 1
    print(f"{version} is ready on {'the GPU' if device == 'cuda' else 'the CPU'}: it predicted a plane")
    return 0


def read_settings(path: Path) -> Settings:
    """Read the settings that count here, as they are or as the text that a template makes of them."""
    found = json.loads(path.read_text())
    known = {name: found[name] for name in Settings.__dataclass_fields__ if name in found}
    return Settings(**{**known, "idle_minutes": int(known.get("idle_minutes", 30))})


def watch(minutes: int) -> None:
    """Let systemd look once a minute whether this machine is idle."""
    say("the idle watch")
    put(CLOUD / "idle.py", Path("/usr/local/sbin/cdeep3m-idle"), 0o755)
    if not minutes:
        run_quietly("systemctl", "disable", "--now", "cdeep3m-idle.timer")
        return
    if not Path("/run/systemd/system").is_dir():
        raise PrepareError("no systemd runs here, so nothing would stop this machine: set idle_minutes to 0")
    write(UNITS / "cdeep3m-idle.service", SERVICE.format(minutes=minutes))
    write(UNITS / "cdeep3m-idle.timer", TIMER)
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--now", "cdeep3m-idle.timer")


def allow_jobs(settings: Settings) -> None:
    """Make the folder of all work, and the command that runs a job in it."""
    WORK.mkdir(exist_ok=True)
    WORK.chmod(0o1777)
    put(CLOUD / "job.py", BIN / "cdeep3m-job", 0o755)
    facts = {"bucket": settings.bucket, "endpoint": settings.endpoint, "spot": settings.spot}
    write(Path("/etc/cdeep3m/job.json"), json.dumps(facts) + "\n")


def find_device(wanted: str) -> str:
    """Return cpu or cuda.

    Raises
    ------
    PrepareError
        The GPU that is asked for, or that is there, has no driver.
    """
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    has_gpu = any(path.read_text().strip() == NVIDIA for path in vendors)
    if wanted == "cpu" or (wanted == "auto" and not has_gpu):
        return "cpu"
    if shutil.which("nvidia-smi") is None:
        found = "a GPU and no driver for it" if has_gpu else "no GPU of NVIDIA's"
        raise PrepareError(
            f"expected a GPU with NVIDIA's driver, found {found}: start from a machine image that has it"
        )
    return "cuda"


def install_packages(settings: Settings) -> None:
    """Install what the distribution has and the machine lacks."""
    missing = []
    if settings.image:
        missing += [] if shutil.which("docker") else ["docker.io"]
    elif run_quietly("python3", "-c", "import ensurepip, venv"):
        missing += ["python3-venv"]
    if settings.bucket and run_quietly("python3", "-c", "import boto3"):
        missing += ["python3-boto3"]
    if missing:
        say(f"packages: {' '.join(missing)}")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        wait = ("-o", "DPkg::Lock::Timeout=300")
        run("apt-get", *wait, "update", environment=quiet)
        run("apt-get", *wait, "install", "--yes", "--no-install-recommends", *missing, environment=quiet)


def install(settings: Settings, device: str) -> None:
    """Install cdeep3m, from its image or from the archive, and put its commands on PATH."""
    if settings.image:
        say(f"the image {settings.image}")
        run("docker", "pull", settings.image)
        runner = write(BIN / "cdeep3m-in-image", in_image(settings.image, device), 0o755)
        names = run("docker", "run", "--rm", "--network", "none", settings.image, "python3", "-c", LIST_COMMANDS)
        link(dict.fromkeys(names.split(), runner))
        write(BIN / "cdeep3m-python", f'#!/bin/sh\nexec {BIN}/cdeep3m-in-image python3 "$@"\n', 0o755)
        return
    build(settings, device)
    write(BIN / "cdeep3m-python", f'#!/bin/sh\nexec {HOME}/bin/python3 "$@"\n', 0o755)
    names = run(HOME / "bin" / "python3", "-c", LIST_COMMANDS)
    link({name: HOME / "bin" / name for name in names.split()})


def build(settings: Settings, device: str) -> None:
    """Make /opt/cdeep3m by the steps of the image, unless this very archive is there, for this device."""
    marker, wanted = HOME / ".ready", f"{settings.sha256} {device}\n"
    if marker.is_file() and marker.read_text() == wanted:
        return
    say(f"cdeep3m for {device}, from the archive")
    shutil.rmtree(HOME, ignore_errors=True)
    shutil.rmtree(RELEASE / "tools", ignore_errors=True)
    index = {"PIP_EXTRA_INDEX_URL": settings.package_index} if settings.package_index else {}
    for step in (("tools",), ("dependencies", device), ("package",)):
        run("docker/install.sh", *step, environment=index, folder=RELEASE)
    write(marker, wanted)


def in_image(image: str, device: str) -> str:
    """Return a script that runs the command whose name it has in the image, with the files below its folder."""
    gpus = "--gpus all " if device == "cuda" else ""
    return f"""\
#!/bin/sh
# A command of cdeep3m, in its image: it sees the working folder and /work, and no network.
name=${{0##*/}}
[ "$name" = cdeep3m-in-image ] || set -- "$name" "$@"
[ -w /var/run/docker.sock ] || sudo="sudo -n"
[ -t 0 ] && [ -t 1 ] && tty=-t
exec ${{sudo-}} docker run --rm --init -i ${{tty-}} {gpus}--network none --user "$(id -u):$(id -g)" \\
    -v {WORK}:{WORK} -v "$PWD:$PWD" -w "$PWD" {image} "$@"
"""


def link(commands: dict[str, Path]) -> None:
    """Make each name a command."""
    for name, target in commands.items():
        partial = BIN / f".{name}.partial"
        partial.unlink(missing_ok=True)
        partial.symlink_to(target)
        partial.replace(BIN / name)


def check_engine(device: str) -> None:
    """Let `cdeep3m engines` say what can run here.

    Raises
    ------
    PrepareError
        The embedded engine cannot, or it cannot use the GPU.
    """
    say("the engine")
    said = run(BIN / "cdeep3m", "engines")
    embedded = re.search(r"^embedded +(.*(?:\n {10}- .*)*)", said, re.MULTILINE)
    verdict = " ".join(embedded.group(1).split()) if embedded else said
    on_gpu = re.search(r"; \d+ GPUs?\b", verdict) and " for this PyTorch" not in verdict
    if not verdict.startswith("usable") or (device == "cuda" and not on_gpu):
        raise PrepareError(f"cdeep3m cannot use the {'GPU' if device == 'cuda' else 'CPU'} of this machine: {verdict}")


def predict_plane(settings: Settings, device: str) -> str:
    """Train the smallest net for a moment and predict five planes with it; return the version that did."""
    version = run(BIN / "runprediction.sh", "--version").strip()
    marker, wanted = PROOF / "READY", f"{settings.sha256} {settings.image} {device}\n"
    if marker.is_file() and marker.read_text() == wanted:
        return version
    say("a first plane")
    shutil.rmtree(PROOF, ignore_errors=True)
    for name in ("images", "labels"):
        (PROOF / name).mkdir(parents=True)
    usual = ("--models", "1fm", "--gpu", "0" if device == "cuda" else "-1")
    run(BIN / "cdeep3m-python", "-c", MAKE_VOLUME, folder=PROOF)
    run(BIN / "cdeep3m", "train", *usual, *SHORT, "images", "labels", "trained", folder=PROOF)
    run(BIN / "runprediction.sh", *usual, "--augspeed", "10", "trained", "images", "predicted", folder=PROOF)
    found = len(list((PROOF / "predicted" / "ensembled").glob("Segmented_*.png")))
    if found != 5:
        raise PrepareError(f"expected 5 predicted planes in {PROOF}/predicted/ensembled, found {found}")
    write(marker, wanted)
    return version


def run(*command: str | Path, folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a command, showing what it says; return its standard output.

    Raises
    ------
    PrepareError
        It failed; with its last words.
    """
    words = [str(word) for word in command]
    said = []
    with subprocess.Popen(
        words, cwd=folder, env={**os.environ, **(environment or {})}, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        for line in process.stdout or ():
            print(f"  {line}", end="", flush=True)
            said.append(line)
    if process.returncode:
        errors = [line for line in said if re.match(r"(ERROR|E)[,:] ", line)] or said or [""]
        raise PrepareError(f"{' '.join(words)[:80]} ended with {process.returncode}: {errors[-1].strip()}")
    return "".join(said)


def run_quietly(*command: str) -> int:
    """Run a command, and return its exit status; 127 where there is no such command."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode
    except FileNotFoundError:
        return 127


def put(source: Path, target: Path, mode: int) -> None:
    """Copy a file of the release to its place."""
    write(target, source.read_text(), mode)


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    """Write a file, whole or not at all; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.chmod(mode)
    return partial.replace(path)


def say(step: str) -> None:
    """Name the step that begins."""
    print(f"cdeep3m-boot: {step}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
