"""What is done to commands, kind by kind: each function makes one trial and returns what was wrong."""

from __future__ import annotations

import atexit
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soak import disk
from soak.jobs import JOBS
from soak.scenes import SCENES as TOGETHER
from soak.scenes import Scene, digest, leftovers, sample_files
from soak.trial import COUNT, HOME, TEMPORARY, Ended, Stop, own_process, run_many, start, survivors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIGNALS = (*["SIGKILL"] * 8, "SIGTERM", "SIGINT")
ERRORS = ("ENOSPC", "EDQUOT", "EIO")
PATIENCE = 240.0
"""Seconds after which one of these commands, which take a moment, hangs."""
FREE = 256 * 2**20
"""Bytes that a command may take in any case; beyond them no more than twice what it takes undisturbed."""

SCENES: tuple[Scene, ...] = (
    *TOGETHER,
    *(
        Scene(" ".join(job.words), job.make, (job.words,), job.writes, random=job.random, once=job.once)
        for job in JOBS
        if job.writes
    ),
)
"""Jobs to stop: every command that writes, and those that wait for each other."""

DAMAGED = (
    ("images/i_2.png", ("DefDataPackages", "images", "out"), "i_2.png"),
    ("images/i_2.png", ("PreprocessValidation", "images", "labels", "out"), ""),
    ("a/Segmented_0002.png", ("EnsemblePredictions", "a", "b", "out"), "Segmented_0002.png"),
    ("tifs/i_1.tif", ("PreprocessImageData", "tifs", "out"), "i_1.tif"),
    ("tifs/i_1.tif", ("Histmatch", "tifs", "a", "out"), "i_1.tif"),
    ("s.tif", ("Histmatch", "s.tif", "a", "out"), "s.tif"),
    ("ij.tif", ("Histmatch", "ij.tif", "a", "out"), "ij.tif"),
    ("z.tif", ("Histmatch", "z.tif", "a", "out"), "z.tif"),
    ("lzw.tif", ("Histmatch", "lzw.tif", "a", "out"), "lzw.tif"),
    ("s.h5", ("Histmatch", "s.h5", "a", "out"), "s.h5"),
    ("gz.h5", ("Histmatch", "gz.h5", "a", "out"), "gz.h5"),
    ("l.h5", ("SNEMI3D_metrics", "l.h5", "s.h5"), "l.h5"),
    ("l.h5", ("PreprocessValidation", "images", "l.h5", "out"), ""),
    ("a.csv", ("PlotValidation", "a.csv", "a.csv", "out"), "a.csv"),
    ("trained/1fm/deploy.prototxt", ("cdeep3m", "models", "info", "trained/1fm/deploy.prototxt"), "deploy.prototxt"),
    (
        "trained/1fm/trainedmodel/1fm_classifer_iter_2.caffemodel",
        ("cdeep3m", "models", "info", "trained/1fm/trainedmodel/1fm_classifer_iter_2.caffemodel"),
        "iter_2.caffemodel",
    ),
    (
        "trained/1fm/deploy.prototxt",
        ("cdeep3m", "predict", "--gpu", "-1", "--fit", "--augspeed", "10", "--models", "1fm", "trained", "a", "out"),
        "",
    ),
    ("m.tar.gz", ("cdeep3m", "models", "fetch", "m.tar.gz", "out"), ""),
)
"""A file to damage, a command that reads it, and what its ERROR must name."""


TARGETS = (
    *(("files", *each, ()) for each in DAMAGED),
    *((str(k), read, job.words, "", job.writes) for k, job in enumerate(JOBS) for read in job.reads),
)
"""Folder of the samples, file to damage, command, what its ERROR must name, and what it writes, if there already."""


@dataclass(frozen=True)
class Reference:
    """What a scene is when nothing stops it: what it makes, and what each of its commands takes."""

    made: dict[str, str]
    operations: tuple[int, ...]
    seconds: float
    memory: int


@dataclass
class Found:
    """What a trial was: how often something struck a command, and what was wrong."""

    struck: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def strike(self, words: Sequence[str], *, times: int = 1) -> None:
        """Count what struck a command."""
        name = command_of(words)
        self.struck[name] = self.struck.get(name, 0) + times


def command_of(words: Sequence[str]) -> str:
    """Return the name of a command, with that of `cdeep3m`."""
    return " ".join(words[:2]) if words[0] == "cdeep3m" else words[0]


SELDOM = {
    **dict.fromkeys(("cdeep3m train", "runtraining.sh", "caffe"), 0.05),
    **dict.fromkeys(("runvalidation.sh", "PlotValidation", "StartPostprocessing", "cdeep3m objects"), 0.3),
}
"""How often slow commands read damaged files; others have the weight 1."""


