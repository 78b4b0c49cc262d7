"""Recipes: data that options of `cdeep3m train` are taken from."""

from __future__ import annotations

import pytest

from cdeep3m.cli import train
from cdeep3m.errors import InputError
from cdeep3m.nets.prototxts import NETS
from cdeep3m.training.by_options import NOT_SET_BY_RECIPES, ORIGINAL, seconds_of, shares_of
from cdeep3m.training.recipes import recipe_called, recipes


@pytest.fixture
def parsed(monkeypatch):
    """What `cdeep3m train` makes of its words."""

    def parse(*words):
        seen = []
        monkeypatch.setattr(train, "_train", seen.append)
        assert train.main([*words, "images", "labels", "out"]) == 0
        return seen[0]

    return parse


def test_the_original_s_recipe_is_the_first_and_sets_nothing():
    first = next(iter(recipes().values()))
    assert (first.name, dict(first.options)) == ("original", {})


@pytest.mark.parametrize("name", recipes())
def test_every_key_is_an_option_that_says_how_to_train(name, parsed):
    options = vars(parsed())
    unknown = [key for key in recipe_called(name).options if key not in options or key in NOT_SET_BY_RECIPES]
    assert unknown == []


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_can_be_asked_for_as_it_is(name, parsed):
    options = parsed("--recipe", name)
    request = train._request(options, planes=0)
    assert request.recipe is (name != "original")
    assert set(request.nets) <= set(NETS)
    shares_of(options, request.nets)
    assert recipe_called(name).version >= 1


def test_a_call_from_python_begins_with_the_options_of_a_command_line_that_gives_none(parsed):
    options = vars(parsed())
    assert {name: value for name, value in options.items() if name not in NOT_SET_BY_RECIPES} == {
        name: value for name, value in ORIGINAL.items() if name not in NOT_SET_BY_RECIPES
    }


def test_options_that_are_given_count_more_than_the_recipe(parsed):
    quick = recipe_called("quick").options
    options = parsed("--recipe", "quick", "--width", "16", "--holdout=25%")
    assert (options.width, options.holdout, options.batch) == (16, "25%", quick["batch"])
    assert parsed().width is None


def test_an_unknown_recipe_is_refused_with_those_there_are(capsys):
    with pytest.raises(InputError, match="expected one of original, quick, best"):
        recipe_called("slow")
    with pytest.raises(SystemExit):
        train.main(["--recipe", "slow", "images", "labels", "out"])
    assert "slow" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "time", "seconds"),
    [
        ((), None, None),
        (("--time", "3"), 3, None),
        (("--time", "30m"), None, 1800),
        (("--time=1h30m", "--time", "2"), 2, 5400),
    ],
)
def test_a_time_with_a_unit_is_how_long_and_one_without_is_which(parsed, words, time, seconds):
    options = parsed(*words)
    assert (options.time, options.training_time) == (time, seconds)


@pytest.mark.parametrize("text", ["soon", "30", "m", "0s", "-5m", "5d"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InputError, match="expected a time"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--time", "5m", "--numiterations", "3"), "both say how long to train"),
        (("--holdout", "120%"), "expected a part of the planes"),
        (("--recipe", "quick", "--exact"), "the original follows no recipe"),
        (("--exact", "--holdout", "10%"), "the original follows no recipe"),
        (("--keep", "best"), "without held-out planes"),
        (("--snapshots", "0"), "expected a number of at least 1"),
        (("--time", "5m", "--shares", "1,2"), "expected 3 numbers above 0"),
        (("--normalise", "plane", "--denoise", "2"), "leave one of them out"),
    ],
)
def test_what_cannot_be_together_is_refused_before_images_are_read(words, message, tmp_path, capsys):
    places = [str(tmp_path / name) for name in ("images", "labels", "out")]
    assert train.main([*words, *places]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_recipe_s_shares_of_other_nets_are_not_used(parsed):
    options = parsed("--recipe", "quick", "--models", "1fm,3fm")
    assert shares_of(options, ("1fm", "3fm")) == {"1fm": 1.0, "3fm": 1.0}
