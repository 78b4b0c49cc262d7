#!/usr/bin/env python3
"""Run a command of cdeep3m in a folder that outlives this machine.

usage: cdeep3m-job [--detach] NAME COMMAND [ARGUMENT ...]
       cdeep3m-job NAME            only make the folder and the bucket the same

The command runs in /work/NAME. With a bucket, that is s3://BUCKET/NAME: what is not here yet is brought first, and what
is new is put back every few minutes and at the end, oldest first, so that the bucket is always a state from which the
same command goes on, on this machine or on a new one. Only what was brought or put is ever deleted in the bucket.
SIGTERM, Ctrl-C and the notice that a spot machine is about to be taken away end the command as it likes to be ended;
then all is put back. Exit status: the command's; 1 an error; 143 ended by SIGTERM or such a notice.
--detach: go on when you log out; what is said goes to /work/NAME.log.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = Path(os.environ.get("CDEEP3M_JOB_SETTINGS", "/etc/cdeep3m/job.json"))
WORK = Path(os.environ.get("CDEEP3M_WORK", "/work"))
METADATA = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254")
EVERY = float(os.environ.get("CDEEP3M_JOB_SECONDS", "300"))
LAST_TRIES = 12
NOTICE_EVERY = 5.0
TICK = 0.2
TERMINATED = 128 + signal.SIGTERM
TIME = "mtime-ns"
"""Name under which an object keeps its file's time, which a run that goes on may look at."""
LINK = "link-to"
"""Name under which the object of a folder that is a link keeps what it is a link to."""
PARTIAL = re.compile(r"\..*\.partial")
"""Names of files that are being written."""


class JobError(Exception):
    """What keeps a job from running, in one line."""


def main(words: list[str]) -> int:
    """Run the job; return the exit status."""
    detach = words[:1] == ["--detach"]
    name, *command = words[detach:] or [""]
    try:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or (detach and not command):
            raise JobError("usage: cdeep3m-job [--detach] NAME COMMAND [ARGUMENT ...]; NAME has letters, digits, . _ -")
        settings = json.loads(SETTINGS.read_text()) if SETTINGS.is_file() else {}
        if detach:
            return start_unit(name, command)
        with lock(WORK / f".{name}.lock"):
            return run_job(name, command, settings)
    except (JobError, OSError, ValueError) as error:
        print(f"ERROR, {error}", file=sys.stderr)
        return 1


def start_unit(name: str, command: list[str]) -> int:
    """Start the job as a unit of systemd's, which outlives the login and is ended gently when the machine stops."""
    log = WORK / f"{name}.log"
    log.touch()
    options = {
        "User": str(os.getuid()), "Group": str(os.getgid()), "KillMode": "mixed", "TimeoutStopSec": "110",
        "StandardOutput": f"append:{log}", "StandardError": f"append:{log}",
    }  # fmt: skip
    unit = [
        "systemd-run",
        "--collect",
        f"--unit=cdeep3m-job-{name}",
        *(f"--property={k}={v}" for k, v in options.items()),
    ]
    sudo = ["sudo", "-n"] if os.getuid() else []
    status = subprocess.call([*sudo, *unit, sys.executable, os.path.abspath(__file__), name, *command])
    if not status:
        print(f"{name} runs; `tail -f {log}` shows it, `sudo systemctl stop cdeep3m-job-{name}` ends it")
    return status


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one job at a time run in a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise JobError(f"another job runs in {path.name[1 : -len('.lock')]}: wait for it, or end it") from None
        yield


