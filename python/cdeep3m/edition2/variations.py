"""The 16 variations of CDeep3M2, and which of them a net predicts.

CDeep3M2 stores (y, x, z) where 1.6 stores (x, y, z), so that its nets see images transposed. Its variation i holds the
bytes of 1.6's variant `variant_index(i)`; every training of either has all 16.
"""

from __future__ import annotations

VARIATIONS = 16
_ORDER = (7, 5, 4, 3, 2, 8, 1, 6)


def variant_index(variation: int) -> int:
    """Return which of 1.6's variants shows the net what `variation` of CDeep3M2 shows it.

    Parameters
    ----------
    variation : int
        1 to 16.

    Examples
    --------
    >>> [variant_index(i) for i in (1, 7, 9)]
    [7, 1, 15]
    """
    if not 1 <= variation <= VARIATIONS:
        raise ValueError(f"variation {variation}; expected 1 to {VARIATIONS}")
    reversed_planes, orientation = divmod(variation - 1, len(_ORDER))
    return _ORDER[orientation] + reversed_planes * len(_ORDER)
