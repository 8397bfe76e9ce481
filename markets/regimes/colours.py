"""The one palette of regimes: from green for the calmest to red for the wildest, light enough to read a curve on."""

from __future__ import annotations

import numpy as np

_STOPS = np.array([[196, 228, 196], [246, 231, 180], [240, 176, 168]])  # red, green, blue; calm, middle, wild


def shade(rank: int, count: int) -> str:
    """CSS colour of the regime of `rank` (0 is the calmest) among `count` regimes."""
    place = rank / max(count - 1, 1)
    red, green, blue = (np.interp(place, [0, 0.5, 1], _STOPS[:, channel]) for channel in range(3))
    return f"rgb({red:.0f},{green:.0f},{blue:.0f})"