def run_job(name: str, command: list[str], settings: dict[str, Any]) -> int:
    """Bring the folder, run the command in it, and put back what it made."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    mirror = open_mirror(folder, settings)
    stop = Stop(watch_spot=bool(settings.get("spot")))
    if mirror:
        print(f"brought {mirror.bring()} files from s3://{mirror.bucket}/{name}", flush=True)
    status = follow(command, folder, mirror, stop) if command and not stop.asked() else 0
    if mirror:
        print(f"put {put_at_last(mirror, stop)} files into s3://{mirror.bucket}/{name}", flush=True)
    return TERMINATED if stop.asked() else status


def follow(command: list[str], folder: Path, mirror: Mirror | None, stop: Stop) -> int:
    """Run a command to its end, putting back every few minutes; end it where that is wished. Return its status."""
    try:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, start_new_session=True)
    except FileNotFoundError:
        raise JobError(f"no command {command[0]}") from None
    told, due = False, time.monotonic() + EVERY
    while process.poll() is None:
        if stop.asked() and not told:
            print(f"ending {command[0]}: {stop.reason}", flush=True)
            process.terminate()
            told = True
        if mirror and not told and time.monotonic() > due:
            try_to_put(mirror)
            due = time.monotonic() + EVERY
        time.sleep(TICK)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def try_to_put(mirror: Mirror) -> None:
    """Put back what is new; what fails now is tried again in a while."""
    try:
        mirror.put()
    except JobError as error:
        print(f"WARNING, not put back yet: {error}", file=sys.stderr, flush=True)


def put_at_last(mirror: Mirror, stop: Stop) -> int:
    """Put back what is new, trying for an hour: an idle machine stops, and a spot machine's disk goes with it."""
    for left in reversed(range(LAST_TRIES)):
        try:
            return mirror.put()
        except JobError as error:
            if not left or stop.asked():
                raise JobError(f"{error}; what is new is in {mirror.folder} on this machine alone") from None
            print(f"WARNING, not put back yet: {error}", file=sys.stderr, flush=True)
            time.sleep(EVERY)
    raise AssertionError


class Stop:
    """The wish that the job ends: a signal, or the notice that this spot machine is about to be taken away.

    Attributes
    ----------
    reason : str
        What asked for it; empty while nothing did.
    """

    def __init__(self, *, watch_spot: bool) -> None:
        self.reason = ""
        self._watch_spot = watch_spot
        self._looked = -NOTICE_EVERY
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    def asked(self) -> bool:
        """Whether the job is to end."""
        if self._watch_spot and not self.reason and time.monotonic() - self._looked >= NOTICE_EVERY:
            self._looked = time.monotonic()
            self.reason = spot_notice()
        return bool(self.reason)

    def _note(self, number: int, _: object) -> None:
        self.reason = signal.Signals(number).name


def spot_notice() -> str:
    """Return what the provider says of taking this machine away; nothing where it does not."""
    hour = {"X-aws-ec2-metadata-token-ttl-seconds": "3600"}
    asked = urllib.request.Request(f"{METADATA}/latest/api/token", headers=hour, method="PUT")
    try:
        with urllib.request.urlopen(asked, timeout=2) as answer:
            token = {"X-aws-ec2-metadata-token": answer.read().decode()}
        action = urllib.request.Request(f"{METADATA}/latest/meta-data/spot/instance-action", headers=token)
        with urllib.request.urlopen(action, timeout=2) as answer:
            return f"this spot machine is taken away: {answer.read().decode()}"
    except OSError:
        return ""


def open_mirror(folder: Path, settings: dict[str, Any]) -> Mirror | None:
    """Return the folder's mirror in the bucket; None where there is no bucket."""
    if not settings.get("bucket"):
        return None
    try:
        import boto3
    except ImportError:
        raise JobError("a bucket needs boto3: apt install python3-boto3") from None
    client = boto3.client("s3", endpoint_url=settings.get("endpoint") or None)
    ledger = folder.with_name(f".{folder.name}.mirror.json")
    return Mirror(folder=folder, bucket=settings["bucket"], client=client, ledger=ledger)


