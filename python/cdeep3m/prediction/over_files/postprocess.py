"""From the files that an engine wrote to probability maps: de-augment and average, stitch, average nets."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.engines.base import STACK_OUTPUT, plane_file
from cdeep3m.errors import FormatError, InputError, MissingFileError
from cdeep3m.geometry import from_caffe_axes
from cdeep3m.matlab_ports.imageimporter import take_class_of_first
from cdeep3m.matlab_ports.imread import imread
from cdeep3m.matlab_ports.merge_16_probs import file_of_plane, wanted_files
from cdeep3m.rules import CORRECTED, ORIGINAL, Rules
from cdeep3m.runs.names import AVERAGED_PLANE, DONE, MAP_PLANE, MAP_PLANES
from cdeep3m.system.files import LEFT_TO_SYSTEM, Naming, Settling, demand_apart, own_folder, write_text
from cdeep3m.system.threads import for_each
from cdeep3m.tiling import stitching
from cdeep3m.tiling.info_file import read_tiling
from cdeep3m.tiling.variants import VARIANTS
from cdeep3m.volumes.gray import demand_finite
from cdeep3m.volumes.hdf5 import read_dataset
from cdeep3m.volumes.names import natural_key, series_of
from cdeep3m.volumes.planes import image_plane
from cdeep3m.volumes.png import read_plane, write_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdeep3m.runs.calibration import Calibration
    from cdeep3m.tiling.grid import Tiling
    from cdeep3m.tiling.packages import Package
    from cdeep3m.tiling.variants import Variant

MOVED = "segmentation_{:04d}.png"
AVERAGED_MARKER = ".averaged"
FOREGROUND = 1
GRAY_AXES = 2


def average_variants(
    folder: str | os.PathLike[str], *, rules: Rules = CORRECTED, calibration: Calibration | None = None
) -> int:
    """De-augment and average a package's predictions, write 16-bit planes, then remove the predictions.

    Ports StartPostprocessing.m.

    Parameters
    ----------
    folder : path
        A package's folder with `v<i>/test.h5_shift_<k>.h5`; gets `test.h5_shift__<k>.png`, numbered from 0.
    rules : Rules
        Count planes as the original does (defect 16).
    calibration : Calibration, optional
        What becomes of the averaged probabilities.

    Returns
    -------
    int
        How many planes were written.

    Raises
    ------
    MissingFileError
        No predictions, or some plane of some variant is missing.
    FormatError
        A file is no prediction.
    InputError
        A probability is no number.
    """
    package = Path(folder)
    was_averaged = _discard_averaged(package)
    variants = _predicted_variants(package)
    if was_averaged and not variants:
        return len(by_number(package, 0))
    if not variants:
        raise MissingFileError(f"no predictions in {package}: expected folders v1 to v16. Run the prediction first")
    count = entries_as_planes if rules.stray_files_count else planes_by_name
    files = count([_variant_folder(package, variant) for variant in variants])
    planes = wanted_files(files)
    if not planes and not rules.stray_files_count:
        raise InputError(
            f"{package} holds {files} predicted planes; expected at least 5, padding included. Predict it again"
        )

    def average_plane(k: int) -> None:
        predictions = (
            (variant, read_prediction(package, variant, file_of_plane(planes[k], variant.index, files)))
            for variant in variants
        )
        average = stitching.average(predictions)
        if not rules.is_exact:
            demand_finite(average, f"plane {k} of {package}")
        averaged = stitching.to_png16(average)
        shown = calibration.apply(averaged) if calibration else averaged
        write_plane(package / AVERAGED_PLANE.format(k), shown, naming=settling)

    with Settling() as settling:
        for_each(average_plane, range(len(planes)))
    _remove_predictions(package)
    return len(planes)


def was_averaged(folder: Path, planes: int) -> bool:
    """Return whether a package has all of its averaged planes and no predictions any longer, but no marker yet."""
    return not _predicted_variants(folder) and set(by_number(folder, planes)) == set(range(planes))


def planes_by_name(folders: Sequence[Path]) -> int:
    """Return how many planes every variant has, by the names of its files; others do not count (correction 16).

    Raises
    ------
    MissingFileError
        When a plane of a variant is missing.
    """
    found = [_numbered(folder, plane_file(STACK_OUTPUT, r"(\d+)")) for folder in folders]
    files = 1 + max((max(numbers, default=-1) for numbers in found), default=-1)
    for folder, numbers in zip(folders, found, strict=True):
        missing = sorted(set(range(files)) - set(numbers))
        if missing or not files:
            raise MissingFileError(
                f"no {folder / plane_file(STACK_OUTPUT, missing[0] if missing else 0)}; expected one file for each of "
                f"{files or 'the'} planes in every variant's folder. Predict this package again"
            )
    return files


def entries_as_planes(folders: Sequence[Path]) -> int:
    """Return how many files the first variant's folder holds, whatever they are, as StartPostprocessing.m counts."""
    return sum(1 for path in folders[0].iterdir() if path.is_file() and not path.name.startswith("."))


