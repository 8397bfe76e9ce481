import numpy as np
import pandas as pd
import pytest
import samples

from markets import Bars, Costs, Execution, InputError, simulate
from strategies import BuyAndHold, EqualWeight, InverseVolatility, Rebalanced, RebalancedOnDrift

CLOSE = Execution(fill="next_close", borrowing=True, gross=2.0)


def trades(bars, strategy):
    """Rows at which something is bought or sold."""
    paths = simulate(bars, strategy.plan(bars), costs=Costs(), execution=CLOSE, orders=True)
    return np.flatnonzero((np.abs(paths.orders[0]) > 1e-6).any(axis=1)), paths


def test_orders_are_of_the_first_bar_of_a_month(bars):
    rows, _ = trades(bars, Rebalanced(EqualWeight()))
    decided = rows - 1
    starts = np.flatnonzero(np.append(True, bars.index[1:].month != bars.index[:-1].month))
    assert set(decided) <= set(starts)
    assert len(decided) > 0.9 * len(starts)


def test_what_cannot_trade_trades_on_its_next_bar():
    bars = samples.regime_bars(60, 2, seed=1)
    close = bars.close.copy()
    start = int(np.flatnonzero(bars.index.month == 2)[0])
    close[start + 1 : start + 4, 0] = np.nan
    gappy = Bars.make(bars.index, bars.symbols, close)
    _, paths = trades(gappy, Rebalanced(EqualWeight()))
    ordered = np.abs(paths.orders[0]) > 1e-6
    assert np.flatnonzero(ordered[start + 1 : start + 20, 0]).tolist() == [3]
    assert np.flatnonzero(ordered[start + 1 : start + 20, 1]).tolist() == [0]


def test_an_account_that_starts_within_a_month_waits_for_the_next(bars):
    start = int(np.flatnonzero(bars.index.month == 2)[0])
    rows, _ = trades(bars[start + 5 :], Rebalanced(EqualWeight()))
    assert bars.index[start + 5 + rows[0] - 1].month == 3


def test_the_no_trade_zone_of_the_strategy_holds_on_the_day(bars):
    plan, wanted = Rebalanced(InverseVolatility(20)).plan(bars), InverseVolatility(20).plan(bars)
    starts = np.append(True, bars.index[1:].month != bars.index[:-1].month)
    np.testing.assert_array_equal(plan.band[starts], wanted.band[starts])
    assert np.isinf(plan.band[~starts]).all()


def test_drift_is_that_of_an_account_that_buys_at_the_close(bars):
    """Without costs, weights at the bars before a trade are beyond the drift, and others within."""
    drift = 0.03
    rows, paths = trades(bars, RebalancedOnDrift(EqualWeight(), drift))
    assert 5 < len(rows) < 100
    weights = paths.shares[0] * bars.close / paths.equity[0][:, None]
    apart = np.abs(weights - 1 / 3).max(axis=1)
    quiet = np.setdiff1d(np.arange(2, len(bars)), np.concatenate([rows - 1, rows]))
    assert apart[quiet].max() < drift + 0.02  # the estimate is from close to close, and the fill a bar later
    assert np.median(apart[rows[1:] - 1]) == pytest.approx(drift, abs=0.01)


def test_all_are_traded_when_one_has_drifted():
    index = pd.bdate_range("2001-01-01", periods=30)
    close = np.full((30, 3), 10.0)
    close[10:, 0] *= 1.5
    bars = Bars.make(index, list("ABC"), close)
    due = ~np.isinf(RebalancedOnDrift(EqualWeight(), 0.05).plan(bars).band)
    assert np.flatnonzero(due.all(axis=1)).tolist() == [0, 10]
    assert not due[[1, 9, 11, 29]].any()


def test_settings_are_checked():
    with pytest.raises(InputError, match="every is 'moon'"):
        Rebalanced(EqualWeight(), "moon")
    with pytest.raises(InputError, match="drift is 0"):
        RebalancedOnDrift(EqualWeight(), 0)


def test_regression_a_symbol_delisted_within_the_period_is_no_target():
    bars = samples.regime_bars(60, 2, seed=1)
    close = bars.close.copy()
    close[50:, 1] = np.nan
    bars = Bars.make(bars.index, bars.symbols, close, delisted={bars.symbols[1]: bars.index[50]})
    assert not bars.listed[50:, 1].any()
    for strategy in (Rebalanced(EqualWeight(), "quarter"), BuyAndHold()):
        aim = strategy.plan(bars).aim
        assert aim[49, 1] == 0.5
        assert not aim[50:, 1].any()
        np.testing.assert_array_equal(aim[50:, 0], 0.5)
