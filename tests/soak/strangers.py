"""Hostile situations, by hand: what comes from strangers must not reach what is not its own."""

from __future__ import annotations

import os
import shutil
import tarfile
from io import BytesIO
from typing import TYPE_CHECKING

import h5py
import numpy as np

from soak.kinds import room
from soak.scenes import _maps, _prediction, _training, _workers, digest, volume, write_images
from soak.trial import Ended, run, start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORKER = ["postprocessworker.sh", "--waitinterval", "0.01", "out"]
PREDICT = ["cdeep3m", "predict", "--gpu", "-1", "--fit", "--augspeed", "10", "--models", "1fm"]


def all_of_them() -> tuple[int, list[str]]:
    """Run every situation; return how many there are, and what was wrong."""
    wrong = []
    for situation in SITUATIONS:
        with room() as folder:
            wrong += [f"{situation.__name__}: {words}" for words in situation(folder)]
    return len(SITUATIONS), wrong


def _refused(ended: Ended, folder: Path, kept: dict[str, str], *, names: tuple[str, ...]) -> list[str]:
    wrong = ended.faults() + ["not refused"] * (ended.status == 0)
    return wrong + ["something else was changed"] * (digest(folder, names) != kept)


def _with_config(folder: Path, old: str, new: str) -> Ended:
    _workers(folder)
    config = folder / "out" / "predict.config"
    config.write_text(config.read_text().replace(old, new))
    return run(WORKER, folder)


def nets_that_lead_out_of_the_run(folder: Path) -> list[str]:
    (folder / "x" / "Pkg001_Z01").mkdir(parents=True)
    (folder / "x" / "Pkg001_Z01" / "mine").write_text("mine")
    ended = _with_config(folder, "models=1fm", "models=../x")
    return _refused(ended, folder, {"x/Pkg001_Z01/mine": digest(folder, ("x",))["x/Pkg001_Z01/mine"]}, names=("x",))


def an_absolute_net(folder: Path) -> list[str]:
    (folder / "x").mkdir()
    ended = _with_config(folder, "models=1fm", f"models={folder / 'x'}")
    return _refused(ended, folder, {}, names=("x",))


def a_net_that_is_a_folder_of_the_run(folder: Path) -> list[str]:
    _prediction(folder)
    ended = run(["cdeep3m", "predict", "--gpu", "-1", "--models", "logs", "trained", "images", "out"], folder)
    return _refused(ended, folder, digest(folder, ("trained",)), names=("trained",))


def _linked(folder: Path, name: str) -> list[str]:
    _prediction(folder)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "Segmented_0001.png").write_text("mine")
    kept = digest(folder, ("elsewhere",))
    (folder / "out").mkdir()
    (folder / "out" / name).symlink_to(folder / "elsewhere")
    ended = run([*PREDICT, "trained", "images", "out"], folder)
    wrong = list(ended.faults())
    return wrong + ["written through a link"] * (digest(folder, ("elsewhere",)) != kept)


def a_link_in_place_of_a_net(folder: Path) -> list[str]:
    return _linked(folder, "1fm")


def a_link_in_place_of_the_ensemble(folder: Path) -> list[str]:
    return _linked(folder, "ensembled")


def a_link_in_place_of_the_logs(folder: Path) -> list[str]:
    return _linked(folder, "logs")


def a_link_in_place_of_a_log(folder: Path) -> list[str]:
    _prediction(folder)
    (folder / "profile").write_text("mine")
    (folder / "out" / "logs").mkdir(parents=True)
    (folder / "out" / "logs" / "prediction.log").symlink_to(folder / "profile")
    ended = run([*PREDICT, "trained", "images", "out"], folder)
    return ended.faults() + ["written through a link"] * ((folder / "profile").read_text() != "mine")


