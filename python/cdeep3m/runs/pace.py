"""How fast a job goes, and how long it will take."""

from __future__ import annotations

MOST = 64
"""So many moments are remembered; every other one is forgotten when there are more."""


class Pace:
    """Remembers when a job was how far, and tells the rate of its later half.

    What a job does first (loading, compiling, filling caches) is slower than what follows, and a machine gets slower
    or faster as others come and go: the later half of the time so far tells most of the time to come.

    Examples
    --------
    >>> pace = Pace()
    >>> for second, done in ((0, 0), (10, 1), (12, 2), (14, 3), (16, 4), (18, 5), (20, 6)):
    ...     pace.note(second, done)
    >>> pace.rate, pace.left(100)
    (0.5, 188.0)
    """

    def __init__(self) -> None:
        self._moments: list[tuple[float, int]] = []

    def note(self, seconds: float, done: int) -> None:
        """Remember that `done` were done at a time, which never runs back."""
        if len(self._moments) == MOST:
            del self._moments[1::2]
        self._moments.append((seconds, done))

    @property
    def rate(self) -> float | None:
        """How many are done in a second; None before that can be told."""
        if len(self._moments) < 2:
            return None
        (begin, _), (end, done) = self._moments[0], self._moments[-1]
        earlier = self._moments[:-1]
        second, before = next((moment for moment in earlier if moment[0] >= (begin + end) / 2), earlier[-1])
        return (done - before) / (end - second) if end > second and done > before else None

    def left(self, total: int) -> float | None:
        """Return the seconds to come; None before that can be told."""
        rate = self.rate
        return (total - self._moments[-1][1]) / rate if rate and total else None
