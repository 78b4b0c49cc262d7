#!/usr/bin/env python3
"""Stop this machine when it has been idle for so many minutes: no command of cdeep3m ran, and nobody was logged in.

usage: cdeep3m-idle MINUTES [STATE [COMMAND ...]]

A timer runs this once a minute. STATE (/run/cdeep3m-idle) holds the time at which the machine was last busy, on a clock
that counts from its start: changes of the date do not matter, and each start begins anew. COMMAND (systemctl poweroff)
stops it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

STATE = Path("/run/cdeep3m-idle")
STOP = ("systemctl", "poweroff")
OURS = "cdeep3m"
LOGIN = re.compile(r"sshd(-session)?: .+@|login -- |\S*/?ssm-session-worker\b")
"""How the process of a login calls itself: ssh and scp, a console, and AWS's session manager."""


def main(words: list[str]) -> int:
    """Look once; stop the machine where it is time."""
    if not words or not words[0].isdigit() or not int(words[0]):
        print("ERROR, usage: cdeep3m-idle MINUTES [STATE [COMMAND ...]]", file=sys.stderr)
        return 1
    state = Path(words[1]) if words[1:] else STATE
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    reason = find_work(Path("/proc"))
    since = last_busy(state)
    if reason or since is None or not 0 <= since <= now:
        write(state, now)
        print(f"busy: {reason or 'it has just begun to watch'}")
        return 0
    idle = (now - since) / 60
    print(f"idle for {idle:.0f} of {words[0]} minutes")
    if idle < int(words[0]):
        return 0
    print("stopping this machine", flush=True)
    return subprocess.call(words[2:] or STOP)


def find_work(proc: Path) -> str:
    """Return the command line of a process for which this machine must stay on; nothing where there is none.

    Examples
    --------
    >>> find_work(Path("/nowhere"))
    ''
    """
    mine = {str(os.getpid()), str(os.getppid())}
    for folder in sorted(proc.glob("[0-9]*")):
        words = command_line(folder)
        if folder.name not in mine and words and (is_ours(words) or LOGIN.match(" ".join(words))):
            return " ".join(words)[:100]
    return ""


def is_ours(words: list[str]) -> bool:
    """Whether a command line is that of a program of cdeep3m, the watch apart.

    Examples
    --------
    >>> is_ours(["/opt/cdeep3m/bin/python3", "/opt/cdeep3m/bin/runprediction.sh", "trained", "images", "predicted"])
    True
    >>> is_ours(["/usr/bin/python3", "/usr/local/sbin/cdeep3m-idle", "30"])
    False
    >>> is_ours(["less", "/var/log/cdeep3m-boot.log"])
    False
    """
    programs = words[:3] if re.match(r"python|(ba|da)?sh$", Path(words[0]).name) else words[:1]
    return any(OURS in word for word in programs) and not any("cdeep3m-idle" in word for word in programs)


def command_line(folder: Path) -> list[str]:
    """Return the words of a process; none of one that has ended, or of the kernel's own."""
    try:
        return (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0 ").split("\0")
    except OSError:
        return []


def last_busy(state: Path) -> float | None:
    """Return the seconds since the machine's start at which it was last busy; None where that is not known."""
    try:
        return float(state.read_text())
    except (OSError, ValueError):
        return None


def write(state: Path, seconds: float) -> None:
    """Note when the machine was last busy; the note is whole or the one before."""
    partial = state.with_name(f".{state.name}.partial")
    partial.write_text(f"{seconds}\n")
    partial.replace(state)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
