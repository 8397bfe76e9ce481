"""Quoted spreads: half of them is charged, where the order fills, by whatever runs the account."""

import json
import warnings
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import samples
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from index_server import small_universes

from markets import Bars, Costs, Execution, InputError, Ledger, MarketEnv, Plan, VectorMarketEnv, load, simulate
from markets.accounting.differentiable import TensorPlan, equity_paths, equity_paths_reference
from markets.accounting.market import HALTED, OPEN, make_market
from markets.accounting.quotes import last_quotes
from markets.data.universes import fetch_universes

NAN = np.nan


def quoting(spread, close=None) -> Bars:
    spread = np.array(spread, dtype=float)
    close = np.full(spread.shape, 10.0) if close is None else np.array(close, dtype=float)
    index = pd.date_range("2020-01-01", periods=len(close))
    return Bars.make(index, [f"S{i}" for i in range(close.shape[1])], close, spread=spread, name="quoting")


def test_half_the_spread_of_the_bar_of_the_fill_is_paid_by_hand():
    bars = quoting([[0.5], [0.02], [0.04], [0.5]])
    aim = np.array([[1.0], [0.0], [0.0], [0.0]])
    trades, account = Ledger.of(bars, aim, costs="quoted", execution=Execution(cash=1000, borrowing=True))
    assert trades["spread"].tolist() == pytest.approx([1000 * 0.01, 1000 * 0.02])
    assert trades["cost"].tolist() == pytest.approx(trades["spread"].tolist())
    assert account["equity"].tolist() == pytest.approx([1000, 990, 970, 970])
    with pytest.warns(UserWarning, match="no one can trade so"):
        at_once = Execution(cash=1000, borrowing=True, fill="same_close")
    trades, _ = Ledger.of(bars, aim, costs="1bp+quoted", execution=at_once)
    assert trades["spread"].tolist() == pytest.approx([1000 * 0.25, 1000 * 0.01])
    assert trades["commission"].tolist() == pytest.approx([1000 * 1.25e-4, 1000 * 0.99e-4])