def read_prediction(package: Path, variant: Variant, number: int) -> np.ndarray:
    """Return the foreground probabilities of one plane of one variant, as the net saw it.

    Returns
    -------
    ndarray of float32, shape (y, x)

    Raises
    ------
    FormatError
        When the file does not hold one plane of two classes.
    """
    path = _variant_folder(package, variant) / plane_file(STACK_OUTPUT, number)
    blob = read_dataset(path, "data")
    if blob.ndim != 4 or blob.shape[:2] != (1, 2):
        raise FormatError(f"{path} has shape {blob.shape}; expected (1, 2, x, y). Predict this package again")
    plain = np.asarray(blob)  # parts of a memmap cost ten times as much to take as parts of an array
    return from_caffe_axes(plain[0, FOREGROUND][..., np.newaxis])[0]


def merge_packages(net_folder: str | os.PathLike[str], *, rules: Rules = CORRECTED) -> int:
    """Stitch the planes of all packages into probability maps (Merge_LargeData.m).

    The packages' planes move to `Pkg_001/segmentation_0001.png` and so on, numbered through all z-blocks; what an
    interrupted run has moved stays there.

    Parameters
    ----------
    net_folder : path
        `<aug>/<net>` with the packages' folders, below the folder that holds `de_augmentation_info.mat`; gets
        `Segmented_0001.png` ... and, last of all, `DONE`.
    rules : Rules
        Scale every plane by its own maximum, and place tiles as the original does (defects 2, 3 and 9).

    Returns
    -------
    int
        How many planes were written.

    Raises
    ------
    MissingFileError
        When planes of a package are missing.
    """
    folder = Path(net_folder)
    tiling = read_tiling(folder.absolute().parent, rules=rules)
    (folder / DONE).unlink(missing_ok=True)
    for package in tiling.packages:
        gather_planes(folder, package, in_order_of_names if rules.bytewise_order else by_number)

    def write_map(z: int) -> None:
        stitched = stitch_plane(folder, tiling, z, rules=rules)
        probability_map = stitching.to_probability_map(stitched, rules=rules)
        write_plane(folder / MAP_PLANE.format(z + 1), probability_map, naming=settling)

    with Settling() as settling:
        for_each(write_map, range(tiling.shape[0]))
    write_text(folder / DONE, "0\n")
    return tiling.shape[0]


def stitch_plane(folder: Path, tiling: Tiling, z: int, *, rules: Rules = CORRECTED) -> np.ndarray:
    """Read plane `z` of every tile and join them.

    Returns
    -------
    ndarray of uint16 or uint8, shape (y, x)
        Of the type of the tiles; uint16 in exact mode. Voxels that no package covers (defect 3) are 0.
    """
    read = read_as_octave if rules.octave_images else read_gray
    stitched = np.zeros(0)
    for package in tiling.packages_at(z):
        tile = read(_moved(folder, package, z))
        if not stitched.size:
            stitched = np.zeros(tiling.shape[1:], np.uint16 if rules.octave_images else tile.dtype)
        stitching.paste(stitched, package, tile)
    return stitched


def gather_planes(folder: Path, package: Package, listed: Callable[[Path, int], dict[int, Path]]) -> None:
    """Move a package's planes to the folder of its tile, numbered by their z.

    Parameters
    ----------
    folder : Path
        The net's folder.
    package : Package
    listed : callable
        Gives the planes of the package's folder by number, from the folder and how many planes the package has.

    Raises
    ------
    MissingFileError
        When there are fewer planes than the z-block has, or more.
    """
    source = folder / package.name
    planes = len(package.planes)
    found = listed(source, planes)
    targets = {k: _moved(folder, package, z) for k, z in enumerate(package.planes)}
    present = {k for k, target in targets.items() if target.exists()} | found.keys()
    if present != targets.keys():
        raise MissingFileError(
            f"{source} holds {len(found)} averaged planes; expected {planes}. "
            f"Run StartPostprocessing {source} first, or predict this package again"
        )
    own_folder(targets[0].parent)
    for k, path in found.items():
        path.replace(targets[k])


