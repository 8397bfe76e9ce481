"""Colours of regimes: from green (least volatile) to red (most volatile), light enough as a background of curves."""

from __future__ import annotations

import numpy as np

_STOPS = np.array([[196, 228, 196], [246, 231, 180], [240, 176, 168]])  # RGB: least, middle, most volatile


def shade(rank: int, count: int) -> str:
    """CSS colour of regime number `rank` (0 is the least volatile) of `count` regimes."""
    place = rank / max(count - 1, 1)
    red, green, blue = (np.interp(place, [0, 0.5, 1], _STOPS[:, channel]) for channel in range(3))
    return f"rgb({red:.0f},{green:.0f},{blue:.0f})"
