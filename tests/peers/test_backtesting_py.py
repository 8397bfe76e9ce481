"""The account against backtesting.py: whole shares at the next open, with commission and spread."""

import numpy as np
import pandas as pd
import pytest

from markets import Bars, Costs, Execution, Plan, simulate

backtesting = pytest.importorskip("backtesting")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


def case(seed):
    """Bars, when to be in, with which share of the money, and the costs."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(8, 60))
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, length)))
    open_ = np.append(close[0], close[:-1]) * np.exp(rng.normal(0, 0.01, length))
    inside = rng.random(length) < 0.5
    inside[-2:] = inside[-3]  # they leave open what is decided at the end
    return (
        open_,
        close,
        inside,
        float(rng.choice([0.35, 0.8, 0.95])),
        float(rng.choice([0, 0.002])),
        float(rng.choice([0, 0.001])),
    )


def theirs(open_, close, inside, size, commission, spread):
    class InAndOut(backtesting.Strategy):
        def init(self):
            pass

        def next(self):
            at = len(self.data) - 1
            if inside[at] and not self.position:
                self.buy(size=size)
            elif not inside[at] and self.position:
                self.position.close()

    index = pd.date_range("2020-01-01", periods=len(close))
    frame = pd.DataFrame(
        {"Open": open_, "High": np.maximum(open_, close), "Low": np.minimum(open_, close), "Close": close}, index=index
    )
    test = backtesting.Backtest(frame, InAndOut, cash=10_000, commission=commission, spread=spread)
    return test.run()["_equity_curve"]["Equity"].to_numpy()


def ours(open_, close, inside, size, commission, spread):
    """Their spread is paid on the way in alone, and commission is due on it: a tax on buys."""
    index = pd.date_range("2020-01-01", periods=len(close))
    bars = Bars.make(index, ["X"], close[:, None], open=open_[:, None])
    inside = inside.copy()
    inside[0] = False  # their strategies speak from the second bar on
    before = np.append(False, inside[:-1])
    aim = np.where(inside, size, 0.0)[:, None]
    band = np.where(inside == before, np.inf, 0.0)[:, None]
    costs = Costs(commission=commission, buy_tax=spread * (1 + commission))
    execution = Execution(sizing="whole_lots", cash=10_000)
    return simulate(bars, Plan(aim, band), costs=costs, execution=execution).equity[0]


@pytest.mark.parametrize("block", range(5))
def test_equity_curves_agree(block):
    for seed in range(block * 50, block * 50 + 50):
        np.testing.assert_allclose(ours(*case(seed)), theirs(*case(seed)), rtol=1e-9, err_msg=f"seed {seed}")