def by_number(folder: Path, planes: int) -> dict[int, Path]:
    """Return the planes that StartPostprocessing wrote, by the numbers in their names; other files do not count."""
    del planes
    return _numbered(folder, AVERAGED_PLANE.replace("{:04d}", r"(\d+)"))


def in_order_of_names(folder: Path, planes: int) -> dict[int, Path]:
    """Return all PNG files in bytewise order, as Merge_LargeData.m does; the last one is the z-block's last plane."""
    found = _pngs(folder, rules=ORIGINAL)
    return dict(enumerate(found, start=planes - len(found)))


def ensemble_folders(
    folders: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    rules: Rules = CORRECTED,
    naming: Naming = LEFT_TO_SYSTEM,
    fewest: int = 2,
) -> int:
    """Average the probability maps of several nets (EnsemblePredictions.m).

    Parameters
    ----------
    folders : sequence of path
        At least `fewest` folders of PNG files; the k-th of each belong together.
    out : path
        Gets the averages under the first folder's names; made when it is not there.
    rules : Rules
        Read bilevel planes as logical (defect 6), take as many planes as the first folder has, and stop where a
        later one has none left (defect 17).
    naming : Naming
        See `whole_file`; no marker comes of this function.
    fewest : int
        How many folders there have to be.

    Returns
    -------
    int
        How many planes were written.

    Raises
    ------
    MissingFileError
        A folder that is not there, or has no PNG files.
    InputError
        Fewer folders, or folders that do not fit each other; in exact mode the planes that all have are there.
    """
    if len(folders) < fewest:
        raise InputError(f"found {len(folders)} folder to average; expected at least {'two' if folders else 'one'}")
    listings = [_require_pngs(Path(folder), rules=rules) for folder in folders]
    demand_apart(out, folders)
    if not rules.averages_common_planes:
        require_same_number(listings)
        require_same_planes(listings)
    _refuse_other_maps(Path(out), {path.name for path in listings[0]})
    Path(out).mkdir(parents=True, exist_ok=True)
    read = read_in_class_of_first if rules.octave_images else read_as_they_are
    rows = list(zip(*listings, strict=False))

    def write_average(paths: Sequence[Path]) -> None:
        planes = read(paths)
        require_same_size(paths, planes)
        write_plane(Path(out) / paths[0].name, stitching.ensemble(planes), naming=naming)

    for_each(write_average, rows)
    if len(rows) < len(listings[0]):
        require_same_number(listings)
    return len(rows)


def require_same_number(listings: Sequence[Sequence[Path]]) -> None:
    """Raise InputError when some folder has more planes than another (correction 17)."""
    counts = [len(listing) for listing in listings]
    if len(set(counts)) > 1:
        found = ", ".join(f"{listing[0].parent} has {len(listing)}" for listing in listings)
        raise InputError(f"the folders to average hold different numbers of planes: {found}. Predict the missing ones")


def require_same_planes(listings: Sequence[Sequence[Path]]) -> None:
    """Raise InputError when the numbers in the names say that planes do not belong together."""
    counted = []
    for listing in listings:
        series = series_of(path.name for path in listing)
        counted.append(series[0].counted() if len(series) == 1 else None)
    for listing, numbers in zip(listings, counted, strict=True):
        pairs = list(zip(counted[0] or (), numbers or (), strict=False))
        apart = [(a, b) for a, b in pairs if a - b != pairs[0][0] - pairs[0][1]]
        if apart:
            raise InputError(
                f"plane {apart[0][0]} of {listings[0][0].parent} would be averaged with plane {apart[0][1]} of "
                f"{listing[0].parent}; expected the same planes in every folder. Predict the missing ones"
            )


def _refuse_other_maps(out: Path, names: set[str]) -> None:
    """Refuse to leave averages among the maps of something else."""
    others = sorted(path.name for path in out.glob(MAP_PLANES) if path.name not in names)
    if others:
        raise InputError(
            f"{out} holds {others[0]}, which is none of the {len(names)} planes to write; expected an empty folder. "
            "Delete its files, or choose another one"
        )


