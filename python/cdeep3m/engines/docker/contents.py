"""From an image's name to the content that a run may use: found here or pulled, and the one that was pinned."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, ImageNotFound

from cdeep3m.engines.docker.daemon import one_line, talking
from cdeep3m.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cdeep3m.engines.images import Image, Lock

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True, kw_only=True)
class Content:
    """An image as it lies here.

    Attributes
    ----------
    image : Image
        What it is called.
    id : str
        Docker's number of its content: what containers are made of.
    digest : str
        What it is pinned as: `name@sha256:...` of its registry, or its `id` where it came from none.
    environment : mapping of str to str
        The environment of its containers.
    """

    image: Image
    id: str
    digest: str
    environment: Mapping[str, str]

    def program(self, tool: str) -> str:
        """Return how a container calls `tool`.

        Raises
        ------
        EngineError
            The folder of the tools depends on a variable that the image does not set.
        """
        if not self.image.tools:
            return tool
        missing = [name for name in re.findall(r"\$(\w+)", self.image.tools) if name not in self.environment]
        if missing:
            raise EngineError(
                f"the image {self.image.name} sets no {missing[0]}, in which its {tool} was looked for: write the "
                "folder of its tools to images.toml (see `cdeep3m engines list`)"
            )
        folder = re.sub(r"\$(\w+)", lambda match: self.environment[match[1]], self.image.tools)
        return f"{folder.rstrip('/')}/{tool}"


def demand(client: Any, image: Image, lock: Lock) -> Content:
    """Return the content of `image` that runs may use: pulled where it is absent, pinned where it was not.

    Raises
    ------
    EngineError
        It can neither be found nor pulled, or is not what was pinned.
    """
    pin = lock.pin_of(image)
    found = find(client, image, pin) or pull(client, image, pin)
    if pin and not _is(found, pin):
        raise EngineError(wrong_digest(image, pin, found))
    content = _content(image, found, pin)
    if not pin:
        lock.pin(image, content.digest)
        logger.info("%s is %s from now on (%s)", image.name, content.digest, lock.path)
    return content


def find(client: Any, image: Image, pin: str = "") -> Any | None:
    """Return Docker's image for `pin` or else for the image's name, None where it is not here.

    Raises
    ------
    EngineError
        Another content has the name now, and the pinned one is in no registry.
    """
    with talking():
        for name in filter(None, (pin, image.reference if not pin else "")):
            try:
                return client.images.get(name)
            except ImageNotFound:
                continue
    if pin and not _in_registry(pin):
        other = find(client, image)
        raise EngineError(wrong_digest(image, pin, other) if other else absent(image))
    return None


def pull(client: Any, image: Image, pin: str = "") -> Any:
    """Fetch `image`, or what was pinned of it, from its registry; the log says how far it is.

    Raises
    ------
    EngineError
        There is no such image in a registry, or it cannot be reached.
    """
    if image.build:
        raise EngineError(absent(image))
    repository, _, tag = image.reference.rpartition(":")
    wanted = pin.partition("@")[2] if _in_registry(pin) else tag
    logger.info("pulling %s", pin or image.reference)
    with talking(f"pulling {image.name}"):
        try:
            _follow(client.api.pull(repository, tag=wanted, stream=True, decode=True), image)
        except APIError as error:
            raise EngineError(not_pulled(image, error.explanation or error)) from error
    found = find(client, image, pin)
    if found is None:
        raise EngineError(f"{image.name} was pulled, but Docker does not have it: try `docker pull {image.reference}`")
    return found


def absent(image: Image) -> str:
    """Return that `image` is not here, and how to get it."""
    remedy = (
        f"build it with `{image.build}`, or use another one with --image"
        if image.build
        else "it is pulled at the first run"
    )
    return f"no image {image.name} here: {remedy}"


def not_pulled(image: Image, reason: object) -> str:
    """Return that `image` could not be fetched, and why."""
    return f"{image.name} cannot be pulled: {one_line(str(reason))}; check its name, the network and `docker login`"


def wrong_digest(image: Image, pin: str, found: Any) -> str:
    """Return that the content of `image` is not the one that was pinned, and how to accept it."""
    remedy = (
        "check where it comes from"
        if image.digest
        else f"`cdeep3m engines pin {image.name}` accepts it, if you trust it"
    )
    return f"{image.name} is {digest_of(found)} here, but {pin} was pinned: {remedy}"


def digest_of(found: Any, reference: str = "") -> str:
    """Return what a found image is pinned as: its digest in a registry, or its id."""
    repository = reference.rpartition(":")[0]
    digests = sorted(found.attrs.get("RepoDigests") or [], key=lambda name: not name.startswith(f"{repository}@"))
    return str(digests[0]) if digests else str(found.id)


def environment_of(found: Any) -> dict[str, str]:
    """Return the environment of the image's containers."""
    entries = (found.attrs.get("Config") or {}).get("Env") or []
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _content(image: Image, found: Any, pin: str) -> Content:
    digest = pin or digest_of(found, image.reference)
    return Content(image=image, id=str(found.id), digest=digest, environment=environment_of(found))


def _is(found: Any, pin: str) -> bool:
    """Return whether a found image is what was pinned: by its id, or by its digest in a registry."""
    digests = [name.partition("@")[2] for name in found.attrs.get("RepoDigests") or []]
    return pin.rpartition("@")[2] in (found.id, *digests)


def _in_registry(pin: str) -> bool:
    return "@" in pin


def _follow(steps: Iterable[Mapping[str, Any]], image: Image) -> None:
    """Log how far a pull is."""
    layers: dict[str, tuple[int, int]] = {}
    say = _seldom(SECONDS_BETWEEN_LINES)
    for step in steps:
        if "error" in step:
            raise EngineError(not_pulled(image, step["error"]))
        detail = step.get("progressDetail") or {}
        if step.get("status") == "Downloading" and detail.get("total"):
            layers[step["id"]] = (detail["current"], detail["total"])
            done, total = (sum(numbers) for numbers in zip(*layers.values(), strict=True))
            say(f"pulling {image.name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")


def _seldom(seconds: float) -> Callable[[str], None]:
    """Return a function that logs a line unless it did so less than `seconds` ago."""
    last = time.monotonic()

    def say(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            logger.info("%s", line)

    return say
