"""One HTML page that holds everything in itself: no request leaves it, so it can be mailed and kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cdeep3m import __version__
from cdeep3m.errors import needing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

PACKAGE = "pip install 'cdeep3m[report]'"


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template of this room.

    Parameters
    ----------
    template : str
        Name of its file.
    values : mapping
        What it uses; text is escaped.

    Returns
    -------
    str
        A page.

    Raises
    ------
    MissingExtraError
        Without jinja2.
    """
    return _environment().get_template(template).render(version=__version__, **values)


def safe(markup: str) -> Any:
    """Return markup of our own, which a template takes as it is.

    Raises
    ------
    MissingExtraError
        Without jinja2, which brings what this needs.
    """
    with needing("jinja2", extra="report", module="markupsafe"):
        from markupsafe import Markup
    return Markup(markup)  # noqa: S704 - nothing in it comes from a user unescaped


def load_templates() -> None:
    """Load what fills templates; `render` does without that, later."""
    _environment()


def _environment() -> Environment:
    with needing("jinja2", extra="report", module="jinja2"):
        from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cdeep3m.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data"] = _as_data
    environment.filters["duration"] = duration
    environment.filters["bytes"] = size
    environment.filters["share"] = share
    return environment


def _as_data(values: Any) -> Any:
    """Return values as JSON that no text can end early within a script element."""
    return safe(json.dumps(values, allow_nan=False).replace("<", "\\u003c"))


def duration(seconds: float | None) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> duration(0.42), duration(42), duration(100), duration(7300), duration(None)
    ('0.4 s', '42 s', '1 min 40 s', '2 h 2 min', 'unknown')
    """
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def size(count: float | None) -> str:
    """Return bytes as people say them.

    Examples
    --------
    >>> size(3_400_000_000), size(512), size(None)
    ('3.4 GB', '512 B', 'unknown')
    """
    if count is None:
        return "unknown"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def share(part: float | None) -> str:
    """Return a part of a whole in percent.

    Examples
    --------
    >>> share(0.5), share(0.0012), share(None)
    ('50 %', '0.12 %', 'unknown')
    """
    if part is None:
        return "unknown"
    return f"{part * 100:.2g} %" if part < 0.1 else f"{part * 100:.0f} %"
