"""Sweeps against vectorbt's, with both of its engines, and against backtesting.py: the same equity under the same rules."""

import numpy as np
import pytest
import samples

from backtests.sweeps import sweep
from backtests.sweeps.grid import Grid
from markets import Bars, Execution, simulate
from strategies import MovingAverageCross

pytest.importorskip("vectorbt")
pytest.importorskip("vectorbt_rust")
pytest.importorskip("backtesting")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
GRID = Grid.of({"fast": [3, 8], "slow": [10, 25, 60]})


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("engine", ["numba", "rust"])
def test_equity_is_vectorbts(engine, together):
    from benchmarks import backtests as benchmark

    stocks = samples.regime_bars(400, 5, seed=2)
    bars, execution = benchmark.closes_once_more(stocks), benchmark.same_close(shortfall="smallest_first")
    mine = sweep(MovingAverageCross, GRID, bars, metrics=("Sharpe",), equity=True, execution=execution)
    theirs, ratios = benchmark.of_vectorbt(stocks, GRID, engine, together)()
    for i, plan in enumerate(MovingAverageCross.plans(bars, GRID.settings)):
        paths = simulate(bars, plan, execution=execution)
        np.testing.assert_array_equal(paths.equity[0], mine.equity[i])
        np.testing.assert_allclose(theirs[:, i], paths.equity[0, :-1] - paths.cost[0, 1:], rtol=1e-9)
    # of values before and after a bar's orders, and with a bar more
    np.testing.assert_allclose(mine.table["Sharpe"], ratios, atol=0.05)


def test_equity_is_backtesting_pys():
    from benchmarks import backtests as benchmark

    close = samples.regime_bars(400, 1, seed=3).close
    bars = Bars.make(samples.regime_bars(400, 1, seed=3).index, ["X"], close, open=close)
    execution = Execution(sizing="whole_lots", cash=benchmark.CASH)
    mine = sweep(benchmark.InAndOut, GRID, bars, metrics=("Sharpe",), equity=True, execution=execution)
    test = benchmark.of_backtesting(bars)
    for equity, setting in zip(mine.equity, GRID.settings, strict=True):
        np.testing.assert_allclose(equity, test.run(**setting)["_equity_curve"]["Equity"], rtol=1e-9)
