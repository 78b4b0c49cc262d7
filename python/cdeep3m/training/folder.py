"""Make the folder of a training: the nets, their solvers and the lists of files (CreateTrainJob.m)."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cdeep3m import __version__
from cdeep3m.engines.job_files import listed_files
from cdeep3m.errors import FormatError, InputError, MissingFileError, NetError, RunError
from cdeep3m.matlab_ports.create_train_job import TRAINING_STACKS, bytewise, list_file, snapshot_prefix
from cdeep3m.nets import prototxts
from cdeep3m.nets.prototxts import DEPLOY, NETS, SOLVER, TRAIN_LIST, TRAIN_VAL, VALID_LIST
from cdeep3m.nets.retraining import training_net
from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import TRAIN, NetParameter
from cdeep3m.rules import CORRECTED, Rules
from cdeep3m.runs.gray_range import GrayRange, read_range, write_range
from cdeep3m.runs.made_of import NOTE, STACKS, TRAINING_FILES, read_note
from cdeep3m.runs.trained import STATE_SUFFIX, TrainedRun, snapshots
from cdeep3m.system.files import demand_apart, own_folders, sweep_tree, whole_folder, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from cdeep3m.nets.prototxts import NetMake

README = """\
This folder holds a CDeep3M training.

1fm, 3fm, 5fm      one folder a net; its name says how many planes the net sees at once
  deploy.prototxt    the net that predicts
  train_val.prototxt, solver.prototxt, label_class_selection.prototxt
                     the net that trains, its settings, and how its classes are balanced
  trainedmodel       snapshots: weights (.caffemodel) and what a training needs to go on (.solverstate)
  log                what the training said (out.log)
