"""Volumes on disk: one small module a format, `open_volume` in front of them."""

from cdeep3m.volumes.base import Volume, open_volume

__all__ = ["Volume", "open_volume"]
