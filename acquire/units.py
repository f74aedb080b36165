"""The units of a drive."""

from __future__ import annotations

import math

_HALF = 0.5 + 1e-6


def whole(units: float) -> int:
    """Round to whole units, halves always upwards.

    Positions that are whole units apart thus keep equal distances; rounding halves to even numbers
    would shift every second one.

    Examples
    --------
    >>> [whole(units) for units in (100.5, 101.5, 102.5)]
    [101, 102, 103]
    """
    return math.floor(units + _HALF)
