"""Stops against ``vectorbt.Portfolio.from_signals`` on open, high, low and close, long and short."""

import numpy as np
import pandas as pd
import pytest

from markets import Bars, Costs, Execution, Plan, simulate
from markets.accounting.stops import TAKE_PROFIT

vbt = pytest.importorskip("vectorbt")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

CASH, SHARES = 1e6, 4000


def case(seed):
    """Bars of one symbol, the side wanted on each (with a bar of 0 between two runs), stops and costs."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(20, 120))
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, length)) * 0.3)
    open_ = np.append(close[0], close[:-1]) * np.exp(rng.normal(0, 0.01, length))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.01, length)))
    low = np.minimum(open_, close) / np.exp(np.abs(rng.normal(0, 0.01, length)))
    side, row = np.zeros(length), 1
    while row < length:
        run = int(rng.integers(1, 20))
        side[row : row + run] = rng.choice([1, 1, -1])
        row += run + int(rng.integers(1, 4))
    near = float(rng.choice([0.01, 0.03, 0.1]))
    stops = {"trail" if rng.random() < 0.4 else "loss": near}
    if rng.random() < 0.7:
        stops["gain"] = near * 1.5
    if rng.random() < 0.2:
        stops = {"gain": near}
    costs = {
        "fees": rng.choice([0, 0.001, 0.01]),
        "fixed_fees": rng.choice([0, 2.0]),
        "slippage": rng.choice([0, 0.002]),
    }
    return open_, high, low, close, side, stops, costs


def ours(open_, high, low, close, side, stops, costs):
    """Equity after each bar's orders at its close, the number of stops, and the first bar on which the rules differ.

    The position is always one lot of shares. Where a bar opens beyond the take and comes back to the stop, we take the profit at
    the open; vectorbt looks at the stop first, in the whole bar.
    """
    index = pd.date_range("2020-01-01", periods=len(close))
    open_, high, low, close, side = (x[:, None] for x in (open_, high, low, close, side))
    bars = Bars.make(index, ["X"], close, open=open_, high=high, low=low)
    aim = side * 1.5 * SHARES * close / CASH  # rounded towards zero to one lot while equity is near the initial cash
    band = np.where(np.diff(side, axis=0, prepend=0) != 0, 0.0, np.inf)
    names = {"loss": "stop_loss", "gain": "take_profit", "trail": "trailing_stop"}
    levels = {names[name]: np.full(close.shape, level) for name, level in stops.items()}
    rules = Costs(commission=costs["fees"], fixed=costs["fixed_fees"], spread=2 * costs["slippage"])
    execution = Execution(fill="same_close", sizing="whole_lots", lot=SHARES, cash=CASH, gross=np.inf, borrowing=True)
    paths = simulate(bars, Plan(aim, band, **levels), costs=rules, execution=execution, orders=True)
    order = np.append(paths.orders[0, 1:, 0], 0.0)  # at the close of bar t, after its stops
    paid = np.where(order > 0, rules.buy_side, rules.sell_side) * np.abs(order) + rules.fixed * (order != 0)
    kind, price = paths.stop_kind[0, :, 1], paths.stop_price[0, :, 1]
    other = np.append((kind == TAKE_PROFIT) & (price == open_), True)
    return (paths.equity[0] - paid)[:-1], int((kind > 0).sum()), int(other.argmax())


def theirs(open_, high, low, close, side, stops, costs):
    before = np.append(0, side[:-1])
    portfolio = vbt.Portfolio.from_signals(
        pd.Series(close, index=pd.date_range("2020-01-01", periods=len(close))), open=open_, high=high, low=low,
        entries=(side > 0) & (before == 0), exits=(side == 0) & (before > 0),
        short_entries=(side < 0) & (before == 0), short_exits=(side == 0) & (before < 0),
        size=SHARES, init_cash=CASH, freq="1D", sl_stop=stops.get("loss", stops.get("trail", np.nan)),
        sl_trail="trail" in stops, tp_stop=stops.get("gain", np.nan), stop_exit_price="stopmarket", **costs,
    )  # fmt: skip
    return portfolio.value().to_numpy()[:-1]


@pytest.mark.parametrize("block", range(6))
def test_equity_curves_agree(block):
    stopped = whole = 0
    for seed in range(block * 25, block * 25 + 25):
        equity, count, other = ours(*case(seed))
        np.testing.assert_allclose(equity[:other], theirs(*case(seed))[:other], rtol=1e-9, err_msg=f"seed {seed}")
        stopped += count
        whole += other >= len(equity)
    assert stopped > 50
    assert whole > 10
