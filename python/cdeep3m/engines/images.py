"""Images that hold Caffe's tools: which are known, what they need, and the content that a run may use.

A name such as `ncmir/cdeep3m` can mean another image tomorrow. The content that a name stood for when it was first used
is kept in images.lock in the user's configuration folder, and demanded from then on.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdeep3m.engines.nvidia import Version, dotted, version
from cdeep3m.errors import FormatError, InputError, reading
from cdeep3m.system.files import small_text, write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from cdeep3m.engines.nvidia import Gpu

DEFAULT_IMAGE = "cdeep3m"
CATALOGUE = "images.toml"
LOCK = "images.lock"
KEYS = ("reference", "purpose", "tools", "cuda", "oldest", "newest", "build", "digest")
DIGEST = re.compile(r"([^@\s]+@)?sha256:[0-9a-f]{64}")
LOCK_HEADING = """\
# The content that each image's name stands for, as `cdeep3m engines pin` or the first run found it. Written by cdeep3m.
"""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that holds Caffe's tools.

    Attributes
    ----------
    name : str
        What users call it.
    reference : str
        What Docker calls it, with its tag.
    purpose : str
        What it is for.
    tools : str
        Folder of the tools in it, with the image's own $VARIABLES; empty: on its PATH.
    cuda, oldest, newest : tuple of int, optional
        CUDA of its Caffe; compute capabilities that it runs on.
    build : str
        Command that builds it, where no registry has it.
    digest : str
        The only content that is accepted; empty: what images.lock says.
    """

    name: str
    reference: str
    purpose: str = ""
    tools: str = ""
    cuda: Version | None = None
    oldest: Version | None = None
    newest: Version | None = None
    build: str = ""
    digest: str = ""

    def stops(self, gpu: Gpu) -> str:
        """Return why this image cannot use `gpu`, with the remedy; empty when nothing is known against it."""
        if gpu.capability is None:
            return ""
        built = f"its CUDA {dotted(self.cuda).removesuffix('.0')} knows" if self.cuda else "it knows"
        if self.newest and gpu.capability > self.newest:
            return (
                f"{gpu} is too new for {self.name}: {built} compute capabilities up to {dotted(self.newest)}; "
                "use --engine embedded, or another image with --image"
            )
        if self.oldest and gpu.capability < self.oldest:
            return (
                f"{gpu} is too old for {self.name}: {built} compute capabilities from {dotted(self.oldest)}; "
                "use --gpu -1 for the CPU"
            )
        return ""


def config_folder() -> Path:
    """Return the folder of the user's own settings (XDG_CONFIG_HOME/cdeep3m)."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home and Path(home).is_absolute() else Path.home() / ".config") / "cdeep3m"


def known_images() -> dict[str, Image]:
    """Return the images that this project and the user's own images.toml describe, by name.

    Raises
    ------
    FormatError
        A file is no TOML, or says something that is not understood.
    """
    shipped = files("cdeep3m.engines").joinpath(CATALOGUE).read_text(encoding="utf-8")
    known = _parse(shipped, CATALOGUE)
    own = config_folder() / CATALOGUE
    return known | _parse(_text_of(own), str(own)) if own.is_file() else known


def _text_of(path: Path) -> str:
    with reading(path, "TOML file"):
        return small_text(path)


def find_image(name: str = "") -> Image:
    """Return the image of that name: a known one, or any that Docker can name.

    Parameters
    ----------
    name : str
        Its name; default: CDEEP3M_IMAGE, or else this project's own. With `@sha256:...` it is that content alone.

    Raises
    ------
    InputError
        No image can have that name.
    """
    name = name or os.environ.get("CDEEP3M_IMAGE") or DEFAULT_IMAGE
    if re.search(r"\s", name) or not re.fullmatch(r"[\w.\-/:]+(@sha256:[0-9a-f]{64})?", name):
        raise InputError(f"{name!r} is no image's name: expected one such as {', '.join(known_images())}")
    base, _, digest = name.partition("@")
    described = _described(base)
    return _with(described, name=name, digest=name) if digest else described


def _described(name: str) -> Image:
    for image in known_images().values():
        if name in (image.name, image.reference):
            return image
    return Image(name=name, reference=with_tag(name))


def _with(image: Image, **changes: Any) -> Image:
    return Image(**{**vars(image), **changes})


def with_tag(reference: str) -> str:
    """Return `reference` with the tag that Docker takes when there is none.

    Examples
    --------
    >>> with_tag("ncmir/cdeep3m"), with_tag("localhost:5000/caffe"), with_tag("caffe:9")
    ('ncmir/cdeep3m:latest', 'localhost:5000/caffe:latest', 'caffe:9')
    """
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"


class Lock:
    """The user's images.lock.

    Attributes
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or config_folder() / LOCK

    def pins(self) -> dict[str, str]:
        """Return the content that is demanded of each reference.

        Raises
        ------
        FormatError
            The file is not as this class writes it.
        """
        if not self.path.is_file():
            return {}
        pins = _toml(_text_of(self.path), str(self.path))
        wrong = [name for name, pin in pins.items() if not isinstance(pin, str) or not DIGEST.fullmatch(pin)]
        if wrong:
            raise FormatError(f"{self.path}: {wrong[0]} has no sha256 digest; delete its line, or the file")
        return pins

    def pin_of(self, image: Image) -> str:
        """Return the content that is demanded of `image`; empty when it was never used."""
        return image.digest or self.pins().get(image.reference, "")

    def pin(self, image: Image, content: str) -> None:
        """Demand `content` of `image` from now on.

        Raises
        ------
        InputError
            `content` is no digest, or the image has one in its description or its name.
        """
        if not DIGEST.fullmatch(content):
            raise InputError(f"{content!r} is no digest: expected sha256: and 64 digits and letters a to f")
        if image.digest:
            raise InputError(f"{image.name} is always {image.digest}: nothing to pin")
        self._write({**self.pins(), image.reference: content})

    def unpin(self, image: Image) -> bool:
        """Demand nothing of `image` any longer; return whether there was something."""
        pins = self.pins()
        found = pins.pop(image.reference, None) is not None
        if found:
            self._write(pins)
        return found

    def _write(self, pins: dict[str, str]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"{json.dumps(name)} = {json.dumps(pin)}\n" for name, pin in sorted(pins.items()))
        write_text(self.path, LOCK_HEADING + "".join(lines))


def _parse(text: str, source: str) -> dict[str, Image]:
    return {name: _image(name, entry, source) for name, entry in _toml(text, source).items()}


def _toml(text: str, source: str) -> dict[str, Any]:
    with reading(source, "TOML file"):
        return tomllib.loads(text)


def _image(name: str, entry: Any, source: str) -> Image:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise FormatError(
            f'{source}: {name} must be a table of texts, [{json.dumps(name)}] and lines such as cuda = "9"'
        )
    if unknown := sorted(set(entry) - set(KEYS)):
        raise FormatError(f"{source}: {name} has {', '.join(unknown)}; expected {', '.join(KEYS)}")
    numbers = {key: _version(entry[key], f"{source}: {key} of {name}") for key in KEYS[3:6] if key in entry}
    texts = {key: value for key, value in entry.items() if key not in numbers}
    return Image(name=name, **{**texts, **numbers, "reference": with_tag(entry.get("reference", name))})


def _version(text: str, where: str) -> Version:
    found = version(text)
    if found is None:
        raise FormatError(f'{where} is {text!r}; expected a version such as "9" or "7.0"')
    return found