train_file.txt     the volumes that are trained on
valid_file.txt     the volumes that are tested on
parallel.jobs      the jobs of the last training, 12 lines each
VERSION            the release that made this folder
"""


def create_run_over_files(
    augmented: Path,
    out: Path,
    validation: Path | None = None,
    *,
    make: NetMake | None = None,
    like: Path | None = None,
    rules: Rules = CORRECTED,
) -> None:
    """Make the folder of a training from files (CreateTrainJob.m).

    Parameters
    ----------
    augmented : Path
        Folder with 16 .h5 files for every volume, as PreprocessTrainingData makes them.
    out : Path
        Folder to make; one that holds the same nets already keeps its snapshots.
    validation : Path, optional
        Folder with at least one .h5 file; default: `augmented`.
    make : NetMake, optional
        How the nets differ from DeepEM3D's; its width does not count for nets that are taken over.
    like : Path, optional
        A trained run whose nets are taken over, where it has them.
    rules : Rules
        Whether files name folders as CDeep3M2 does, and whether a folder without files passes, as it does there.

    Raises
    ------
    MissingFileError
        A folder is missing.
    InputError
        Too few or too many .h5 files.
    RunError
        `out` holds models of other nets.
    """
    training_files = h5_files(augmented, as_given=rules.paths_as_given)
    nothing = not training_files and not rules.second_edition
    if nothing or len(training_files) % TRAINING_STACKS:
        raise InputError(
            f"{augmented} holds {len(training_files)} .h5 files, expected {TRAINING_STACKS} for every volume (one "
            "per variant). Make them with PreprocessTrainingData"
        )
    expected = read_note(augmented).get(STACKS)
    if expected is not None and expected != str(len(training_files)):
        raise InputError(
            f"{augmented} holds {len(training_files)} .h5 files, {expected} were to be made: PreprocessTrainingData "
            "was stopped, or a file was added. Run the same PreprocessTrainingData again"
        )
    validation_files = training_files if validation is None else h5_files(validation, as_given=rules.paths_as_given)
    if not validation_files and validation is not None:
        raise InputError(f"{validation} holds no .h5 file. Make one with PreprocessValidation")
    demand_apart(out, [augmented, *([validation] if validation else [])])
    if read_range(augmented) is None:
        _demand_same_files(out, told_files(training_files))
    lists = {TRAIN_LIST: training_files, VALID_LIST: validation_files}
    create_run(out, make=make, like=like, lists=lists, images=read_range(augmented), as_given=rules.paths_as_given)


def create_run(
    out: Path,
    *,
    make: NetMake | None = None,
    like: Path | None = None,
    lists: Mapping[str, Sequence[str]] | None = None,
    images: GrayRange | None = None,
    as_given: bool = False,
) -> None:
    """Make the folder of a training; without `lists`, of one that is fed from memory.

    Parameters
    ----------
    out : Path
        Folder to make; one that holds the same nets already keeps its snapshots.
    make : NetMake, optional
        How the nets differ from DeepEM3D's; its width does not count for nets that are taken over.
    like : Path, optional
        A trained run whose nets are taken over, where it has them.
    lists : mapping of str to sequence of str, optional
        Absolute paths that train_file.txt and valid_file.txt name.
    images : GrayRange, optional
        What is trained on, for later predictions.
    as_given : bool
        Name the folder in its files as it was typed, rather than by its absolute path.

    Raises
    ------
    RunError
        `out` holds models of other nets, or of other images.
    """
    home = Path(os.path.abspath(out))
    if (home / "predict.config").exists():
        raise RunError(f"{home} holds a prediction; expected another place for models. Choose another folder")
    count = len(lists[TRAIN_LIST]) if lists else None
    named = out if as_given else home
    nets = {net: _messages(net, named, make=make, like=like, files_to_read=count) for net in NETS}
    for net, files in nets.items():
        _check_same_net(home, net, files[DEPLOY])
    _demand_same_images(home, images)
    with _whole_folder(home) as folder:
        for name, paths in (lists or {}).items():
            write_text(folder / name, list_file(paths))
        for net, files in nets.items():
            own_folders(folder, folder / net / "trainedmodel")
            for name, message in files.items():
                _write(folder / net / name, message)
        write_text(folder / "VERSION", f"{__version__}\n")
        if images is not None:
            write_range(folder, images)
        if not (folder / "readme.txt").exists():
            write_text(folder / "readme.txt", README)


def demand_nets(out: Path, nets: Iterable[str]) -> None:
    """Refuse nets that the folder of a training will not hold, before anything is read or written.

    Raises
    ------
    InputError
        A name is none of `NETS`, and `out` has no folder of that name.
    """
    unknown = [net for net in nets if net not in NETS and not (out / net).is_dir()]
    if unknown:
        raise InputError(f"found --models {','.join(unknown)}; expected some of {','.join(NETS)}")


def _write(path: Path, message: Message) -> None:
    """Write a prototxt; a solver that is there keeps its comments."""
    if path.name == SOLVER and path.is_file():
        with suppress(FormatError):
            prototxt.write_changes(path, message)
            return
    prototxt.write(path, message)


def check_training_files(augmented: Path) -> int:
    """Look into every .h5 file of `augmented` before a training starts, without reading its values.

    Returns
    -------
    int
        Planes of the deepest volume.

    Raises
    ------
    MissingFileError
        `augmented` is not there.
    FormatError, InputError
        A file is damaged, or lacks images or labels of one size.
    """
    return _deepest(h5_files(augmented))


def listed_planes(run: Path) -> int:
    """Return the planes of the deepest volume in a run's train_file.txt; 0 where it names none that is there."""
    listing = run / TRAIN_LIST
    files = listed_files(listing, run) if listing.is_file() else []
    return _deepest(path for path in files if path.is_file())


def _deepest(paths: Iterable[str | Path]) -> int:
    from cdeep3m.volumes.labelled import labelled_shape

    return max((labelled_shape(path)[-1] for path in paths), default=0)


