"""The invented planes in front of and behind a z-block (add_z_padding.m).

Deviation: the original needs three planes; `plane_order` also serves one and two (defect 5).
"""

from __future__ import annotations

import numpy as np

Z_PADDING = 2
"""Planes added at each end."""
FEWEST_PLANES = 3
"""What the original needs."""


def plane_order(planes: int) -> tuple[int, ...]:
    """Return which plane stands where in the padded z-block: planes 3, 2 in front, end-1, end-2 behind, from 1.

    Examples
    --------
    >>> plane_order(4)
    (2, 1, 0, 1, 2, 3, 2, 1)
    >>> plane_order(2), plane_order(1)
    ((0, 1, 0, 1, 0, 1), (0, 0, 0, 0, 0))
    """
    mode = "edge" if planes == 1 else "reflect"
    return tuple(int(plane) for plane in np.pad(np.arange(planes), Z_PADDING, mode=mode))  # type: ignore[call-overload]
