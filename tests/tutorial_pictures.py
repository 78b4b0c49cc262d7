"""Make the pictures of docs/tutorial.md and README.md with the commands that the tutorial shows, on synthetic volumes.

`python -m tutorial_pictures docs/pictures [WORK]`: WORK keeps volumes, model and maps, so that a second call is short.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from cdeep3m.report.overlay import compare
from cdeep3m.volumes.synthetic import synthesize

TRAIN = ("--recipe", "quick", "--seed", "1")
VOLUMES = {"labelled": ((16, 340, 340), 1), "new": ((6, 512, 512), 2)}
WIDTH = 1180
"""Of the browser's window."""


def main(out: Path, work: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, (shape, seed) in VOLUMES.items():
        write_volume(work / name, shape, seed)
    run("train", *TRAIN, work / "labelled" / "images", work / "labelled" / "labels", work / "trained")
    run("predict", "--augspeed", "2", "--fit", work / "trained", work / "new" / "images", work / "predicted")
    run("report", "--labels", work / "new" / "labels", work / "predicted")
    run("report", work / "trained")
    if not (work / "objects").exists():
        run("objects", "--min-size", "50", work / "predicted" / "ensembled", work / "objects")
    draw_labels(work / "labelled", out / "labels.png")
    draw_result(work, out / "result.png")
    take_screenshots(work, out)
    save(Image.open(work / "objects" / "density.png").convert("RGB"), out / "density.png", width=640)


def run(*words: object) -> None:
    command = shutil.which("cdeep3m", path=str(Path(sys.executable).parent))
    subprocess.run([str(command), *map(str, words)], check=True)


def write_volume(folder: Path, shape: tuple[int, int, int], seed: int) -> None:
    if folder.exists():
        return
    volume = synthesize(shape, seed=seed)
    for name, planes in (("images", volume.image), ("labels", volume.label * np.uint8(255))):
        (folder / name).mkdir(parents=True)
        for z, plane in enumerate(planes, start=1):
            Image.fromarray(plane).save(folder / name / f"{z:03d}.png")


def plane(folder: Path, k: int) -> np.ndarray:
    return np.asarray(Image.open(sorted(folder.glob("*.png"))[k]))


def draw_labels(volume: Path, path: Path) -> None:
    """Draw a plane and its label side by side."""
    image, label = (plane(volume / name, 8)[:300, :330] for name in ("images", "labels"))
    gap = np.full((300, 12), 255, np.uint8)
    save(Image.fromarray(np.hstack([image, gap, label])).convert("RGB"), path)


def draw_result(work: Path, path: Path) -> None:
    """Draw a new image, its map and what was found, side by side."""
    box = np.s_[100:400, 60:380]
    image, label, found = (
        plane(folder, 3)[box]
        for folder in (work / "new" / "images", work / "new" / "labels", work / "predicted" / "ensembled")
    )
    gap = np.full((300, 12, 3), 255, np.uint8)
    parts = [np.repeat(part[..., None], 3, axis=2) for part in (image, found)]
    overlay = compare(image, label > 0, found >= 128, outline=0)
    save(Image.fromarray(np.hstack([parts[0], gap, parts[1], gap, overlay])), path)


def take_screenshots(work: Path, out: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 860})
        page.goto((work / "predicted" / "report.html").resolve().as_uri())
        page.wait_for_function("() => document.documentElement.dataset.shown")
        page.screenshot(path=work / "report.png")
        page.goto((work / "trained" / "report.html").resolve().as_uri())
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": 900}
        page.screenshot(path=work / "training.png", clip=clip, full_page=True)
        browser.close()
    for name in ("report", "training"):
        save(Image.open(work / f"{name}.png").convert("RGB"), out / f"{name}.png", width=900)


def save(picture: Image.Image, path: Path, *, width: int | None = None) -> None:
    """Write a picture small: no wider than `width`, of 256 colours, the rare ones among them."""
    if width and picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    colours = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    colours.save(path, optimize=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        main(folder, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(folder, Path(made))
