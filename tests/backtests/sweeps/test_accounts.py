import numpy as np
import pytest
import samples

from backtests import walk_forward
from backtests.sweeps.accounts import QUICK, Account
from backtests.sweeps.grid import label
from markets import Execution
from markets.common.statistics import years
from strategies import EqualWeight, Momentum, MovingAverageCross


@pytest.mark.parametrize("borrowing", [False, True])
def test_quick_metrics_are_those_of_a_backtest(borrowing):
    """To the last bits, so that a sweep and a backtest show the same figures; after ruin as well."""
    bars = samples.regime_bars(300, 3, seed=1)
    execution = Execution(gross=40.0, borrowing=True) if borrowing else Execution()
    rules = [MovingAverageCross(3, 9), Momentum(5), EqualWeight()]
    for backtest in walk_forward(rules, bars, execution=execution, progress=False):
        account = Account(backtest.equity, backtest.cost, backtest.traded, years(bars.index))
        for name, formula in QUICK.items():
            np.testing.assert_allclose(formula(account), backtest.metrics[name], rtol=1e-12, err_msg=name)


def test_after_ruin_returns_are_zero():
    equity = np.array([100.0, 50.0, -10.0, -10.0])
    np.testing.assert_allclose(Account(equity, np.zeros(4), np.zeros(4), 1.0).returns, [-0.5, -1.2, 0.0])


def test_a_setting_in_words():
    assert label({"fast": 5, "band": 0.1, "kind": "x"}) == "fast 5, band 0.1, kind x"
