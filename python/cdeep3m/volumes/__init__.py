"""Volumes on disk: one small module a format, `open_volume` in front of them."""

from cdeep3m.volumes.base import Volume, open_volume, planes_of, read_all, require_one_size

__all__ = ["Volume", "open_volume", "planes_of", "read_all", "require_one_size"]