@dataclass(kw_only=True)
class Mirror:
    """A folder here, and the same under its name in a bucket.

    Attributes
    ----------
    folder : Path
        The folder here; its name is the prefix in the bucket.
    bucket : str
        The bucket.
    client : boto3 client
        S3, or a store that speaks its language.
    ledger : Path
        File that says which files are known to be the same on both sides: size, time and the object's tag of each.
    """

    folder: Path
    bucket: str
    client: Any
    ledger: Path
    _known: dict[str, list[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self._known = json.loads(self.ledger.read_text()) if self.ledger.is_file() else {}

    def bring(self) -> int:
        """Bring what the bucket has and the folder lacks, or has as it was before; return how many files.

        A file that was changed here since stays as it is.
        """
        count = 0
        with self._reaching():
            objects = self._objects()
            links = {name: target for name in objects if name.endswith("/") and (target := self._target(name))}
            linked = [name for name in objects if any(name.startswith(link) for link in links)]
            for name in sorted(name for name in objects if not name.endswith("/") and name not in linked):
                path, known = self.folder / name, self._known.get(name)
                if path.exists() and (known is None or known[2] == objects[name] or known[:2] != state(path)):
                    continue
                self._bring(name, path, objects[name])
                count += 1
            self._link(links)
            now = dict(self._files())
            self._known |= {name: [*now[name], objects[name]] for name in linked if name in now}
        return count

    def put(self) -> int:
        """Put what is new or changed here into the bucket, oldest first; delete what went. Return how many were put."""
        files = dict(self._files())
        new = [name for name, found in files.items() if self._known.get(name, [])[:2] != found]
        with self._reaching():
            for name in sorted(new, key=lambda name: files[name][1]):
                self._put(name, files[name])
            for name in sorted({*self._known} - {*files}):
                self.client.delete_object(Bucket=self.bucket, Key=self._key(name))
                del self._known[name]
        return len(new)

    def _bring(self, name: str, path: Path, tag: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        self.client.download_file(self.bucket, self._key(name), str(partial))
        facts = self.client.head_object(Bucket=self.bucket, Key=self._key(name))
        nanoseconds = int(facts["Metadata"].get(TIME) or int(facts["LastModified"].timestamp()) * 10**9)
        os.utime(partial, ns=(nanoseconds, nanoseconds))
        partial.replace(path)
        self._known[name] = [*state(path), tag]

    def _target(self, name: str) -> str:
        """Return what a linked folder is a link to; nothing of a folder that is none."""
        found = self.client.head_object(Bucket=self.bucket, Key=self._key(name))["Metadata"].get(LINK, "")
        return found if found and self._inside(self.folder / name.rstrip("/"), found) else ""

    def _link(self, links: dict[str, str]) -> None:
        for name, target in links.items():
            path = self.folder / name.rstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() and not path.is_symlink():
                path.symlink_to(target)

    def _inside(self, path: Path, target: str) -> bool:
        """Whether a link at `path` would lead to another folder in this one, and not around in a circle."""
        found = Path(os.path.normpath(path.parent / target))
        return found.is_relative_to(self.folder) and not path.is_relative_to(found)

    def _put(self, name: str, found: list[Any]) -> None:
        try:
            if name.endswith("/"):
                link = {LINK: found[0]}
                self.client.put_object(Bucket=self.bucket, Key=self._key(name), Body=b"", Metadata=link)
            else:
                extra = {"Metadata": {TIME: str(found[1])}}
                self.client.upload_file(str(self.folder / name), self.bucket, self._key(name), ExtraArgs=extra)
        except FileNotFoundError:
            return  # the command removed it meanwhile
        tag = self.client.head_object(Bucket=self.bucket, Key=self._key(name))["ETag"]
        self._known[name] = [*found, tag]

    def _objects(self) -> dict[str, str]:
        """Return the tag of every object under the folder's name, by its path in the folder."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(""))
        found = {one["Key"]: one["ETag"] for page in pages for one in page.get("Contents", ())}
        names = {key[len(self._key("")) :]: tag for key, tag in found.items()}
        if bad := [name for name in names if ".." in name.split("/") or name.startswith("/")]:
            raise JobError(f"s3://{self.bucket}/{self._key(bad[0])} leads out of its folder: delete it")
        return {name: tag for name, tag in names.items() if name}

    def _files(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield each whole file of the folder: its path in it, its size and time.

        Of a folder that is a link to another one here: its path with a slash, its target, and the files that it shows.
        """
        walk = [self.folder]
        while walk:
            for path in listed(walk.pop()):
                name = path.relative_to(self.folder).as_posix()
                with contextlib.suppress(FileNotFoundError):  # the command works on
                    if path.is_dir() and path.is_symlink() and self._inside(path, os.readlink(path)):
                        yield f"{name}/", [os.readlink(path), 0]
                        walk.append(path)
                    elif path.is_dir() and not path.is_symlink():
                        walk.append(path)
                    elif path.is_file() and not PARTIAL.match(path.name):
                        yield name, state(path)

    def _key(self, name: str) -> str:
        return f"{self.folder.name}/{name}"

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Say in one line what keeps the bucket from being reached; note what was done in any case."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (Boto3Error, BotoCoreError, ClientError) as error:
            raise JobError(f"s3://{self.bucket}/{self._key('')}: {' '.join(str(error).split())}") from None
        finally:
            self._write_ledger()

    def _write_ledger(self) -> None:
        partial = self.ledger.with_name(f"{self.ledger.name}.partial")
        partial.write_text(json.dumps(self._known))
        partial.replace(self.ledger)


def listed(folder: Path) -> list[Path]:
    """List a folder; one that the command has removed meanwhile is empty."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def state(path: Path) -> list[int]:
    """Return the size and the time (ns) of a file."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
