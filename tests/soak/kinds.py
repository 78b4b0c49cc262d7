"""What is done to commands, kind by kind: each function makes one trial and returns what was wrong."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soak.jobs import JOBS
from soak.scenes import SCENES as TOGETHER
from soak.scenes import Scene, digest, leftovers, sample_files
from soak.trial import COUNT, Ended, Stop, run, run_many, start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIGNALS = ("SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM", "SIGINT")
ERRORS = ("ENOSPC", "EDQUOT", "EIO")

SCENES: tuple[Scene, ...] = (
    *TOGETHER,
    *(Scene(" ".join(job.words), job.make, (job.words,), job.writes, random=job.random) for job in JOBS if job.writes),
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
    *(("files", *each) for each in DAMAGED),
    *((str(k), read, job.words, "") for k, job in enumerate(JOBS) for read in job.reads),
)
"""Folder of the samples, file to damage, command, and what its ERROR must name."""


@contextmanager
def room() -> Iterator[Path]:
    """Yield an empty folder with another one around it, which nothing may be written to."""
    outside = Path(tempfile.mkdtemp(prefix="soak-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)).resolve()
    folder = outside / "in"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(outside, ignore_errors=True)


def references() -> dict[str, tuple[dict[str, str], int]]:
    """Return what each scene makes when nothing stops it, and how many file operations its first command takes."""
    found = {}
    for scene in SCENES:
        with room() as folder:
            scene.make(folder)
            ended = _go_on(scene, folder, stop=Stop(COUNT, 0))
            if any(one.status for one in ended):
                print(f"WRONG {scene.name} does not run: {ended}", flush=True)
                continue
            made = digest(folder, scene.outputs, contents=not scene.random)
            found[scene.name] = made, max(one.operations for one in ended)
    return found


def _one_of(reference: dict[str, tuple[dict[str, str], int]], rng: np.random.Generator) -> Scene:
    scenes = [scene for scene in SCENES if scene.name in reference]
    return scenes[rng.integers(len(scenes))]


def kill(seed: int, reference: dict[str, tuple[dict[str, str], int]]) -> list[str]:
    """Kill a command at one of its file operations, perhaps again, and let the job go on."""
    rng = np.random.default_rng(seed)
    scene = _one_of(reference, rng)
    expected, operations = reference[scene.name]
    with room() as folder:
        scene.make(folder)
        inputs = _inputs(scene, folder)
        wrong = []
        for _ in range(int(rng.integers(1, 3))):
            stop = Stop(SIGNALS[rng.integers(len(SIGNALS))], int(rng.integers(1, operations + 1)))
            wrong += _stopped(scene, folder, stop, int(rng.integers(len(scene.commands))))
        return [f"{scene.name}: {words}" for words in wrong + _whole(scene, folder, expected, inputs)]


def starve(seed: int, reference: dict[str, tuple[dict[str, str], int]]) -> list[str]:
    """Let a disk be full or broken from one file operation on, or files be limited; then there is room again."""
    rng = np.random.default_rng(seed)
    scene = _one_of(reference, rng)
    expected, operations = reference[scene.name]
    with room() as folder:
        scene.make(folder)
        inputs = _inputs(scene, folder)
        if rng.random() < 0.3 and not scene.together:
            what, limits = "EFBIG", {resource.RLIMIT_FSIZE: int(rng.integers(0, 6000))}
            ended = run(list(scene.commands[0]), folder, limits=limits)
        else:
            what = ERRORS[rng.integers(len(ERRORS))]
            ended = run(list(scene.commands[0]), folder, stop=Stop(what, int(rng.integers(1, operations + 1))))
        wrong = [f"{fault} {ended.errors[:1]}" for fault in ended.faults()]
        if (folder / "out" / "ERROR").exists() and what != "EIO":
            wrong.append(f"an ERROR file after {what}")
        for name in ("ERROR", "KILL.REQUEST"):
            (folder / "out" / name).unlink(missing_ok=True)
        return [f"{scene.name} {what}: {words}" for words in wrong + _whole(scene, folder, expected, inputs)]


def early(seed: int, reference: dict[str, tuple[dict[str, str], int]]) -> list[str]:
    """Interrupt a command in its first moments, and let the job go on."""
    rng = np.random.default_rng(seed)
    scene = _one_of(reference, rng)
    with room() as folder:
        scene.make(folder)
        inputs = _inputs(scene, folder)
        running = start(list(scene.commands[0]), folder)
        signal.sigtimedwait([], float(rng.random() * 0.2))
        running.signal(getattr(signal, SIGNALS[rng.integers(len(SIGNALS))]))
        ended = running.end(patience=20) if not scene.together else running.end(patience=20)
        wrong = [f"traceback {ended.said[-1500:]!r}"] * ("Traceback" in ended.said)
        return [f"{scene.name}: {words}" for words in wrong + _whole(scene, folder, reference[scene.name][0], inputs)]


def damage(seeds: Sequence[int], samples: Path) -> list[list[str]]:
    """Damage a file for each seed, and run a command that reads it; return what was wrong with each."""
    with ExitStack() as rooms:
        trials = [_damaged(seed, rooms.enter_context(room()), samples) for seed in seeds]
        ended = run_many([(words, folder) for words, folder, _, _ in trials])
        return [_wrong_with(*trial, one) for trial, one in zip(trials, ended, strict=True)]


def _damaged(seed: int, folder: Path, samples: Path) -> tuple[list[str], Path, str, str]:
    """Lay out a folder with a damaged file; return the command, the folder, the file and what ERROR must name."""
    rng = np.random.default_rng(seed)
    place, name, words, must_name = TARGETS[rng.integers(len(TARGETS))]
    top = Path(name).parts[0]
    for path in (samples / place).iterdir():
        if path.name == top or any(path.name == Path(word).parts[0] for word in words[-1:] if word):
            (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)
        else:
            (folder / path.name).symlink_to(path)
    path = folder / name
    path.write_bytes(mutated(path.read_bytes(), rng))
    return list(words), folder, name, must_name


def _wrong_with(words: list[str], folder: Path, name: str, must_name: str, ended: Ended) -> list[str]:
    wrong = ended.faults(must_name=must_name)
    if ended.status:
        wrong += [f"left {left}" for left in leftovers(folder)]
    wrong += [f"written outside: {path.name}" for path in folder.parent.iterdir() if path != folder]
    return [f"{' '.join(words)}, {name}: {fault}: {ended.errors[:1] or ended.said[-300:]}" for fault in wrong]


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


def _stopped(scene: Scene, folder: Path, stop: Stop, which: int) -> list[str]:
    """Run a scene with one of its commands stopped."""
    if not scene.together:
        for words in scene.commands[: which + 1]:
            ended = run(list(words), folder, stop=stop if words is scene.commands[which] else None)
        return [f"traceback {ended.said[-1500:]!r}"] * ("Traceback" in ended.said) + ["hang"] * ended.hung
    running = [start(list(words), folder, stop=stop if k == which else None) for k, words in enumerate(scene.commands)]
    ended = [running[which].end()]
    for one in running:
        one.signal(signal.SIGKILL)
    ended += [one.end() for k, one in enumerate(running) if k != which]
    return ["traceback"] * any("Traceback" in one.said for one in ended)


def _go_on(scene: Scene, folder: Path, *, stop: Stop | None = None) -> list[Ended]:
    if not scene.together:
        return [run(list(words), folder, stop=stop) for words in scene.commands]
    running = [start(list(words), folder, stop=stop) for words in scene.commands]
    return [one.end() for one in running]


def _whole(scene: Scene, folder: Path, expected: dict[str, str], inputs: dict[str, str]) -> list[str]:
    """Let a job go on to its end, and compare what it made."""
    ended = _go_on(scene, folder)
    made = digest(folder, scene.outputs, contents=not scene.random)
    failed = [one for one in ended if one.status and not (scene.once and made == expected)]
    wrong = [f"does not go on: status {one.status}, {one.said[-300:]!r}" for one in failed]
    if not wrong and made != expected:
        names = sorted(set(made) ^ set(expected)) or [name for name in made if made[name] != expected[name]]
        wrong.append(f"lost or altered: {names[:3]}")
    kept = digest(folder, tuple(dict.fromkeys(Path(name).parts[0] for name in inputs)))
    wrong += ["an input was altered"] * any(kept.get(name) != content for name, content in inputs.items())
    wrong += [f"left over: {left}" for left in leftovers(folder)[:3]]
    return wrong + [f"written outside: {path.name}" for path in folder.parent.iterdir() if path != folder]


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
