"""What is noted of the recipe that a training follows, and what may go on by it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdeep3m.errors import FormatError, RunError
from cdeep3m.runs.recipe import RECORD, Followed, demand_same_recipe, followed, keep_recipe

QUICK = Followed(name="quick", version=1, options={"width": 8, "seed": None}, seconds=60.0)


def test_a_record_reads_as_it_was_written_and_another_is_refused(tmp_path):
    assert followed(tmp_path) is None
    keep_recipe(tmp_path, replace(QUICK, iterations={"1fm": 7}))
    assert followed(tmp_path) == replace(QUICK, iterations={"1fm": 7})
    (tmp_path / RECORD).write_text("{}")
    with pytest.raises(FormatError, match="no record of a recipe"):
        followed(tmp_path)


def test_what_was_planned_is_returned_to_a_training_that_goes_on(tmp_path):
    assert demand_same_recipe(tmp_path, QUICK) is None
    keep_recipe(tmp_path, replace(QUICK, iterations={"1fm": 7}))
    assert demand_same_recipe(tmp_path, QUICK).iterations == {"1fm": 7}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (None, "this one asks for none"),
        (replace(QUICK, version=2), "this one follows quick, version 2"),
        (replace(QUICK, name="best"), "this one follows best, version 1"),
        (replace(QUICK, seconds=None), "with --time 60s; this one has no --time"),
        (replace(QUICK, options={"width": 4, "seed": None}), "with width = 8; this one has 4"),
        (replace(QUICK, options={**QUICK.options, "rare": 0.5}), "with rare = None; this one has 0.5"),
    ],
)
def test_another_recipe_is_refused_with_what_differs(tmp_path, wanted, words):
    keep_recipe(tmp_path, QUICK)
    with pytest.raises(RunError, match=words):
        demand_same_recipe(tmp_path, wanted)


def test_an_option_that_was_not_known_then_counts_as_its_usual_value(tmp_path):
    keep_recipe(tmp_path, QUICK)
    wanted = replace(QUICK, options={**QUICK.options, "later": False})
    assert demand_same_recipe(tmp_path, wanted, usual={"later": False}) is not None
    with pytest.raises(RunError, match="with later = False; this one has True"):
        demand_same_recipe(tmp_path, replace(QUICK, options={"width": 8, "later": True}), usual={"later": False})


def test_a_recipe_does_not_go_on_from_a_training_as_the_original_trains(tmp_path):
    models = tmp_path / "1fm" / "trainedmodel"
    models.mkdir(parents=True)
    assert demand_same_recipe(tmp_path, QUICK) is None
    (models / "1fm_iter_2.solverstate").touch()
    assert demand_same_recipe(tmp_path, None) is None
    with pytest.raises(RunError, match="as the original trains"):
        demand_same_recipe(tmp_path, QUICK)