def test_a_bar_without_a_quote_has_the_last_one_and_before_the_first_the_widest_of_the_others():
    spread = [[NAN, NAN, NAN], [0.01, NAN, 0.03], [NAN, NAN, 0.02], [NAN, NAN, NAN], [0.04, 0.02, NAN]]
    expected = [[NAN, NAN, NAN], [0.01, 0.03, 0.03], [0.01, 0.02, 0.02], [0.01, 0.02, 0.02], [0.04, 0.02, 0.02]]
    bars = quoting(spread)
    np.testing.assert_array_equal(last_quotes(bars), expected)
    np.testing.assert_array_equal(last_quotes(bars[2:]), expected[2:])  # what the history quoted is known
    market, _ = make_market(bars, Costs(spread="quoted"), Execution())
    assert market.open.tolist() == [[OPEN] * 3] * 4 + [[HALTED] * 3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        market, _ = make_market(bars, Costs(spread="quoted"), Execution(fill="same_close"))
    assert market.open.tolist() == [[HALTED] * 3] + [[OPEN] * 3] * 4  # nobody knows what a trade costs at the first bar


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_what_is_charged_does_not_depend_on_later_bars(seed):
    bars = samples.gappy_bars(np.random.default_rng(seed), 20, 3, quotes=0.02)
    for t in (2, 5, 19):
        np.testing.assert_array_equal(last_quotes(bars[:t]), last_quotes(bars)[:t])


def test_bars_without_quotes_are_refused_in_one_line():
    bars, unquoted = samples.regime_bars(30, 2, seed=0), quoting(np.full((5, 2), NAN))
    for some in (bars, unquoted):
        message = f"costs: {some.name} has no quoted spreads to charge; name one instead, as in Costs\\(spread=0.001\\)"
        with pytest.raises(InputError, match=message):
            simulate(some, np.full(some.shape, 0.1), costs="quoted")
    simulate(bars, np.full(bars.shape, 0.1), costs=Costs(spread="quoted").scaled(0))  # asks for none


@given(samples.cases(sizings=("pre_fee", "post_fee", "outlay", "whole_lots")))
@settings(max_examples=150)
def test_a_constant_quote_equals_that_spread_to_the_bit(case):
    bars, costs, execution, aim, band, rate = case
    fixed = replace(costs, spread=0.0037, quoted=0.0)
    quoted = replace(fixed, spread="quoted")
    bars = bars.with_values(**bars.fields, spread=np.full(bars.shape, 0.0037))
    plan = Plan(aim, band, rate, stop_loss=np.full(aim.shape, 0.05), trailing_stop=np.full(aim.shape, 0.08))
    for wanted in (plan, Plan(aim, band, rate)):
        one, other = (simulate(bars, wanted, costs=c, execution=execution, orders=True) for c in (fixed, quoted))
        for name in one._fields:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    if execution.sizing in ("pre_fee", "post_fee"):
        found = []
        for c in (fixed, quoted):
            market, rules = make_market(bars, c, execution)
            tensors = TensorPlan(*(torch.tensor(part, requires_grad=True) for part in (aim, band, rate)))
            start = np.zeros(len(aim), dtype=np.int64)
            equity, _ = equity_paths(market, rules, start, tensors, money=execution.cash)
            found.append(torch.autograd.grad(equity.sum(), tensors))
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_reference_is_differentiable_twice():
    rng = np.random.default_rng(0)
    bars = samples.gappy_bars(rng, 8, 2, 0.02, quotes=0.02)
    execution = Execution(borrowing=True, gross=5, cash=1.0, sizing="post_fee")
    market, rules = make_market(bars, Costs(spread="quoted", quadratic=0.05), execution)
    aim = torch.tensor(rng.uniform(0.2, 0.5, (1, *bars.shape)), requires_grad=True)

    def utility(aim):
        return equity_paths_reference(market, rules, np.zeros(1, dtype=np.int64), TensorPlan(aim), money=1.0)[0][:, 2:]

    assert torch.autograd.gradcheck(utility, aim, eps=1e-6, atol=1e-6)
    assert torch.autograd.gradgradcheck(utility, aim, eps=1e-6, atol=1e-5)


def test_environments_charge_what_the_simulation_does():
    rng = np.random.default_rng(1)
    close = 50 * np.exp(rng.normal(0, 0.01, (420, 2)).cumsum(axis=0))
    spread = np.where(rng.random(close.shape) < 0.2, NAN, rng.uniform(0, 0.03, close.shape))
    bars = quoting(spread, close)
    one = MarketEnv(bars, costs="1bp+quoted", episode_bars=20)
    many = VectorMarketEnv(3, bars, costs="1bp+quoted", episode_bars=20)
    aims = rng.uniform(-0.4, 0.4, (20, 2)).astype(np.float32)

    def expected(first: int) -> np.ndarray:
        account = simulate(bars[first : first + 21], np.vstack([aims, aims[-1:]]), costs="1bp+quoted")
        assert account.cost[0].sum() > 0
        return account.equity[0, 1:]

    _, info = one.reset(seed=0)
    first, found = info["row"], [one.step(aim)[-1]["equity"] for aim in aims]
    np.testing.assert_array_equal(found, expected(first))
    _, info = many.reset(seed=5)
    firsts, found = info["row"], [many.step(np.stack([aim] * 3))[-1]["equity"] for aim in aims[:-1]]
    for b, first in enumerate(firsts):
        np.testing.assert_array_equal(np.array(found)[:, b], expected(int(first))[:-1])


def test_costs_are_written_and_kept():
    assert Costs.parse("quoted") == Costs(spread="quoted") == Costs(quoted=1.0)
    assert Costs.parse(" 2bp + quoted") == Costs.parse("quoted+2bp") == Costs(commission=2e-4, quoted=1.0)
    assert Costs(spread="quoted").scaled(0.25) == Costs(quoted=0.25)
    assert Costs(**json.loads(json.dumps(asdict(Costs.parse("2bp+quoted"))))) == Costs(commission=2e-4, quoted=1.0)
    for text in ("quoted+quoted", "1bp+2bp", "1bp+2bp+quoted", "quotes", "+", "quoted+"):
        with pytest.raises(InputError, match="costs"):
            Costs.parse(text)
    with pytest.raises(InputError, match="spread is 'wide'; give a number, or quoted"):
        Costs(spread="wide")
    with pytest.raises(InputError, match="quoted is -1"):
        Costs(quoted=-1)


def test_costs_that_sum_up_otherwise_are_refused():
    class WithFee(Costs):
        @property
        def buy_side(self):
            return super().buy_side + 0.01

    bars = quoting([[0.1], [0.1], [0.1]])
    simulate(bars, np.ones((3, 1)), costs=WithFee(spread=0.1))
    with pytest.raises(InputError, match="WithFee has a buy_side or sell_side of another kind"):
        simulate(bars, np.ones((3, 1)), costs=WithFee(spread="quoted"))


def test_a_spread_is_at_most_the_price():
    bars = quoting([[0.6], [0.6], [0.6]])
    paths = simulate(bars, [[1.0], [0.0], [0.0]], costs=Costs(quoted=5), execution=Execution(cash=1000, borrowing=True))
    assert paths.equity[0].tolist() == pytest.approx([1000, 500, 0])


def test_us74_charges_its_own_spreads(tmp_path, monkeypatch):
    with small_universes(tmp_path / "cache", monkeypatch):
        fetch_universes(["us74"])
        bars = load("us74")
    aim = np.full(bars.shape, 1 / bars.shape[1])
    trades, account = Ledger.of(bars, aim, costs=bars.source.costs)
    quotes = last_quotes(bars)[
        bars.index.get_indexer(trades["time"]), [bars.symbols.index(s) for s in trades["symbol"]]
    ]
    np.testing.assert_allclose(trades["spread"], quotes / 2 * trades["value"].abs(), rtol=1e-12)
    np.testing.assert_allclose(account["cost"].sum(), trades[["commission", "spread"]].sum().sum(), rtol=1e-12)
    assert trades["spread"].sum() > 0
