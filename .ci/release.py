"""Make a release's files, and check all of them that can be checked here.

usage: release.py check|files [ADDRESS]

check   builds wheel and source archive, checks their metadata, contents and links, installs both into a clean
        environment of every Python that is present, and runs the commands there
files   the same, and then dist/: the CloudFormation template and the cloud-init file with this archive's hash (and its
        address below ADDRESS, where it is given), a list of the components (CycloneDX), and the hashes of all
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
VERSION = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE).group(1)
NEEDED_BY_MACHINES = (
    *("constraints.txt", "pyproject.toml", "README.md", "LICENSE", "docker/install.sh", "docker/requirements.py"),
    *("docker/check_device.py", "docker/cloud/prepare.py", "docker/cloud/idle.py", "docker/cloud/job.py"),
)
SMOKE = (
    "cdeep3m --version",
    "runprediction.sh --version",
    "runtraining.sh --help",
    "caffe.bin --version",
    "cdeep3m --help",
)
READS_NETS = "import cdeep3m.caffe_models as c, pathlib as p; print(len([*p.Path(c.__path__[0]).rglob('*.prototxt')]))"


class ReleaseError(Exception):
    """What is wrong with the release, in one line."""


def main(words: list[str]) -> int:
    """Check, or make the files; return the exit status."""
    if words[:1] not in (["check"], ["files"]) or len(words) > 2:
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 1
    try:
        wheel, archive = build()
        check_versions()
        check_wheel(wheel)
        check_archive(archive)
        check_links()
        check_installations(wheel, archive)
        if words[0] == "files":
            write_files(archive, words[1] if words[1:] else "")
    except ReleaseError as error:
        print(f"ERROR, {error}", file=sys.stderr)
        return 1
    print(f"{', '.join(sorted(path.name for path in DIST.iterdir()))}: all is well")
    return 0


def build() -> tuple[Path, Path]:
    """Build wheel and source archive anew, each from what the other step does not touch."""
    shutil.rmtree(DIST, ignore_errors=True)
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)  # the wheel is built from the archive
    run(sys.executable, "-m", "twine", "check", "--strict", *DIST.iterdir())
    (wheel,), (archive,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    return wheel, archive


def check_versions() -> None:
    """Refuse versions that differ, and a release that the changes do not mention."""
    places = {
        "docker/Dockerfile": rf"^ARG VERSION={re.escape(VERSION)}$",
        "docker/cdeep3m.def": rf"image.version {re.escape(VERSION)}$",
        "docker/compose.yaml": rf"image: cdeep3m:{re.escape(VERSION)}$",
        "CHANGELOG.md": rf"^## {re.escape(VERSION)} ",
    }
    for name, pattern in places.items():
        if not re.search(pattern, (ROOT / name).read_text(), re.MULTILINE):
            raise ReleaseError(f"{name} does not name version {VERSION} of pyproject.toml")


def check_wheel(wheel: Path) -> None:
    """Refuse a wheel that lacks a command or a net, holds what is no part of it, or says too little of itself."""
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        (metadata,) = (file.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        (entries,) = (file.read(name).decode() for name in names if name.endswith(".dist-info/entry_points.txt"))
    commands = {name for name, _ in command_table()}
    found = {line.split(" = ")[0] for line in entries.splitlines() if " = " in line}
    if commands - found:
        raise ReleaseError(f"{wheel.name} lacks the commands {', '.join(sorted(commands - found))}")
    nets = {path.relative_to(ROOT).as_posix() for path in (ROOT / "caffe_models").rglob("*.prototxt")}
    if lacking := {f"cdeep3m/{name}" for name in nets} - {*names}:
        raise ReleaseError(f"{wheel.name} lacks {', '.join(sorted(lacking))}")
    if foreign := [name for name in names if re.search(r"(^|/)(tests?|__pycache__)/|\.py[cod]$", name)]:
        raise ReleaseError(f"{wheel.name} holds {', '.join(foreign)}")
    said = Parser().parsestr(metadata)
    if (said["Name"], said["Version"], said["License-Expression"]) != ("cdeep3m", VERSION, "MIT"):
        raise ReleaseError(f"{wheel.name} calls itself {said['Name']} {said['Version']} {said['License-Expression']}")


def command_table() -> list[tuple[str, str]]:
    """Return every command and its module, as scripts/README.md lists them."""
    return re.findall(
        r"^\| `([^`]+)` \| `([a-z0-9_]+)` \|$", (ROOT / "scripts" / "README.md").read_text(), re.MULTILINE
    )


def check_archive(archive: Path) -> None:
    """Refuse an archive from which a machine in the cloud could not install."""
    with tarfile.open(archive) as file:
        names = file.getnames()
    tops = {name.split("/")[0] for name in names}
    if tops != {f"cdeep3m-{VERSION}"}:
        raise ReleaseError(f"{archive.name} holds {', '.join(sorted(tops))}, expected one folder cdeep3m-{VERSION}")
    if lacking := [name for name in NEEDED_BY_MACHINES if f"cdeep3m-{VERSION}/{name}" not in names]:
        raise ReleaseError(f"{archive.name} lacks {', '.join(lacking)}")


def check_links() -> None:
    """Refuse a page with a link to a file that is not there, or to an address that is none."""
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "docker/README.md", ROOT / "CHANGELOG.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path = target.partition("#")[0]
            good = (
                re.fullmatch(r"https://[\w.-]+\.\w+(/\S*)?", path) if "://" in path else (page.parent / path).exists()
            )
            if not good:
                raise ReleaseError(f"{page.relative_to(ROOT)} has a link to {target}, which is not there")


def check_installations(wheel: Path, archive: Path) -> None:
    """Install both into clean environments of every Python here, and run commands there."""
    found = [python for version in PYTHONS if (python := find_python(version))]
    if not found:
        raise ReleaseError(f"no Python of {', '.join(PYTHONS)} is here")
    for python in found:
        for package in (wheel, archive):
            check_installation(python, package)


def find_python(version: str) -> Path | None:
    """Return a Python of that version that can make environments; None where there is none.

    RELEASE_PYTHONS, a list of versions, leaves others out.
    """
    if version not in os.environ.get("RELEASE_PYTHONS", version).split():
        return None
    managed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    places = [*managed, *filter(None, [shutil.which(f"python{version}")])]
    test = f"import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != ({version.replace('.', ', ')}))"
    for place in map(Path, places):
        if subprocess.run([place, "-c", test], capture_output=True, check=False).returncode == 0:
            return place
    return None


def check_installation(python: Path, package: Path) -> None:
    """Install a file into a clean environment of `python`, and run commands in a folder that is not the clone."""
    home = ROOT / "build" / "release"
    shutil.rmtree(home, ignore_errors=True)
    run(python, "-m", "venv", home)
    pip = (home / "bin" / "python3", "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--constraint", ROOT / "constraints.txt", package)
    run(*pip, "check")
    for command in SMOKE:
        name, *words = command.split()
        run(home / "bin" / name, *words, folder=home)
    nets = len(list((ROOT / "caffe_models").rglob("*.prototxt")))
    if int(run(home / "bin" / "python3", "-c", READS_NETS, folder=home)) != nets:
        raise ReleaseError(f"{package.name} installed fewer than the {nets} files of the nets")
    print(
        f"{package.name} on {run(home / 'bin' / 'python3', '--version').strip()}: {len(SMOKE)} commands ran", flush=True
    )


def write_files(archive: Path, address: str) -> None:
    """Write the template, the cloud-init file, the list of components and the hashes to dist/."""
    sha256 = digest(archive)
    place = f"{address.rstrip('/')}/{archive.name}" if address else ""
    template = (ROOT / "docker/cloud/cdeep3m.yaml").read_text()
    (DIST / "cdeep3m.yaml").write_text(with_defaults(template, {"ArchiveSha256": sha256, "Archive": place}))
    config = (ROOT / "docker/cloud/cloud-init.yaml").read_text()
    filled = config.replace('"sha256": ""', f'"sha256": "{sha256}"').replace('"archive": ""', f'"archive": "{place}"')
    (DIST / "cloud-init.yaml").write_text(filled)
    components = DIST / f"cdeep3m-{VERSION}.cdx.json"
    run(
        *(sys.executable, "-m", "cyclonedx_py", "environment", ROOT / "build" / "release"),
        *("--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--output-file", components),
    )
    names = {one["name"] for one in json.loads(components.read_text())["components"]}
    if "numpy" not in names:
        raise ReleaseError(f"{components.name} lists {len(names)} components, and numpy is not among them")
    paths = sorted(DIST.iterdir())
    (DIST / "SHA256SUMS").write_text("".join(f"{digest(path)}  {path.name}\n" for path in paths))


def with_defaults(template: str, values: dict[str, str]) -> str:
    r"""Return the template with defaults for parameters that have none; an empty value leaves it so.

    Examples
    --------
    >>> print(with_defaults("  Archive:\n    Type: String\n", {"Archive": "https://x"}), end="")
      Archive:
        Type: String
        Default: "https://x"
    """
    for name, value in values.items():
        begin, count = re.subn(
            rf"(^  {name}:\n(?:    .*\n)*?    Type: String\n)",
            lambda found, value=value: found[1] + f'    Default: "{value}"\n' * bool(value),
            template,
            flags=re.MULTILINE,
        )
        if count != 1:
            raise ReleaseError(f"the template has {count} parameters {name}, expected one")
        template = begin
    return template


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """Run a command with nothing of this environment's Python in it; return what it printed.

    Raises
    ------
    ReleaseError
        It failed; with its last words.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        raise ReleaseError(f"{' '.join(map(str, command))[:200]} ended with {done.returncode}: {' | '.join(said[-5:])}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
