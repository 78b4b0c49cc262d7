"""The trained models that CDeep3M's authors published (caffe_models/trained_models.json)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

from cdeep3m.errors import InputError

DOI_RESOLVER = "https://doi.org/"


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """One published model; what is not known for certain is None.

    Attributes
    ----------
    name : str
        What this project calls it.
    accession : str
        Its number in the Cell Image Library.
    doi : str
        Where it is described.
    target : str
        What it finds.
    images : str or None
        What images it was trained for.
    voxel_size_nm : tuple of float or None
        Along (z, y, x).
    address : str or None
        Where its archive is.
    size : int or None
        Bytes of the archive.
    sha256 : str or None
        Hash of the archive.
    """

    name: str
    accession: str
    doi: str
    target: str
    images: str | None = None
    voxel_size_nm: tuple[float, float, float] | None = None
    address: str | None = None
    size: int | None = None
    sha256: str | None = None

    @property
    def page(self) -> str:
        """Address that leads to the model: to its archive, or to the page that describes it."""
        return f"{DOI_RESOLVER}{self.doi}"

    @property
    def by_hand(self) -> str:
        """What to do where the archive does not come of itself."""
        return (
            f"download the archive of {self.name} by hand and give the file, or its address, in place of the name; or "
            "name a mirror with --address"
        )

    def archive(self, template: str | None = None) -> str:
        """Return the address of the archive; where none is known the DOI, which led to the archives once.

        Parameters
        ----------
        template : str, optional
            Where archives are instead: an address in which {name} and {accession} stand for the model's.

        Raises
        ------
        InputError
            The template has other words in braces.

        Examples
        --------
        >>> find("synapses").archive("https://models.example/{accession}.tar")
        'https://models.example/50685.tar'
        """
        if template:
            return _filled(template, self)
        return self.address or self.page


def published_models() -> list[PublishedModel]:
    """Return the published models, by accession number."""
    text = files("cdeep3m.caffe_models").joinpath("trained_models.json").read_text(encoding="utf-8")
    return [_model(entry) for entry in json.loads(text)]


def find(name: str) -> PublishedModel | None:
    """Return the published model of that name or accession number, or None.

    Examples
    --------
    >>> find("50682").name
    'vesicles'
    """
    return next((model for model in published_models() if name in (model.name, model.accession)), None)


def _model(entry: dict[str, object]) -> PublishedModel:
    voxel = entry.pop("voxel_size_nm")
    return PublishedModel(voxel_size_nm=tuple(voxel) if isinstance(voxel, list) else None, **entry)  # type: ignore[arg-type]


def _filled(template: str, model: PublishedModel) -> str:
    try:
        return template.format(name=model.name, accession=model.accession)
    except (KeyError, IndexError, ValueError):
        raise InputError(
            f"--address {template}: expected an address with {{accession}} or {{name}} in it, and no other braces"
        ) from None
