"""A Slurm of the tests' own on this machine: munge, controller and one node, with all that they write in one folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""PATH with the folders of root's programs, which a caller's PATH may lack."""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
STARTING = 30
"""Seconds that the node may need to be idle."""

# Without these three, Slurm wants control groups of its own. ReturnToService lets the node come back by itself.
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SchedulerParameters=sched_interval=1,batch_sched_delay=0,default_queue_depth=1000
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 \
RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@cache
def find_obstacle() -> str | None:
    """Say what keeps this machine from running a Slurm of the tests' own; None where nothing does."""
    if sys.platform != "linux":
        return f"a Slurm of the tests' own needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return f"only root can start a Slurm, this is user {os.geteuid()}"
    missing = [name for name in PROGRAMS if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        return f"{', '.join(missing)} missing; on Debian and Ubuntu: apt install slurm-wlm munge"
    if len(os.sched_getaffinity(0)) < 2:
        return "two jobs at a time need two cores"
    return None


class PrivateSlurm:
    """Controller and node, started and stopped by the tests; `environment` leads commands to it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cdeep3m-slurm-"))
        self.environment = {**os.environ, "PATH": SYSTEM_PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the daemons, and wait until the node is idle."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**21
        values = {
            "host": socket.gethostname().partition(".")[0],
            "folder": self.folder,
            "controller_port": free_port(),
            "node_port": free_port(),
            "memory": memory,
        }
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(**values))
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
        files = [f"--{name}={self.folder}/munge.{name}" for name in ("socket", "pid-file", "log-file", "seed-file")]
        self._spawn("munged", "--foreground", "--force", f"--key-file={key}", *files)
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munge's socket")
        self._spawn("slurmctld", "-D")
        self._spawn("slurmd", "-D")
        self._wait(
            lambda: self.run("sinfo", "--noheader", "--format=%t", check=False).strip() == "idle", "an idle node"
        )

    def stop(self) -> None:
        """Cancel all jobs, end the daemons, and remove what they wrote."""
        self.run("scancel", "--user=root", check=False)
        deadline = time.monotonic() + 10
        while self.run("squeue", "--noheader", check=False).strip() and time.monotonic() < deadline:
            time.sleep(0.2)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *words: str, check: bool = True) -> str:
        """Run one of Slurm's commands; return what it prints."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        assert not check or done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def submit(self, script: str, *options: str) -> str:
        """Submit a batch script; return the job's number."""
        path = self.folder / f"script-{time.monotonic_ns()}.sh"
        path.write_text(script)
        log = f"--output={self.folder}/job-%A_%a.log"
        return self.run("sbatch", "--parsable", log, "--open-mode=append", *options, str(path)).strip()

    def states(self, job: str) -> list[str]:
        """Return the states of a job's tasks that are not gone yet, such as RUNNING."""
        return self.run(
            "squeue", "--noheader", "--array", "--format=%T", "--states=all", "--jobs", job, check=False
        ).split()

    def wait_for(self, job: str, seconds: float = 60) -> None:
        """Wait until no task of a job waits or runs."""
        under_way = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED"}
        self._wait(lambda: not under_way & set(self.states(job)), f"the end of job {job}", seconds)

    def logs(self) -> str:
        """Return what jobs printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("job-*.log")))

    def _spawn(self, name: str, *options: str) -> None:
        path = shutil.which(name, path=SYSTEM_PATH)
        assert path
        output = (self.folder / f"{name}.output").open("wb")
        # In a group of its own: a Ctrl-C that ends the tests is not for the daemons, which `stop` ends.
        self._daemons.append(
            subprocess.Popen([path, *options], env=self.environment, stdout=output, stderr=output, process_group=0)
            if sys.version_info >= (3, 11)
            else subprocess.Popen([path, *options], env=self.environment, stdout=output, stderr=output)
        )
        output.close()

    def _wait(self, ready: object, what: str, seconds: float = STARTING) -> None:
        deadline = time.monotonic() + seconds
        while not ready():  # type: ignore[operator]
            if time.monotonic() > deadline:
                tails = [path.read_text(errors="replace")[-600:] for path in self.folder.glob("*.log")]
                raise TimeoutError(
                    f"no {what} after {seconds:.0f} s; logs: {tails}; jobs: {self.run('squeue', check=False)}"
                )
            time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
