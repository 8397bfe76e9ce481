"""Quoted spreads, as orders are charged for them: `last_quotes`."""

from __future__ import annotations

import numpy as np

from markets.bars.bars import Bars, carried
from markets.common.errors import InputError


def last_quotes(bars: Bars) -> np.ndarray:
    """Bid–ask spread that an order of each symbol meets at each bar, as a fraction of the price.

    That is the quote of the bar or, without one, the symbol's last quote before it. Before a symbol's first quote it is the
    widest of any symbol at the last bar that has quotes: what no one knows is not cheap. Before the first quote of all it is
    NaN, and no symbol can be traded. Nothing later than the bar is used.

    Parameters
    ----------
    bars : Bars of shape (T, A)
        Their history counts too.

    Returns
    -------
    ndarray of shape (T, A)

    Raises
    ------
    InputError
        When the bars quote no spread at all.
    """
    quoted = bars.with_past().spread
    if quoted is None or not np.isfinite(quoted).any():
        raise InputError(
            f"costs: {bars.name} has no quoted spreads to charge; name one instead, as in Costs(spread=0.001) or --spread 10bp, "
            "or give bars that have them (Bars.make(..., spread=...))"
        )
    known = carried(quoted)
    if np.isnan(known).any():
        widest = np.where(np.isnan(quoted), -np.inf, quoted).max(axis=1, keepdims=True)
        known = np.where(np.isnan(known), carried(np.where(widest >= 0, widest, np.nan)), known)
    return known[bars.past :]