@contextmanager
def room(around: Path | None = None) -> Iterator[Path]:
    """Yield an empty folder with another one around it, which nothing may be written to."""
    outside = around or Path(tempfile.mkdtemp(prefix="soak-", dir=memory_disk())).resolve()
    folder = outside / "in"
    for path in (folder, outside / TEMPORARY, outside / HOME):
        path.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(outside, ignore_errors=True)


def memory_disk() -> str | None:
    """Return a folder in memory, where there is one."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


@cache
def base() -> Path:
    """Return a folder of this process for what is used again and again."""
    path = Path(tempfile.mkdtemp(prefix="soak-", dir=memory_disk())).resolve()
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@contextmanager
def laid_out(scene: Scene) -> Iterator[Path]:
    """Yield a folder with what a scene reads; it is made once, and always at one place, as there are paths in files."""
    kept = base() / "made" / str(SCENES.index(scene))
    with room(base() / "room") as folder:
        if not kept.exists():
            scene.make(folder)
            kept.parent.mkdir(exist_ok=True)
            folder.rename(kept)
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
        yield folder


def outside(folder: Path) -> list[str]:
    """Return what lies beside a room's folder, in that of temporary files and in the user's own."""
    around = folder.parent
    ours = {folder, around / TEMPORARY, around / HOME}
    found = [path for path in around.iterdir() if path not in ours]
    found += [path for name in (TEMPORARY, HOME) for path in (around / name).iterdir()]
    return [f"written outside: {path.relative_to(around)}" for path in found]


def references(only: Sequence[str] = ()) -> dict[str, Reference]:
    """Return what each scene makes when nothing stops it, and how many file operations its commands take.

    Those with one of the commands `only` alone, where some are named.
    """
    found = {}
    for scene in SCENES:
        if not _to_strike(scene, only):
            continue
        with laid_out(scene) as folder:
            ended = _go_on(scene, folder, stop=Stop(COUNT, 0))
            if any(one.status for one in ended):
                print(f"WRONG {scene.name} does not run: {ended}", flush=True)
                continue
            made = digest(folder, scene.outputs, contents=not scene.random)
            found[scene.name] = Reference(
                made,
                tuple(max(1, one.operations) for one in ended),
                sum(one.seconds for one in ended),
                max(one.memory for one in ended),
            )
    return found


def _one_of(reference: dict[str, Reference], rng: np.random.Generator, only: Sequence[str] = ()) -> Scene:
    """Return a scene: of any command, or one of `only`, and of those with that command any."""
    groups: dict[str, list[Scene]] = {}
    for scene in SCENES:
        if scene.name in reference and _to_strike(scene, only):
            groups.setdefault(command_of(scene.commands[0]), []).append(scene)
    scenes = list(groups.values())[rng.integers(len(groups))]
    return scenes[rng.integers(len(scenes))]


def _to_strike(scene: Scene, only: Sequence[str]) -> list[int]:
    """Return which commands of a scene may be struck: all, or those of `only`."""
    return [k for k, words in enumerate(scene.commands) if not only or command_of(words) in only]


def kill(seed: int, reference: dict[str, Reference], only: Sequence[str] = ()) -> Found:
    """Kill a command at one of its file operations or at some moment, perhaps again, and let the job go on."""
    rng = np.random.default_rng(seed)
    scene = _one_of(reference, rng, only)
    known, found = reference[scene.name], Found()
    with laid_out(scene) as folder:
        inputs = _inputs(scene, folder)
        for k in range(int(rng.integers(1, 5))):
            which = int(rng.choice(_to_strike(scene, only)))
            last = max(3, known.operations[which] // (1 if k == 0 else 2))
            stop = Stop(SIGNALS[rng.integers(len(SIGNALS))], int(rng.integers(1, last + 1)))
            moment = float(rng.random()) * known.seconds if rng.random() < 0.2 else None
            _stop(scene, folder, stop, which, found, moment=moment)
        found.wrong += _whole(scene, folder, known, inputs)
    found.wrong = [f"{scene.name}: {words}" for words in found.wrong]
    return found


def starve(seed: int, reference: dict[str, Reference], only: Sequence[str] = ()) -> Found:
    """Let a disk be full or broken from one file operation on, or files be limited; then there is room again."""
    rng = np.random.default_rng(seed)
    scene = _one_of(reference, rng, only)
    known, found = reference[scene.name], Found()
    words = list(scene.commands[0])
    errors = (*ERRORS, disk.READING) if disk.is_loaded() else ERRORS
    with laid_out(scene) as folder:
        inputs = _inputs(scene, folder)
        if rng.random() < 0.2 and not scene.together:
            what, limits = "EFBIG", {resource.RLIMIT_FSIZE: int(rng.integers(0, 6000))}
            ended = start(words, folder, limits=limits).end(patience=PATIENCE)
        else:
            what = errors[rng.integers(len(errors))]
            at = int(rng.integers(1, known.operations[0] + 1))
            ended = start(words, folder, stop=Stop(what, at)).end(patience=PATIENCE)
        found.strike(words, times=int(ended.status != 0))
        found.wrong += [f"{fault} {ended.errors[:1]}" for fault in ended.faults(memory=_memory(known))]
        if ended.status == 0 and len(scene.commands) == 1:
            found.wrong += [f"success, but {fault}" for fault in _altered(scene, folder, known)]
        if (folder / "out" / "ERROR").exists() and what not in ("EIO", disk.READING):
            found.wrong.append(f"an ERROR file after {what}")
        for name in ("ERROR", "KILL.REQUEST"):
            (folder / "out" / name).unlink(missing_ok=True)
        found.wrong += _whole(scene, folder, known, inputs)
    found.wrong = [f"{scene.name} {what}: {words}" for words in found.wrong]
    return found


def early(seed: int, reference: dict[str, Reference], only: Sequence[str] = ()) -> Found:
    """Interrupt a command in its first moments, or in those of a program that just begins, and let the job go on."""
    rng = np.random.default_rng(seed)
    scene = _one_of(reference, rng, only)
    known, found = reference[scene.name], Found()
    words, name = list(scene.commands[0]), SIGNALS[rng.integers(len(SIGNALS))]
    with laid_out(scene) as folder:
        inputs = _inputs(scene, folder)
        if rng.random() < 0.5:
            status, said = _interrupted_program(words, folder, getattr(signal, name), float(rng.random() * 0.4))
            found.wrong += [f"traceback {said[-1500:]!r}"] * ("Traceback" in said and "cdeep3m/cli" in said)
        else:
            running = start(words, folder)
            signal.sigtimedwait([], float(rng.random() * 0.2))
            running.signal(getattr(signal, name))
            ended = running.end(patience=PATIENCE)
            status = ended.status
            found.wrong += [f"traceback {ended.said[-1500:]!r}"] * ("Traceback" in ended.said)
            found.wrong += ["hang"] * ended.hung
        found.strike(words, times=int(status != 0))
        found.wrong += survivors()
        found.wrong += _whole(scene, folder, known, inputs)
    found.wrong = [f"{scene.name}: {words}" for words in found.wrong]
    return found


def _interrupted_program(words: list[str], folder: Path, number: int, moment: float) -> tuple[int, str]:
    """Run a command as a program of its own and signal it; return its status and what it said."""
    process = own_process(words, folder, {})
    signal.sigtimedwait([], moment)
    process.send_signal(number)
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return -signal.SIGKILL, "Traceback of cdeep3m/cli: none, it hangs"
    return process.returncode, said.decode("utf-8", "backslashreplace")


def damage(seeds: Sequence[int], samples: Path) -> list[Found]:
    """Damage a file for each seed, and run a command that reads it; return what was wrong with each."""
    before = _stamps(samples)
    with ExitStack() as rooms:
        trials = [_damaged(seed, rooms.enter_context(room()), samples) for seed in seeds]
        ended = run_many([(words, folder) for words, folder, _, _ in trials])
        found = [_wrong_with(*trial, one) for trial, one in zip(trials, ended, strict=True)]
    if _stamps(samples) != before:
        found[0].wrong.append("one of these seeds: another input was altered")
    found[0].wrong += survivors()
    return found


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return sizes and times of all files below a folder."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            known = os.lstat(os.path.join(place, name))
            found[os.path.join(place, name)] = known.st_size, known.st_mtime_ns
    return found


def _damaged(seed: int, folder: Path, samples: Path) -> tuple[list[str], Path, str, str]:
    """Lay out a folder with a damaged file; return the command, the folder, the file and what ERROR must name."""
    rng = np.random.default_rng(seed)
    place, name, words, must_name, writes = TARGETS[rng.choice(len(TARGETS), p=_chances())]
    own = {Path(path).parts[0] for path in (name, *words[-1:], *writes) if path}
    for path in (samples / place).iterdir():
        if path.name in own:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)
        else:
            (folder / path.name).symlink_to(path)
    path = folder / name
    path.write_bytes(mutated(path.read_bytes(), rng))
    return list(words), folder, name, must_name


@cache
def _chances() -> np.ndarray:
    """Return how likely each target is: slow commands seldom."""
    weights = np.array([SELDOM.get(command_of(words), 1.0) for _, _, words, _, _ in TARGETS])
    return weights / weights.sum()


def _wrong_with(words: list[str], folder: Path, name: str, must_name: str, ended: Ended) -> Found:
    found = Found()
    found.strike(words)
    wrong = ended.faults(must_name=must_name)
    if ended.status:
        wrong += [f"left {left}" for left in leftovers(folder)]
    wrong += outside(folder)
    found.wrong = [f"{' '.join(words)}, {name}: {fault}: {ended.errors[:1] or ended.said[-300:]}" for fault in wrong]
    return found


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Return damaged bytes: cut, flipped, spliced, with false sizes, or filled with something else."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        kind, at = rng.integers(8), int(rng.integers(max(1, len(data))))
        if kind == 0:
            del data[at:]
        elif kind == 1 and data:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\1"])
        elif kind == 3:
            data[at:at] = data[: int(rng.integers(1, 400))]
        elif kind == 4:
            data[at : at + 8] = bytes(rng.integers(0, 256, 8, np.uint8))
        elif kind == 5:
            del data[at : at + int(rng.integers(1, 64))]
        elif kind == 6:
            data[at:at] = rng.choice([b"{", b"[", b"\x1b[2J\n", b"\xff\xfe"]) * int(rng.integers(1, 3000))
        else:
            early = int(rng.integers(min(64, max(1, len(data)))))
            data[early : early + 1] = bytes([int(rng.integers(256))])
    return bytes(data)


def _stop(scene: Scene, folder: Path, stop: Stop, which: int, found: Found, *, moment: float | None = None) -> None:
    """Run a scene with one of its commands stopped, at a file operation or after so many seconds."""
    struck, before = scene.commands[which], () if scene.together else scene.commands[:which]
    ended = [start(list(words), folder).end(patience=PATIENCE) for words in before]
    commands = scene.commands if scene.together else (struck,)
    running = [
        start(list(words), folder, stop=stop if words is struck and moment is None else None) for words in commands
    ]
    one = running[commands.index(struck)]
    if moment is not None:
        signal.sigtimedwait([], moment)
        one.signal(getattr(signal, stop.what))
    ended.append(one.end(patience=PATIENCE))
    signalled = -getattr(signal, stop.what)
    is_struck = ended[-1].status == signalled or (
        ended[-1].operations >= stop.at if moment is None else ended[-1].status != 0
    )
    found.strike(struck, times=int(is_struck))
    for words, other in zip(commands, running, strict=True):
        if other is not one:
            other.signal(signal.SIGKILL)
            ended.append(other.end(patience=PATIENCE))
            found.strike(words, times=int(ended[-1].status == -signal.SIGKILL))
    found.wrong += [f"traceback {one.said[-1500:]!r}" for one in ended if "Traceback" in one.said]
    found.wrong += [f"{stop} {line}" for one in ended for line in one.faults() if line.startswith(("WRITTEN", "hang"))]
    found.wrong += survivors()


def _go_on(scene: Scene, folder: Path, *, stop: Stop | None = None) -> list[Ended]:
    if not scene.together:
        return [start(list(words), folder, stop=stop).end(patience=PATIENCE) for words in scene.commands]
    running = [start(list(words), folder, stop=stop) for words in scene.commands]
    return [one.end(patience=PATIENCE) for one in running]


def _memory(known: Reference) -> int:
    """Return the bytes that a command may take."""
    return 2 * known.memory + FREE


def _altered(scene: Scene, folder: Path, known: Reference) -> list[str]:
    made = digest(folder, scene.outputs, contents=not scene.random)
    names = sorted(set(made) ^ set(known.made)) or [name for name in made if made[name] != known.made[name]]
    return [f"lost or altered: {names[:3]}"] * bool(names)


def _whole(scene: Scene, folder: Path, known: Reference, inputs: dict[str, str]) -> list[str]:
    """Let a job go on to its end, and compare what it made."""
    ended = _go_on(scene, folder)
    altered = _altered(scene, folder, known)
    failed = [one for one in ended if one.status and (altered or not scene.once)]
    wrong = [f"does not go on: status {one.status}, {one.said[-300:]!r}" for one in failed] or altered
    wrong += [fault for one in ended if one.status == 0 for fault in one.faults(memory=_memory(known))]
    kept = digest(folder, tuple(dict.fromkeys(Path(name).parts[0] for name in inputs)))
    wrong += ["an input was altered"] * any(kept.get(name) != content for name, content in inputs.items())
    wrong += [f"left over: {left}" for left in leftovers(folder)[:3]]
    return wrong + outside(folder) + survivors()


def _inputs(scene: Scene, folder: Path) -> dict[str, str]:
    """Return what a scene reads and must not change."""
    written = {Path(name).parts[0] for name in scene.outputs}
    return digest(folder, tuple(path.name for path in folder.iterdir() if path.name not in written))


def make_samples(folder: Path) -> Path:
    """Write the files that are damaged, a folder for each job; return the folder of them all."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    sample_files(folder / "files")
    for k, job in enumerate(JOBS):
        (folder / str(k)).mkdir()
        job.make(folder / str(k))
    return folder
