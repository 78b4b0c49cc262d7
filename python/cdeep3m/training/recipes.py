"""Recipes: named, versioned sets of options that a training takes where the command line does not say otherwise."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from cdeep3m.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "recipes.toml"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named set of options.

    Attributes
    ----------
    name : str
    version : int
        Raised whenever an option changes.
    about : str
        What it is for, in a line.
    options : mapping of str to a value
        Options of `cdeep3m train`, without their hyphens.
    """

    name: str
    version: int
    about: str
    options: Mapping[str, Any]


def recipes() -> dict[str, Recipe]:
    """Return all recipes, by name; that of the original is the first."""
    content = tomllib.loads(files("cdeep3m.training").joinpath(FILE).read_text(encoding="utf-8"))
    return {name: Recipe(name=name, **table) for name, table in content.items()}


def recipe_called(name: str) -> Recipe:
    """Return a recipe.

    Raises
    ------
    InputError
        There is none of that name.
    """
    found = recipes()
    if name not in found:
        raise InputError(f"no recipe is called {name}; expected one of {', '.join(found)}")
    return found[name]
