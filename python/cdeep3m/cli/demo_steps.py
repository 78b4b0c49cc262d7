"""What the demos share: their folder, their volumes, and the commands that they run as one would type them."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdeep3m.errors import RunError, printable
from cdeep3m.system.children import options_of_child
from cdeep3m.system.files import small_text, sweep, whole_folder, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from cdeep3m.evaluation.scores import Scores


def claim(out: Path, settings: Mapping[str, Any]) -> Path:
    """Make `out`, or make sure that it holds a demo with the same settings, which then goes on.

    Returns
    -------
    Path
        `out`, as the steps may be given it: a name that begins with a hyphen looks like an option.
    """
    note = out / "demo.json"
    text = json.dumps(settings, indent=1)
    if out.is_dir():
        sweep(out)
    if note.exists():
        if small_text(note, errors="replace") != text:
            raise RunError(f"{out} holds a demo with other settings (demo.json). Delete it, or choose another folder")
    elif out.exists() and any(out.iterdir()):
        raise RunError(f"{out} exists and is no demo of before. Choose another folder")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_text(note, text)
    return out.absolute() if str(out).startswith("-") else out


def write_volume(folder: Path, shape: tuple[int, int, int], seed: int) -> None:
    """Write images/ and labels/, one PNG a plane, unless they are there already."""
    from PIL import Image

    from cdeep3m.volumes.synthetic import synthesize

    if folder.exists():
        return
    print(f"Making {folder}: {shape[0]} planes of {shape[1]} x {shape[2]} pixels", flush=True)
    volume = synthesize(shape, seed=seed)
    with whole_folder(folder) as partial:
        for name, planes in (("images", volume.image), ("labels", volume.label * 255)):
            (partial / name).mkdir()
            for z, plane in enumerate(planes):
                Image.fromarray(plane).save(partial / name / f"{name}_{z + 1:04d}.png")


def run_command(command: Sequence[str]) -> int:
    """Print a command, run it, and say how long it took; return its exit status, after it has said what is wrong.

    Raises
    ------
    RunError
        A signal ended it, so that it could not say anything.
    """
    print(f"\n$ {printable(shlex.join(command), longest=4000)}", flush=True)
    begin = time.monotonic()
    status = subprocess.run([program(command[0]), *command[1:]], check=False, **options_of_child()).returncode
    if status < 0:
        raise RunError(f"signal {-status} ended {command[0]}. The same command goes on where this one stopped")
    if status:
        print(f"{command[0]} ended with exit status {status}; the demo stops here", file=sys.stderr)
    else:
        print(f"  {time.monotonic() - begin:.0f} s", flush=True)
    return status


def program(name: str) -> str:
    """Return the path of a drop-in command: beside this Python, in the clone's scripts/, or on PATH."""
    places = (Path(sys.executable).parent, Path(__file__).parents[3] / "scripts")
    found = next((f"{place / name}" for place in places if (place / name).is_file()), None) or shutil.which(name)
    if found is None:
        raise RunError(
            f"the command {name} is missing: found neither {' nor '.join(str(place / name) for place in places)}"
        )
    return found


def planes_in(folder: Path, pattern: str = "*") -> Iterator[np.ndarray]:
    """Return the planes of a folder, ndarrays of uint8, shape (y, x), in the order of their names."""
    import numpy as np
    from PIL import Image

    return (np.asarray(Image.open(path)) for path in sorted(folder.glob(f"{pattern}.png")))


def table_of(results: Mapping[str, Scores]) -> str:
    """Return a row of scores for each net, and for what is compared with them."""
    lines = [f"{'held-out volume':16} {'F1':>9} {'precision':>9} {'recall':>9}"]
    lines += [f"{name:16} {s.f1:9.3f} {s.precision:9.3f} {s.recall:9.3f}" for name, s in results.items()]
    return "\n".join(lines)
