"""The list of published models."""

from __future__ import annotations

import re

import pytest

from cdeep3m.errors import InputError
from cdeep3m.models.published import PublishedModel, find, published_models

ACCESSIONS = ["50673", "50681", "50682", "50685", "50687", "50689", "50692"]


def test_the_list_has_the_seven_models_by_accession_number():
    models = published_models()
    assert [model.accession for model in models] == ACCESSIONS
    assert [model.doi for model in models] == [f"10.7295/W9CDEEP3M{number}" for number in ACCESSIONS]
    assert len({model.name for model in models}) == len(models)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", model.name) for model in models)
    assert {model.target for model in models} == {"membranes", "mitochondria", "synaptic vesicles", "synapses"}


@pytest.mark.parametrize("model", published_models(), ids=lambda model: model.name)
def test_a_model_is_found_by_name_and_by_number(model):
    assert find(model.name) == find(model.accession) == model
    assert model.page == f"https://doi.org/{model.doi}"


def test_others_are_not_found():
    assert find("50674") is None
    assert find("") is None


def test_an_address_comes_from_the_template_or_else_from_the_list():
    model = PublishedModel(name="a", accession="1", doi="10.1/x", target="t", address="https://list/a.tar")
    assert model.archive() == "https://list/a.tar"
    assert model.archive("https://mirror/{name}-{accession}.tar") == "https://mirror/a-1.tar"


def test_where_no_address_is_known_the_doi_is_asked():
    assert PublishedModel(name="a", accession="1", doi="10.1/x", target="t").archive() == "https://doi.org/10.1/x"


@pytest.mark.parametrize("template", ["https://mirror/{number}", "https://mirror/{}", "https://mirror/{name"])
def test_other_words_in_braces_are_refused(template):
    with pytest.raises(InputError, match=r"\{accession\} or \{name\}"):
        find("synapses").archive(template)
