"""Names of files in the folder of a prediction, which the stages of a run and other programs tell each other by."""

from __future__ import annotations

from cdeep3m.volumes.formats import MAP

DONE = "DONE"
"""Marker of what is finished: a run, a net, a package."""
ERROR, KILL = "ERROR", "KILL.REQUEST"
"""Markers of a failure, and of a request to stop."""

AVERAGED_PLANE = "test.h5_shift__{:04d}.png"
"""A plane of a package, averaged over variants; counted from 0."""
MAP_PLANE = f"{MAP}_{{:04d}}.png"
"""A plane of a map that is a folder of PNG images; counted from 1."""
MAP_PLANES = f"{MAP}_*.png"
"""All of them."""
