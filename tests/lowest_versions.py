"""The lowest versions that pyproject.toml allows; `python lowest_versions.py EXTRA...` prints them for pip to install.

The test extra is left as it is: it is what tests with, and no user's environment.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
BOUND = re.compile(r"(?P<name>[\w.-]+(?:\[[\w,]+\])?)>=(?P<low>[\w.]+)[^;]*(?P<marker>;.*)?")


def lowest(requirement: str) -> str:
    """Return a requirement for the lowest version that `requirement` allows.

    Examples
    --------
    >>> lowest("tomli>=2.0.1,<3; python_version < '3.11'")
    "tomli==2.0.1; python_version < '3.11'"
    """
    bound = BOUND.fullmatch(requirement)
    if bound is None:
        raise ValueError(f"{requirement} has no lower bound; expected NAME>=VERSION")
    return f"{bound['name']}=={bound['low']}{bound['marker'] or ''}"


def requirements(extras: list[str]) -> list[str]:
    """Return the requirements of the package and of some of its extras, at their lowest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"]]
    for extra in extras:
        named += project["optional-dependencies"][extra]
    return [lowest(requirement) for requirement in named]


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))
