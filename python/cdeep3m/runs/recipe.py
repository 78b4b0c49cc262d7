"""By which recipe the nets in a folder are trained: all that the recipe sets, as it came to be, and the plan."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cdeep3m.errors import FormatError, RunError
from cdeep3m.system.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECORD = "recipe.json"
"""File in the folder of a training; one without it is trained as the original trains."""
PLANNED = ("iterations",)
"""What a training finds out for itself."""


@dataclass(frozen=True, kw_only=True)
class Followed:
    """The recipe that a training follows.

    Attributes
    ----------
    name : str
    version : int
    options : mapping of str to a value
        Every option that a recipe may set, whether the recipe, the command line or the original's default set it.
    seconds : float, optional
        How long the training may take in all, where that was asked for.
    iterations : mapping of str to int
        How many iterations of each net were planned for that time; empty where none were.
    """

    name: str
    version: int
    options: Mapping[str, Any]
    seconds: float | None = None
    iterations: Mapping[str, int] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The recipe, in words."""
        return f"{self.name}, version {self.version}"


def followed(folder: Path) -> Followed | None:
    """Return the recipe that a training in a folder follows; None for one that trains as the original does.

    Raises
    ------
    FormatError
        The record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        found = Followed(**json.loads(path.read_text(encoding="utf-8")))
        return found if found.options is not None and dict(found.iterations) is not None else None
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(
            f"{path} is no record of a recipe ({error}). Train into another folder, or delete it with the models"
        ) from None


def demand_same_recipe(
    folder: Path, wanted: Followed | None, *, usual: Mapping[str, Any] = MappingProxyType({})
) -> Followed | None:
    """Return what was noted of a training that goes on, which must follow the same recipe.

    Parameters
    ----------
    folder : Path
        Of the training; may not be there yet.
    wanted : Followed or None
        None: as the original trains.
    usual : mapping of str to a value
        What options stand for that were not known when the training began.

    Raises
    ------
    RunError
        Says what differs.
    """
    earlier = followed(folder)
    if earlier is None and wanted is not None and any(folder.glob("*/trainedmodel/*.solverstate")):
        raise RunError(
            f"{folder} holds a training as the original trains; this one follows the recipe {wanted.words}. Expected "
            "the same: leave --recipe out, or train into another folder"
        )
    if earlier is None:
        return None
    differs = _difference(earlier, wanted, usual)
    if differs:
        raise RunError(
            f"{folder} holds a training by the recipe {earlier.words}{differs}. Expected the same: give what was given "
            "before, or train into another folder"
        )
    return earlier


def keep_recipe(folder: Path, wanted: Followed) -> None:
    """Note what a training follows."""
    write_text(folder / RECORD, json.dumps(asdict(wanted), indent=1) + "\n")


def _difference(earlier: Followed, wanted: Followed | None, usual: Mapping[str, Any]) -> str:
    """Return in words what differs; empty where nothing does."""
    if wanted is None:
        return "; this one asks for none"
    if (earlier.name, earlier.version) != (wanted.name, wanted.version):
        return f"; this one follows {wanted.words}"
    if earlier.seconds != wanted.seconds:
        said = [f"--time {seconds:g}s" if seconds else "no --time" for seconds in (earlier.seconds, wanted.seconds)]
        return f" with {said[0]}; this one has {said[1]}"
    before, now = ({**usual, **each.options} for each in (earlier, wanted))
    changed = [name for name in {**earlier.options, **wanted.options} if before.get(name) != now.get(name)]
    if not changed:
        return ""
    name = changed[0]
    return f" with {name} = {before.get(name)}; this one has {now.get(name)}"
