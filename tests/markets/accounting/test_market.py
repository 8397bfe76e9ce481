import numpy as np
import pandas as pd

from markets import Bars, Costs, Execution
from markets.accounting.market import make_market


def test_regression_impact_is_that_of_the_symbols_own_bars():
    """Gaps counted as returns of 0 without volume, which changed both the volatility and the average daily value."""
    rng = np.random.default_rng(0)
    close = 50 * np.exp(rng.normal(0, 0.02, (300, 2)).cumsum(axis=0))
    volume = rng.uniform(1e4, 1e5, close.shape)
    there = np.arange(300) % 3 == 0
    index, costs = pd.date_range("2020-01-01", periods=300), Costs(impact=0.5)

    def impact(rows, close, volume):
        bars = Bars.make(index[rows], ["A", "B"], close, volume=volume)
        return make_market(bars, costs, Execution())[0].impact

    dense = impact(there, close[there], volume[there])
    close[~there, 1] = volume[~there, 1] = np.nan
    np.testing.assert_array_equal(impact(slice(None), close, volume)[:, 1], dense[there.cumsum() - 1, 1])
