"""What full-size nets took on devices that were measured; docs/results.md has the commands that repeat it."""

from __future__ import annotations

from dataclasses import dataclass

SIDE, PATCH, BATCH = 1024, 320, 5
"""A window is a plane of so many pixels a side; a batch has 5 patches of 320 x 320."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device, and what a full-size net takes on it.

    Attributes
    ----------
    name : str
    precision : {"float32", "fast"}
    start : float
        Seconds of a prediction beside its windows.
    window : float
        Seconds of one variant of a window, the mean of the three nets.
    batch : float or None
        Seconds of a training's batch; None where none was measured.
    """

    name: str
    precision: str
    start: float
    window: float
    batch: float | None

    def predicting(self, windows: float) -> float:
        """Return the seconds of a prediction.

        Examples
        --------
        >>> round(MEASURED[1].predicting(100 * 40))
        103
        """
        return self.start + windows * self.window

    def training(self, batches: float) -> float | None:
        """Return the seconds of a training, without its tests."""
        return None if self.batch is None else batches * self.batch


MEASURED = (
    Device(name="2 cores of an AMD EPYC", precision="float32", start=2.4, window=3.96, batch=6.54),
    Device(name="NVIDIA H100", precision="float32", start=13.0, window=0.0225, batch=1 / 23.1),
    Device(name="NVIDIA H100", precision="fast", start=11.6, window=0.0041, batch=1 / 66.8),
    Device(name="NVIDIA H200", precision="float32", start=7.3, window=0.0225, batch=1 / 26.9),
    Device(name="NVIDIA H200", precision="fast", start=9.9, window=0.0035, batch=1 / 101.9),
)