def h5_files(folder: Path, *, as_given: bool = False) -> list[str]:
    """Return the paths of the .h5 files in `folder`, absolute or beginning with it as it is given, bytewise order.

    Raises
    ------
    MissingFileError
        `folder` is not there.
    """
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is not a directory; expected a folder of .h5 files")
    found = (path for path in folder.iterdir() if path.suffix == ".h5" and not path.name.startswith("."))
    return bytewise(str(path) if as_given else os.path.abspath(path) for path in found)


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Yield `folder` where it is there already, and otherwise a hidden neighbour that takes its name at the end."""
    if folder.exists():
        sweep_tree(folder)
        yield folder
    else:
        with whole_folder(folder) as partial:
            yield partial


def _demand_same_images(home: Path, images: GrayRange | None) -> None:
    """Refuse to go on with other images than the models in a folder were trained on."""
    noted = read_range(home)
    if images is None or noted is None or not images.source or not noted.source or images.source == noted.source:
        return
    if any(snapshots(home / net / "trainedmodel", STATE_SUFFIX) for net in NETS):
        raise RunError(
            f"{home} holds a training on other images or labels (names, sizes or dates differ); expected the "
            f"same ones. Train into another folder (with --retrain {home} it begins with these models)"
        )


def keep_training_files(run: Path) -> None:
    """Note which files a training reads; it goes on with the same ones alone.

    Where the note of their images tells them from others, files that were made anew of the same images will do.

    Raises
    ------
    RunError
        There are snapshots, of a training on other files.
    """
    listing = run / TRAIN_LIST
    if not listing.is_file():
        return
    told = told_files(listed_files(listing, run))
    noted = read_range(run)
    if noted is None or not noted.source:
        _demand_same_files(run, told)
    if read_note(run).get(TRAINING_FILES) != told:
        write_text(run / NOTE, json.dumps({TRAINING_FILES: told}) + "\n")


def told_files(paths: Iterable[str | Path]) -> str:
    """Return what changes when one of some files is replaced: of their names, sizes and dates."""
    digest = hashlib.sha256()
    for path in sorted(map(Path, paths)):
        with suppress(FileNotFoundError):
            found = path.stat()
            digest.update(b"%s\0%d\0%d\0" % (os.fsencode(path.name), found.st_size, found.st_mtime_ns))
    return digest.hexdigest()


def _demand_same_files(run: Path, told: str) -> None:
    """Refuse to go on with other files than those that the models in a folder were trained on."""
    if read_note(run).get(TRAINING_FILES, told) == told:
        return
    if any(snapshots(run / net / "trainedmodel", STATE_SUFFIX) for net in NETS):
        raise RunError(
            f"{run} holds a training on other files (names, sizes or dates differ); expected the same ones. Train into "
            f"another folder (with --retrain {run} it begins with these models)"
        )


def _messages(
    net: str, home: Path, *, make: NetMake | None, like: Path | None, files_to_read: int | None
) -> dict[str, Message]:
    place = as_prototxts_say(home)
    files = prototxts.messages(net, make=make)
    files.update(_taken_over(net, like, make) if like else {})
    for layer in _net(files[TRAIN_VAL]).layer:
        if layer.type == "PatchData":
            training = any(rule.phase == TRAIN for rule in layer.include)
            layer.data_provider_param.data_source = str(Path(place) / (TRAIN_LIST if training else VALID_LIST))
            if training and files_to_read is not None:
                layer.data_provider_param.batch_size = files_to_read
    settings = prototxts.solver(net)
    settings.snapshot_prefix = snapshot_prefix(place, net)
    return {**files, SOLVER: settings}


def _taken_over(net: str, like: Path, make: NetMake | None) -> dict[str, Message]:
    """Return the nets of a trained run.

    The one that trains is made anew around the one that predicts, where it is missing or other patches are wanted.
    """
    predicting, training = (like / net / name for name in (DEPLOY, TRAIN_VAL))
    if not predicting.is_file():
        return {}
    deploy = prototxt.read_net(predicting)
    if training.is_file() and make is None:
        return {DEPLOY: deploy, TRAIN_VAL: prototxt.read_net(training)}
    try:
        return {DEPLOY: deploy, TRAIN_VAL: training_net(net, deploy, make=make)}
    except NetError as error:
        raise NetError(f"{predicting} cannot be trained: {error}") from None


def as_prototxts_say(home: Path) -> str:
    """Return how a net's prototxts call the run's folder: they hold UTF-8 alone, and engines begin in the net's."""
    try:
        str(home).encode()
    except UnicodeEncodeError:
        return ".."
    return str(home)


def _net(message: Message) -> NetParameter:
    assert isinstance(message, NetParameter)
    return message


def _check_same_net(home: Path, net: str, deploy: Message) -> None:
    """Refuse to put another net beside models that were trained with the present one."""
    present = home / net / DEPLOY
    if net not in TrainedRun(home).nets() or not present.is_file() or prototxt.read_net(present) == deploy:
        return
    raise RunError(
        f"{home / net} holds models of a {net} of other size or make. Give the --width, --classes and --binning it "
        "was trained with, or train into another folder"
    )
