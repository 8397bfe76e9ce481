"""The account against bt: weights rebalanced with commission, each order and its cost together the wanted change."""

import numpy as np
import pandas as pd
import pytest

from markets import Bars, Costs, Execution, simulate

bt = pytest.importorskip("bt")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


def case(seed):
    rng = np.random.default_rng(seed)
    length, symbols = int(rng.integers(4, 30)), int(rng.choice([1, 2, 4]))
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (length, symbols)), axis=0))
    weights = rng.uniform(0.05, 1, close.shape)
    weights /= weights.sum(axis=1, keepdims=True) * rng.uniform(1.02, 2)
    return close, weights, float(rng.choice([0, 0.001, 0.005])), bool(rng.random() < 0.5)


def theirs(close, weights, fee, whole):
    index = pd.date_range("2020-01-01", periods=len(close))
    names = [f"s{i}" for i in range(close.shape[1])]
    prices, wanted = pd.DataFrame(close, index=index, columns=names), pd.DataFrame(weights, index=index, columns=names)
    strategy = bt.Strategy("s", [bt.algos.WeighTarget(wanted), bt.algos.Rebalance()])
    test = bt.Backtest(
        strategy, prices, initial_capital=100_000, commissions=lambda q, p: abs(q) * p * fee, integer_positions=whole,
        progress_bar=False,
    )  # fmt: skip
    bt.run(test)
    return test.strategy.values.loc[index].to_numpy()


def ours(close, weights, fee, whole):
    index = pd.date_range("2020-01-01", periods=len(close) + 1)
    names = [f"s{i}" for i in range(close.shape[1])]
    bars = Bars.make(index, names, np.vstack([close, close[-1:]]))
    execution = Execution(fill="same_close", sizing="whole_lots" if whole else "outlay", cash=100_000)
    paths = simulate(bars, np.vstack([weights, weights[-1:]]), costs=Costs(commission=fee), execution=execution)
    return paths.cash[0, 1:] + (paths.shares[0, 1:] * bars.marks[:-1]).sum(axis=1)


@pytest.mark.parametrize("block", range(5))
def test_equity_curves_agree(block):
    for seed in range(block * 44, block * 44 + 44):
        np.testing.assert_allclose(ours(*case(seed)), theirs(*case(seed)), rtol=1e-9, err_msg=f"seed {seed}")
