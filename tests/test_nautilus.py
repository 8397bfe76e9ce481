"""`examples/nautilus.py`: NautilusTrader's engine and ours fill the same orders, and what they differ in is what the docs say."""

import importlib.util
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtests import registry
from markets import Bars, Costs, InputError, Plan, load, simulate
from strategies import load_strategy

pytest.importorskip("nautilus_trader")  # of the extra, in an environment of its own: `make nautilus`
from nautilus_trader.model.enums import CurrencyType
from nautilus_trader.model.objects import Currency

pytestmark = [pytest.mark.nautilus, pytest.mark.filterwarnings("ignore")]

SCRIPT = Path(__file__).parents[1] / "examples" / "nautilus.py"
PAGE = SCRIPT.parents[1] / "docs" / "deploy.md"
PATIENT = """
import numpy as np

from strategies import Plan, Strategy


class Patient(Strategy):
    name = "patient"
    warmup = 20

    def plan(self, bars):
        held = bars.with_past().close
        change = np.zeros(held.shape)
        change[20:] = held[20:] / held[:-20] - 1
        aim = np.clip(0.2 + change, 0, 0.6)[bars.past :]  # all symbols together may want more than there is
        return Plan(aim, np.full(aim.shape, 0.02), np.full(aim.shape, 0.5))
"""


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("nautilus_example", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # NautilusTrader looks up a configuration's annotations there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bars(example):
    return example.prepared(load("stocks").select(("AAPL", "JNJ", "KO", "WMT")))[:"2021-06"]


@pytest.fixture(scope="module")
def patient(bars, tmp_path_factory):
    """A model with a no-trade zone and a rate, of a user's own file; and its registry."""
    root = tmp_path_factory.mktemp("patient")
    (root / "patient.py").write_text(PATIENT)
    strategy = load_strategy(f"{root / 'patient.py'}:Patient")()
    registry.register("patient", strategy, bars=bars[:"2020"], root=root)
    return registry.load("patient/1", root=root), root


def test_the_example_ends_with_the_positions_of_our_backtest(tmp_path):
    environment = os.environ | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}  # nothing is registered there
    done = subprocess.run(
        [sys.executable, SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    shares = [line.split()[-3:] for line in lines if line.startswith("shares of ")]
    assert len(shares) == 8
    assert all(ours == theirs and difference == "0" for ours, theirs, difference in shares)
    assert sum(ours != "0" for ours, _, _ in shares) > 4
    assert "All 698 fills are the same: time, symbol, shares and price." in lines
    assert "Of the difference in equity, 0.00 is left." in lines
    assert max(map(len, lines)) <= 80
    assert not list(tmp_path.iterdir()), "its registry is temporary"
    assert done.stdout.strip() in PAGE.read_text(), "the page shows what the example prints"


def test_zones_and_rates_are_traded_alike_and_cash_differs_by_rounded_commissions(example, bars, patient):
    model, root = patient
    shown = example.untraded(model, bars)
    us, them = example.ours(model, shown), example.theirs(model, shown, root)
    assert len(us.fills) > 200
    assert (us.fills["shares"] < 0).any()
    assert example.same(us.fills, them.fills)
    np.testing.assert_array_equal(us.shares, them.shares)
    cents = (us.fills["shares"].abs() * us.fills["price"] * example.FEE).round(2)
    np.testing.assert_allclose(them.fills["commission"], cents, atol=0.01 + 1e-9)  # either cent, of a half
    rounding = (them.fills["commission"] - us.fills["commission"]).sum()
    assert us.cash - them.cash == pytest.approx(rounding, abs=1e-6)
    assert abs(rounding) <= 0.005 * len(them.fills)


def test_in_dollars_of_eight_decimals_nothing_differs(example, bars, patient, monkeypatch):
    """So what differs in cents, and what rounds to another share for it, is due to the cents."""
    fine = Currency("USX", 8, 840, "fine dollar", CurrencyType.CRYPTO)
    monkeypatch.setattr(example, "USD", fine)
    model, root = patient
    shown = example.untraded(model, bars)
    us, them = example.ours(model, shown), example.theirs(model, shown, root)
    assert example.same(us.fills, them.fills)
    np.testing.assert_allclose(them.fills["commission"], us.fills["commission"], rtol=0, atol=1e-8)
    assert them.cash == pytest.approx(us.cash, abs=1e-6)


def test_it_says_which_fills_differ(example):
    fills = pd.DataFrame(
        {"time": pd.to_datetime(["2020-01-02", "2020-01-02", "2020-01-03"]), "symbol": ["A", "B", "A"],
         "shares": [10.0, 20.0, -5.0], "price": 1.0, "commission": 0.0}
    )  # fmt: skip
    assert example.agreement(fills, fills).startswith("All 3 fills are the same")
    other = fills.assign(shares=[10.0, 21.0, -5.0])[:2]
    assert example.agreement(fills, other) == "Of 3 fills 2 differ, by at most 5 of 20 shares."


def test_orders_that_are_sent_at_once_are_filled_at_the_close_they_were_decided_on(example, bars, patient, monkeypatch):
    """NautilusTrader's own convention is our `same_close`; `Champion` waits for the next close."""

    class AtOnce(example.Champion):
        def trade(self, decision):
            pass

        def on_bar(self, bar):
            super().on_bar(bar)
            if not self.closing and self.decision is not None:
                super().trade(self.decision)

    model, root = patient
    shown = example.untraded(model, bars)
    later = example.ours(model, shown)
    with warnings.catch_warnings(action="ignore"):
        monkeypatch.setattr(example, "EXECUTION", replace(example.EXECUTION, fill="same_close"))
        us = example.ours(model, shown)
    them = example.theirs(model, shown, root, AtOnce)
    last = them.fills["time"] == shown.index[-1]  # our last decision is never filled
    assert last.any()
    assert example.same(us.fills, them.fills[~last].reset_index(drop=True))
    assert not example.same(later.fills, them.fills)


def test_buys_before_their_money_stop_the_backtest(example, bars, patient):
    class BuysFirst(example.Champion):
        def trade(self, decision):
            shares = np.array([float(self.portfolio.net_position(id_)) for id_ in self.ids])
            change = example.lots(decision, shares, np.array(self.closes[-1]), self.cash) - shares
            self.selling = len(change) + 1  # no more buys when the sells are filled
            self.send(example.OrderSide.BUY, np.maximum(change, 0))
            self.send(example.OrderSide.SELL, np.maximum(-change, 0))

    model, root = patient
    shown = example.untraded(model, bars)
    us, them = example.ours(model, shown), example.theirs(model, shown, root, BuysFirst)
    assert 0 < len(them.fills) < len(us.fills)
    assert them.fills["time"].iloc[-1] < us.fills["time"].iloc[-1]


def test_more_than_a_quarter_of_the_volume_costs_a_tick(example, bars, patient, monkeypatch):
    monkeypatch.setattr(example, "VOLUME", example.Quantity.from_int(400))
    model, root = patient
    shown = example.untraded(model, bars)[:5]
    us, them = example.ours(model, shown), example.theirs(model, shown, root)
    first = them.fills[(them.fills["time"] == us.fills["time"][0]) & (them.fills["symbol"] == us.fills["symbol"][0])]
    assert first["shares"].tolist() == [100, us.fills["shares"][0] - 100]
    assert np.diff(first["price"]).tolist() == pytest.approx([0.01])


@pytest.mark.parametrize("seed", range(20))
def test_the_strategys_orders_are_those_of_the_account(example, seed):
    """On random plans, prices and limits of cash: its sizes and cuts, without any engine, against the kernel."""
    rng = np.random.default_rng(seed)
    shape = 60, int(rng.integers(1, 6))
    close = np.round(rng.uniform(5, 500, shape[1]) * np.exp(np.cumsum(rng.normal(0, 0.03, shape), axis=0)), 2)
    bars = Bars.make(pd.bdate_range("2020-01-01", periods=len(close)), [f"S{i}" for i in range(shape[1])], close)
    aim = rng.uniform(-0.2, 1.5 / shape[1], shape)
    band = np.where(rng.random(shape) < 0.1, np.inf, rng.uniform(0, 0.1, shape))
    plan = Plan(aim, band, rng.uniform(0, 1, shape))
    paths = simulate(bars, plan, costs=Costs(commission=example.FEE), execution=example.EXECUTION)
    cash, shares = float(example.CASH), np.zeros(shape[1])
    for t in range(len(close) - 1):
        decision = {"target_weight": aim[t], "band": band[t], "rate": plan.rate[t]}
        change = example.lots(decision, shares, close[t + 1], cash) - shares
        sold = np.minimum(change, 0)
        cash -= sold @ close[t + 1] * (1 - example.FEE)
        bought = example.affordable(np.maximum(change, 0), close[t + 1], cash)
        cash -= bought @ close[t + 1] * (1 + example.FEE)
        shares = shares + sold + bought
        np.testing.assert_array_equal(shares, np.round(paths.shares[0, t + 1], 6))
        assert cash == pytest.approx(paths.cash[0, t + 1], abs=1e-4)


def test_what_it_cannot_trade_is_refused(example, bars, patient, tmp_path):
    model, _ = patient
    with pytest.raises(InputError, match="no two bars after 2020-12-31"):
        example.untraded(model, bars[:"2020"])
    close = bars.close.copy()
    close[-3, 1] = np.nan
    with pytest.raises(InputError, match="has gaps"):
        example.untraded(model, Bars.make(bars.index, bars.symbols, close))
    done = subprocess.run(
        [sys.executable, SCRIPT, "nobody", "stocks"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("nautilus: model 'nobody' cannot be loaded")
    assert len(done.stderr.splitlines()) == 1
