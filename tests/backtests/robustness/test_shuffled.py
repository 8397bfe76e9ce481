import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtests.robustness import Case, shuffle_trades
from backtests.robustness.shuffled import shuffled_drawdowns
from markets import Bars, InputError
from markets.common.statistics import max_drawdown
from strategies import BuyAndHold, EqualWeight, Momentum


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
@settings(max_examples=50)
def test_no_order_changes_the_growth(seed, length):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.05, length).clip(-0.9)
    starts = np.append(0, np.flatnonzero(rng.random(length - 1) < 0.4) + 1)
    drawdowns, growth = shuffled_drawdowns(returns, starts, 7, rng)
    np.testing.assert_allclose(growth, np.prod(1 + returns), rtol=1e-12)
    assert ((drawdowns >= 0) & (drawdowns < 1)).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
@settings(max_examples=50)
def test_pieces_are_kept_together(seed, length):
    """Against pieces that are cut out and put together one by one."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.05, length)
    starts = np.append(0, np.flatnonzero(rng.random(length - 1) < 0.3) + 1)
    found, _ = shuffled_drawdowns(returns, starts, 5, np.random.default_rng(seed))
    orders = np.random.default_rng(seed).permuted(np.tile(np.arange(len(starts)), (5, 1)), axis=1)
    pieces = np.split(returns, starts[1:])
    expected = [
        max_drawdown(np.append(1.0, np.cumprod(1 + np.concatenate([pieces[k] for k in order])))) for order in orders
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_losses_that_come_together_are_deeper_than_in_random_order():
    """Half the bars rise, then half fall: only in this order is all lost that was won."""
    returns = np.where(np.arange(400) % 200 < 100, 0.01, -0.01) + np.random.default_rng(0).normal(0, 0.002, 400)
    close = 100 * np.exp(np.cumsum(returns))[:, None]
    bars = Bars.make(pd.bdate_range("2001-01-01", periods=400), ["A"], close)
    case = Case(BuyAndHold(), bars, "0bp")
    section = shuffle_trades(case, orders=300)
    row = section.table.loc["bars"]
    assert row["real"] == pytest.approx(case.account.metrics["max drawdown"], abs=1e-12)
    assert row["deeper"] == 0
    assert row["high"] < row["real"]
    assert row["total return"] == pytest.approx(case.account.metrics["total return"], abs=1e-9)
    assert "holding periods" not in section.table.index  # it buys once
    assert len(section.draw().data) == 1


def test_holding_periods_run_from_order_to_order(bars):
    case = Case(Momentum(50), bars)
    table = shuffle_trades(case, orders=50).table
    assert table.loc["bars", "number"] == len(bars) - 1
    assert table.loc["holding periods", "number"] == 1 + np.count_nonzero(case.account.traded[2:])


def test_the_seed_reproduces_to_the_bit(bars):
    case = Case(EqualWeight(), bars)
    one, two, other = (shuffle_trades(case, orders=20, seed=seed).table for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert not one.equals(other)


def test_what_cannot_be_shuffled(bars):
    with pytest.raises(InputError, match="9 returns are too few to shuffle; give at least 10"):
        shuffle_trades(Case(EqualWeight(), bars[:10]))
    with pytest.raises(InputError, match="orders is 0"):
        shuffle_trades(Case(EqualWeight(), bars), orders=0)
