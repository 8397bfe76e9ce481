"""The account against ``vectorbt.Portfolio.from_orders`` with target percentages, both run on the same random cases."""

import numpy as np
import pandas as pd
import pytest

from markets import Bars, Costs, Execution, simulate

vbt = pytest.importorskip("vectorbt")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


def case(seed):
    """Prices with gaps, weights long and short, costs of every kind that vectorbt knows."""
    rng = np.random.default_rng(seed)
    length, symbols = int(rng.integers(3, 25)), int(rng.choice([1, 2, 5]))
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.03, (length, symbols)), axis=0))
    if rng.random() < 0.4:
        gap = rng.random(close.shape) < 0.1
        gap[[0, -1]] = False
        close[gap] = np.nan
    style = rng.choice(["long", "short", "full"])
    weights = rng.uniform(0, 1, close.shape)
    weights /= weights.sum(axis=1, keepdims=True) * (1.0 if style == "full" else rng.uniform(1, 3))
    if style == "short":
        weights *= rng.choice([-1, 1], close.shape)
    weights[rng.random(close.shape) < 0.15] = 0.0
    costs = {
        "fees": rng.choice([0, 0.001, 0.01]),
        "fixed_fees": rng.choice([0, 2.0]),
        "slippage": rng.choice([0, 0.002]),
    }
    return close, weights, costs


def ours(close, weights, costs):
    """(equity after each bar's orders, shares): vectorbt fills and marks at the same close."""
    index = pd.date_range("2020-01-01", periods=len(close) + 1)
    bars = Bars.make(index, [f"S{i}" for i in range(close.shape[1])], np.vstack([close, close[-1:]]))
    rules = Costs(commission=costs["fees"], fixed=costs["fixed_fees"], spread=2 * costs["slippage"])
    execution = Execution(fill="same_close", cash=1e4, gross=np.inf, shortfall="smallest_first")
    paths = simulate(bars, np.vstack([weights, weights[-1:]]), costs=rules, execution=execution)
    return paths.cash[0, 1:] + (paths.shares[0, 1:] * bars.marks[:-1]).sum(axis=1), paths.shares[0, 1:]


def theirs(close, weights, costs):
    index = pd.date_range("2020-01-01", periods=len(close))
    frame = pd.DataFrame(close, index=index)
    portfolio = vbt.Portfolio.from_orders(
        frame, size=pd.DataFrame(weights, index=index), size_type="targetpercent", init_cash=1e4, freq="1D",
        cash_sharing=True, group_by=True, call_seq="auto", **costs,
    )  # fmt: skip
    return portfolio.value().to_numpy(), portfolio.assets().to_numpy().reshape(close.shape)


@pytest.mark.parametrize("block", range(10))
def test_equity_and_shares_agree(block):
    for seed in range(block * 30, block * 30 + 30):
        close, weights, costs = case(seed)
        (equity, shares), (expected, expected_shares) = ours(close, weights, costs), theirs(close, weights, costs)
        np.testing.assert_allclose(shares, expected_shares, rtol=1e-9, atol=1e-7, err_msg=f"seed {seed}")
        np.testing.assert_allclose(equity, expected, rtol=1e-9, err_msg=f"seed {seed}")
