"""Runs a command and writes what it took to a file: `launch.py FILE COMMAND...`.

A process's peak memory is counted from what its parent held. This parent holds little, and its own start is not timed.
"""

import json
import resource
import subprocess
import sys
import time


def main(report: str, *command: str) -> int:
    start = time.perf_counter()
    status = subprocess.call(command)
    seconds = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    with open(report, "w") as file:
        json.dump({"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "memory": memory}, file)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
