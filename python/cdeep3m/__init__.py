"""The commands and the trained models of CDeep3M, on today's machines.

>>> import cdeep3m
>>> sorted(cdeep3m.__all__)
['Model', 'load_model', 'open_volume', 'predict', 'train']
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it; importing typing takes longer than all else here
if TYPE_CHECKING:
    from cdeep3m.api import Model, load_model, open_volume, predict, train

__version__ = "0.1.0"

__all__ = ["Model", "load_model", "open_volume", "predict", "train"]


def __getattr__(name: str) -> object:
    """Load the Python interface when it is first asked for, so that commands start at once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cdeep3m import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
