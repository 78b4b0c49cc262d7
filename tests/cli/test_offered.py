"""Commands list some choices themselves, so that --help stays quick: they are those of the library."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import get_args

from cdeep3m.cli import convert, training_options, volume_options
from cdeep3m.evaluation import scoring
from cdeep3m.maps import open as maps_open
from cdeep3m.maps.base import MapType
from cdeep3m.nets.prototxts import LR_POLICIES
from cdeep3m.rules import SPEEDS
from cdeep3m.training.by_options import RECIPES
from cdeep3m.training.recipes import recipes

COMMANDS = Path(convert.__file__).parent


def test_formats_of_maps():
    assert set(volume_options.FORMATS) == {form.name for form in maps_open.FORMATS}


def test_types_of_maps():
    assert volume_options.MAP_TYPES == scoring.MAP_TYPES
    assert set(convert.TYPES) <= set(get_args(MapType))


def test_policies_of_the_learning_rate():
    parser = argparse.ArgumentParser()
    training_options.add_solver_options(parser)
    said = parser.format_help()
    assert [policy for policy in LR_POLICIES if not re.search(rf"\b{policy}\b", said)] == []


def test_recipes():
    assert tuple(recipes()) == RECIPES


def test_speeds():
    found = {
        shown
        for path in COMMANDS.glob("*.py")
        for shown in re.findall(r'metavar="(1\|[\d|]+)"', path.read_text(encoding="utf-8"))
    }
    assert found == {"|".join(map(str, SPEEDS))}
