"""What the images of a training went through, written beside the model (`gray_range` notes their gray values)."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdeep3m.edition2.settings import ENHANCED_TEXT, SETTINGS_FILE
from cdeep3m.errors import FormatError, InputError
from cdeep3m.system.files import small_text, write_text
from cdeep3m.volumes.enhancement import Enhancement, Normalisation

if TYPE_CHECKING:
    import os

logger = logging.getLogger(__name__)

RECORD = "trained_on.json"


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """What the images of a training went through.

    Attributes
    ----------
    edition : int
        1, or 2 where the second edition's ways were followed.
    enhancement : Enhancement, optional
        How every plane was enhanced; None where the net saw gray values as they are.
    augmentation : str
        Secondary and tertiary augmentation in words; empty where there was none.
    ignores_voxels : bool
        Whether training files mark voxels that the loss leaves out.
    voxel_size : tuple of float, optional
        Along (z, y, x), where the volume says it.
    volumes : int
        How many volumes were trained on.
    """

    edition: int = 1
    enhancement: Enhancement | None = None
    augmentation: str = ""
    ignores_voxels: bool = False
    voxel_size: tuple[float, float, float] | None = None
    volumes: int = 1

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write the record into a folder of training data, or of a trained model."""
        content = asdict(self)
        if isinstance(self.enhancement, Normalisation):
            content["enhancement"] = {"normalised": True, "whole_volume": self.enhancement.whole_volume}
        write_text(Path(folder) / RECORD, json.dumps(content, indent=1) + "\n")

    @property
    def images(self) -> str:
        """How the images came to the net, in words."""
        return describe_enhancement(self.enhancement)


def describe_enhancement(enhancement: Enhancement | None) -> str:
    """Return in words what images go through.

    Examples
    --------
    >>> describe_enhancement(Enhancement(cut=2)), describe_enhancement(None)
    ('enhanced (2 % cut off, percentiles of each plane)', 'as they are')
    """
    if enhancement is None:
        return "as they are"
    of = "the whole volume" if enhancement.whole_volume else "each plane"
    if isinstance(enhancement, Normalisation):
        return f"normalised (mean and standard deviation of {of})"
    return f"enhanced ({enhancement.cut} % cut off, percentiles of {of})"


def keep_record(folder: str | os.PathLike[str], record: TrainedOn) -> None:
    """Write the record of a training that begins or goes on in `folder`.

    Raises
    ------
    InputError
        Models are there whose images were treated otherwise.
    """
    earlier = trained_on(folder)
    if earlier and earlier.enhancement != record.enhancement and any(Path(folder).glob("*/trainedmodel/*.caffemodel")):
        raise InputError(
            f"{folder} holds models trained on images {earlier.images}; now they are {record.images}. "
            "Train as before, or into another folder"
        )
    record.write(folder)


def warn_of_other_images(retrained: str | os.PathLike[str] | None, record: TrainedOn | None) -> None:
    """Warn where a model is trained further on images that were treated otherwise than those it was trained on."""
    earlier = trained_on(retrained) if retrained else None
    if earlier and earlier.enhancement != (record.enhancement if record else None):
        logger.warning(
            "Warning: %s was trained on images %s; it goes on with images %s",
            retrained,
            earlier.images,
            describe_enhancement(record.enhancement if record else None),
        )


def trained_on(folder: str | os.PathLike[str]) -> TrainedOn | None:
    """Return the record of a folder, or what CDeep3M2's own settings in it say; None where there is neither.

    Where only some volumes of CDeep3M2 are enhanced, the model counts as trained on enhanced ones, with a warning.

    Raises
    ------
    FormatError
        The record is damaged.
    """
    path, pattern = Path(folder) / RECORD, SETTINGS_FILE.format("*")
    if path.is_file():
        return _read(path)
    settings = [small_text(file, errors="replace") for file in sorted(Path(folder).glob(pattern))]
    if not settings:
        return None
    enhanced = {text.startswith(ENHANCED_TEXT.split("\n")[0]) for text in settings}
    if len(enhanced) > 1:
        warn_of_both_kinds(folder)
    return TrainedOn(edition=2, enhancement=Enhancement() if True in enhanced else None, volumes=len(settings))


def warn_of_both_kinds(folder: str | os.PathLike[str]) -> None:
    """Say what a model that sees enhanced volumes beside others will be predicted with."""
    logger.warning(
        "Warning: %s holds enhanced volumes (SEC -1) beside others; predictions will enhance their images, unless "
        "--denoise 0 says otherwise",
        folder,
    )


def _enhancement(noted: dict[str, Any]) -> Enhancement:
    if noted.pop("normalised", False):
        return Normalisation(**noted)
    return Enhancement(**noted)


def _read(path: Path) -> TrainedOn:
    try:
        content = json.loads(small_text(path))
        enhancement = content.pop("enhancement")
        content["voxel_size"] = tuple(content["voxel_size"]) if content.get("voxel_size") else None
        return TrainedOn(enhancement=_enhancement(enhancement) if enhancement else None, **content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(
            f"{path} is no record of a training ({error}). Delete it, and say with --denoise what the model expects"
        ) from None
