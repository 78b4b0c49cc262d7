#!/usr/bin/env python3
"""Make this machine ready: fetch the release's archive, check it, run what it says, and tell how it went.

cloud-init runs this as root at every start: what is done is not done again, and what was interrupted goes on.
`sudo cdeep3m-boot` does the same by hand.
What is to be done stands in /etc/cdeep3m/cloud.json; what was done, in /var/log/cdeep3m-boot.log.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request

SETTINGS = "/etc/cdeep3m/cloud.json"
HOME = "/var/lib/cdeep3m"
LOG = "/var/log/cdeep3m-boot.log"
LOCK = "/run/cdeep3m-boot.lock"
WATCH = "/usr/local/sbin/cdeep3m-idle"
TRIES = 5
LONGEST = 400


class BootError(Exception):
    """What keeps this machine from being ready, in one line."""


def main() -> None:
    """Make the machine ready, and tell how it went; one run at a time."""
    with open(LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit("ERROR, another cdeep3m-boot is at work: see " + LOG)
        settings = {}
        try:
            settings = read_settings(SETTINGS)
            said = prepare(unpack(fetch(settings["archive"], settings["sha256"])))
        except Exception as error:  # whatever it is, the stack must be told
            reason = str(error) if isinstance(error, (BootError, OSError)) else repr(error)
            print("ERROR,", reason, flush=True)
            stop_later(settings.get("idle_minutes", 30))
            tell(settings.get("signal"), "FAILURE", reason)
            sys.exit(1)
        tell(settings.get("signal"), "SUCCESS", said)


def read_settings(path: str) -> dict:
    """Return what is to be done."""
    try:
        with open(path) as file:
            return json.load(file)
    except ValueError as error:
        raise BootError(f"{path} is no JSON: {error}") from None


def fetch(address: str, sha256: str) -> str:
    """Bring the archive here, unless it is; return its path. Another content than `sha256` tells is refused."""
    os.makedirs(HOME, exist_ok=True)
    path = f"{HOME}/{sha256}.tar.gz"
    if os.path.exists(path) and digest(path) == sha256:
        return path
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(address, timeout=60) as source, open(path + ".partial", "wb") as target:
                shutil.copyfileobj(source, target)
            break
        except (OSError, ValueError) as error:
            if not left:
                raise BootError(f"the release's archive cannot be fetched: {error}") from None
            time.sleep(2 * (TRIES - left))
    if digest(path + ".partial") != sha256:
        raise BootError(f"expected an archive with the SHA-256 {sha256}, found {digest(path + '.partial')}")
    os.replace(path + ".partial", path)
    return path


def digest(path: str) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        found = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def unpack(path: str) -> str:
    """Unpack the archive, unless it is; return the folder with the release's sources."""
    folder = path[: -len(".tar.gz")]
    if not os.path.exists(folder):
        shutil.rmtree(folder + ".partial", ignore_errors=True)
        with tarfile.open(path) as archive:
            safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(folder + ".partial", **safe)
        os.replace(folder + ".partial", folder)
    (name,) = os.listdir(folder)
    return f"{folder}/{name}"


def prepare(release: str) -> str:
    """Run the release's prepare.py; return its last line."""
    lines = [""]
    command = [sys.executable, "-u", f"{release}/docker/cloud/prepare.py", SETTINGS]
    with (
        open(LOG, "a") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, universal_newlines=True
        ) as process,
    ):
        for line in process.stdout:
            print(line, end="", flush=True)
            print(line, end="", file=log, flush=True)
            lines.append(line.strip() or lines[-1])
    if process.returncode:
        errors = [line[len("ERROR, ") :] for line in lines if line.startswith("ERROR, ")]
        raise BootError((errors or lines)[-1] or f"prepare.py ended with {process.returncode}")
    return lines[-1]


def stop_later(minutes: int) -> None:
    """Where nothing watches this machine yet, stop it in a while: nobody shall pay for one that is not ready."""
    if int(minutes) and not os.path.exists(WATCH):
        subprocess.call(["shutdown", "-h", f"+{minutes}", "cdeep3m-boot failed; `shutdown -c` keeps the machine on"])


def tell(address: str, status: str, reason: str) -> None:
    """Tell the stack; a machine of no stack has no address to tell."""
    if not address:
        return
    text = {"Status": status, "Reason": reason[:LONGEST], "UniqueId": "cdeep3m", "Data": reason[:LONGEST]}
    request = urllib.request.Request(address, json.dumps(text).encode(), {"Content-Type": ""}, method="PUT")
    for left in reversed(range(TRIES)):
        try:
            urllib.request.urlopen(request, timeout=60).close()
            return
        except OSError as error:
            if not left:
                print("WARNING, the stack could not be told:", error, flush=True)
            else:
                time.sleep(2 * (TRIES - left))


if __name__ == "__main__":
    main()
