"""Colours of regimes: a name has the same colour on every page, however many regimes there are beside it.

From blue (least volatile) to orange (most volatile), which those who see no red or no green tell apart too, and light enough as
a background of curves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LEVELS = {"all": 0.0, "calm": 0.0, "normal": 0.4, "nervous": 0.7, "crisis": 1.0}
_STOPS = np.array([[208, 226, 242], [248, 238, 204], [244, 180, 140]])  # RGB: least, middle, most volatile
# What is falling is darker than what is rising at the same level.
_FALLING = 0.9


def shade(name: str, names: Sequence[str]) -> str:
    """CSS colour of a regime, to be filled without transparency.

    Parameters
    ----------
    name : str
    names : sequence of str
        All regimes of the detector, in ascending order of volatility. A name that is not one of `regime_names` is coloured by its
        place among them.
    """
    level, _, way = name.partition(" ")
    place = _LEVELS.get(level, names.index(name) / max(len(names) - 1, 1))
    channels = [np.interp(place, [0, 0.5, 1], _STOPS[:, channel]) for channel in range(3)]
    return "rgb({:.0f},{:.0f},{:.0f})".format(*(c * _FALLING if way == "falling" else c for c in channels))