def a_link_in_place_of_a_plane(folder: Path) -> list[str]:
    _prediction(folder)
    (folder / "mine.png").write_text("mine")
    (folder / "out" / "1fm").mkdir(parents=True)
    (folder / "out" / "1fm" / "Segmented_0001.png").symlink_to(folder / "mine.png")
    ended = run([*PREDICT, "trained", "images", "out"], folder)
    return ended.faults() + ["written through a link"] * ((folder / "mine.png").read_text() != "mine")


def _archive(folder: Path, *members: tuple[tarfile.TarInfo, bytes]) -> list[str]:
    with tarfile.open(folder / "m.tar", "w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    ended = run(["cdeep3m", "models", "fetch", "m.tar", "got"], folder)
    return _refused(ended, folder, {}, names=("got", "evil"))


def an_archive_that_leads_out(folder: Path) -> list[str]:
    return _archive(folder, (tarfile.TarInfo("../evil"), b"x"))


def an_archive_with_an_absolute_name(folder: Path) -> list[str]:
    return _archive(folder, (tarfile.TarInfo(str(folder / "evil")), b"x"))


def an_archive_with_a_link(folder: Path) -> list[str]:
    link = tarfile.TarInfo("1fm")
    link.type, link.linkname = tarfile.SYMTYPE, str(folder)
    return _archive(folder, (link, b""), (tarfile.TarInfo("1fm/evil"), b"x"))


def an_archive_with_a_device(folder: Path) -> list[str]:
    device = tarfile.TarInfo("1fm/deploy.prototxt")
    device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 5
    return _archive(folder, (device, b""))


def an_archive_with_a_huge_name(folder: Path) -> list[str]:
    return _archive(folder, (tarfile.TarInfo("a" * 100_000), b"x"))


def an_archive_of_zeros(folder: Path) -> list[str]:
    import gzip

    member = tarfile.TarInfo("1fm/deploy.prototxt")
    member.size = 2**36
    with gzip.open(folder / "m.tar.gz", "wb") as file:
        file.write(member.tobuf())
        for _ in range(64):
            file.write(bytes(2**20))
    ended = run(["cdeep3m", "models", "fetch", "m.tar.gz", "got"], folder)
    return _refused(ended, folder, {}, names=("got",))


def _hdf5(folder: Path) -> list[str]:
    write_images(folder / "a", volume()[0])
    return _refused(run(["Histmatch", "v.h5", "a", "out"], folder), folder, {}, names=("out",))


def external_storage(folder: Path) -> list[str]:
    (folder / "secret").write_bytes(bytes(range(200)))
    with h5py.File(folder / "v.h5", "w") as file:
        file.create_dataset("data", (5, 5, 5), np.uint8, external=[(str(folder / "secret"), 0, 125)])
    return _hdf5(folder)


def a_virtual_dataset(folder: Path) -> list[str]:
    with h5py.File(folder / "s.h5", "w") as file:
        file["data"] = np.zeros((5, 5, 5), np.uint8)
    layout = h5py.VirtualLayout((5, 5, 5), np.uint8)
    layout[:] = h5py.VirtualSource(str(folder / "s.h5"), "data", (5, 5, 5))
    with h5py.File(folder / "v.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    return _hdf5(folder)


def an_external_link(folder: Path) -> list[str]:
    with h5py.File(folder / "s.h5", "w") as file:
        file["data"] = np.zeros((5, 5, 5), np.uint8)
    with h5py.File(folder / "v.h5", "w") as file:
        file["data"] = h5py.ExternalLink(str(folder / "s.h5"), "/data")
    return _hdf5(folder)


def _special(folder: Path, name: str, command: list[str], make: Callable[[Path], None]) -> list[str]:
    _prediction(folder)
    _maps(folder)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.unlink()
    make(path)
    ended = start(command, folder).end(patience=30)
    return ended.faults() + ["not refused"] * (ended.status == 0)


def _pipe(name: str, command: list[str]) -> Callable[[Path], list[str]]:
    def situation(folder: Path) -> list[str]:
        return _special(folder, name, command, os.mkfifo)

    situation.__name__ = f"a_pipe_in_place_of_{name}"
    return situation


def _zeros(name: str, command: list[str]) -> Callable[[Path], list[str]]:
    def situation(folder: Path) -> list[str]:
        return _special(folder, name, command, lambda path: path.symlink_to("/dev/zero"))

    situation.__name__ = f"an_endless_device_in_place_of_{name}"
    return situation


def _loop(name: str, command: list[str]) -> Callable[[Path], list[str]]:
    def situation(folder: Path) -> list[str]:
        return _special(folder, name, command, lambda path: path.symlink_to(path.name))

    situation.__name__ = f"a_link_to_itself_in_place_of_{name}"
    return situation


PLACES = (
    ("images/i_2.png", [*PREDICT, "trained", "images", "out"]),
    ("v.tif", ["Histmatch", "v.tif", "a", "out"]),
    ("v.h5", ["Histmatch", "v.h5", "a", "out"]),
    ("trained/1fm/deploy.prototxt", [*PREDICT, "trained", "images", "out"]),
    ("trained/1fm/trainedmodel/1fm_classifer_iter_2.caffemodel", [*PREDICT, "trained", "images", "out"]),
    ("x.prototxt", ["cdeep3m", "models", "info", "x.prototxt"]),
    ("m.tar", ["cdeep3m", "models", "fetch", "m.tar", "got"]),
    ("a.csv", ["PlotValidation", "a.csv", "a.csv", "out"]),
    ("out.log", ["runvalidation.sh", "out.log", "out"]),
    ("out/predict.config", WORKER),
)


def an_output_that_is_an_input(folder: Path) -> list[str]:
    wrong = []
    _training(folder)
    _maps(folder) if not (folder / "a").exists() and not shutil.rmtree(folder / "labels") else None
    kept = digest(folder, ("images", "labels", "a", "b"))
    for words in (
        [*PREDICT, "trained", "images", "images"],
        ["EnsemblePredictions", "a", "b", "a"],
        ["EnsemblePredictions", "a", "b", "b"],
        ["PreprocessTrainingData", "images", "labels", "labels"],
        ["PreprocessValidation", "images", "labels", "images"],
        ["PreprocessImageData", "images", "images"],
        ["DefDataPackages", "images", "images"],
        ["Histmatch", "images", "a", "images"],
        ["overlay.py", "a", "labels", "labels"],
        ["cdeep3m", "train", "--gpu", "-1", "images", "labels", "images"],
        [*PREDICT, "trained", "images", ""],
        ["PreprocessTrainingData", "images", "labels", ""],
    ):
        ended = run(words, folder)
        wrong += [
            f"{words}: {fault}"
            for fault in ["not refused"] * (ended.status == 0) + ["traceback"] * ("Traceback" in ended.said)
        ]
        wrong += [f"{words}: altered its input"] * (digest(folder, ("images", "labels", "a", "b")) != kept)
    return wrong


SITUATIONS: tuple[Callable[[Path], list[str]], ...] = (
    nets_that_lead_out_of_the_run,
    an_absolute_net,
    a_net_that_is_a_folder_of_the_run,
    a_link_in_place_of_a_net,
    a_link_in_place_of_the_ensemble,
    a_link_in_place_of_the_logs,
    a_link_in_place_of_a_log,
    a_link_in_place_of_a_plane,
    an_archive_that_leads_out,
    an_archive_with_an_absolute_name,
    an_archive_with_a_link,
    an_archive_with_a_device,
    an_archive_with_a_huge_name,
    an_archive_of_zeros,
    external_storage,
    a_virtual_dataset,
    an_external_link,
    an_output_that_is_an_input,
    *(_pipe(*place) for place in PLACES),
    *(_zeros(*place) for place in PLACES),
    *(_loop(*place) for place in PLACES),
)