def require_same_size(paths: Sequence[Path], planes: Sequence[np.ndarray]) -> None:
    """Raise InputError when planes that belong together differ in size.

    Parameters
    ----------
    planes : sequence of ndarray of any type, shape (y, x)
    """
    for path, plane in zip(paths, planes, strict=True):
        if plane.shape != planes[0].shape:
            raise InputError(
                f"{path} is {_size(plane)} (rows x columns), but {paths[0]} is {_size(planes[0])}; "
                "expected maps of the same volume"
            )
        if plane.dtype != planes[0].dtype and bool not in (plane.dtype, planes[0].dtype):
            raise InputError(
                f"{path} holds {plane.dtype} values, {paths[0]} {planes[0].dtype}; expected maps of one type"
            )


def read_as_they_are(paths: Sequence[Path]) -> list[np.ndarray]:
    """Return gray planes with the values that their files hold.

    Returns
    -------
    list of ndarray of uint8 or uint16, shape (y, x)
    """
    return [read_gray(path) for path in paths]


def read_in_class_of_first(paths: Sequence[Path]) -> list[np.ndarray]:
    """Return planes as EnsemblePredictions.m reads them: a bilevel first one makes the others logical (defect 6).

    Returns
    -------
    list of ndarray of bool, uint8 or uint16, shape (y, x)
    """
    planes = [read_as_octave(path) for path in paths]
    return [take_class_of_first(plane, planes[0].dtype) for plane in planes]


def read_as_octave(path: Path) -> np.ndarray:
    """Return a gray plane with the class that Octave's imread() gives it: logical where it is only black and white.

    Returns
    -------
    ndarray of bool, uint8 or uint16, shape (y, x)

    Raises
    ------
    InputError
        It is no gray plane; the original stops there, too.
    """
    pixels = read_plane(path)
    plane = imread(pixels.values, palette=pixels.palette)
    if plane.ndim != GRAY_AXES:
        raise InputError(f"{path} holds colours; expected gray planes, as predictions are. Convert it to 8-bit gray")
    return plane


def read_gray(path: Path) -> np.ndarray:
    """Return a gray plane as it lies in its file.

    Returns
    -------
    ndarray of uint8 or uint16, shape (y, x)
    """
    return image_plane(read_plane(path), (slice(None), slice(None)), str(path))


def _remove_predictions(package: Path) -> None:
    """Remove the variants' folders; a marker says meanwhile that they have been averaged."""
    write_text(package / AVERAGED_MARKER, "")
    _discard_averaged(package)


def _discard_averaged(package: Path) -> bool:
    """Finish removing what a marker says was averaged; newer predictions stay. Return whether there was a marker."""
    marker = package / AVERAGED_MARKER
    if not marker.exists():
        return False
    averaged = marker.stat().st_mtime_ns
    for variant in _predicted_variants(package):
        folder = _variant_folder(package, variant)
        if max((path.stat().st_mtime_ns for path in folder.iterdir()), default=0) <= averaged:
            shutil.rmtree(folder)
    marker.unlink()
    return True


def _predicted_variants(package: Path) -> list[Variant]:
    return [variant for variant in VARIANTS if _variant_folder(package, variant).is_dir()]


def _variant_folder(package: Path, variant: Variant) -> Path:
    return package / f"v{variant.index}"


def _moved(folder: Path, package: Package, z: int) -> Path:
    return folder / f"Pkg_{package.tile:03d}" / MOVED.format(z + 1)


def _numbered(folder: Path, pattern: str) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    matches = ((re.fullmatch(pattern, path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in matches if match}


def _pngs(folder: Path, *, rules: Rules) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() == ".png" and not path.name.startswith("."))
    return sorted(found, key=lambda path: os.fsencode(path.name) if rules.bytewise_order else natural_key(path.name))


def _require_pngs(folder: Path, *, rules: Rules) -> list[Path]:
    found = _pngs(folder, rules=rules)
    if not found:
        what = "no PNG files in it" if folder.is_dir() else "it is not there"
        raise MissingFileError(f"cannot average {folder}: {what}; expected the probability maps of one net")
    return found


def _size(plane: np.ndarray) -> str:
    return " x ".join(map(str, plane.shape))
