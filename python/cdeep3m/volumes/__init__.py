"""Volumes on disk: one small module a format, `open_volume` in front of them."""

from cdeep3m.volumes.base import Volume, planes_of, read_all, require_one_size
from cdeep3m.volumes.open import open_volume

__all__ = ["Volume", "open_volume", "planes_of", "read_all", "require_one_size"]
