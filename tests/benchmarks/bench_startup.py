"""How long a command takes before it does anything; the peak is a Python that does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.settings import best

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.settings import Settings

TRIES = 15


def figures(settings: Settings) -> Iterator[Figure]:
    """Measure `--help` and `import cdeep3m`, in turns with `python -c pass`."""
    helps, imports, nothing = [], [], []
    for _ in range(2 if settings.small else TRIES):
        nothing.append(settings.python("-c", "pass"))
        imports.append(settings.python("-c", "import cdeep3m"))
        helps.append(settings.command("runprediction.sh", "--help"))
    peak = best(nothing).seconds
    yield Figure(name="runprediction.sh --help", value=best(helps).seconds, unit="s", peak=peak, target=0.25)
    yield Figure(name="import cdeep3m", value=best(imports).seconds, unit="s", peak=peak, target=0.15)
