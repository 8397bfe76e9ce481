import json

import numpy as np
import pandas as pd
import pytest
import torch

from backtests.contract import to_request
from backtests.deployment import decide, deployable, load, make_contract, request, save
from markets import Bars, External, Features, InputError
from markets.features import Return
from strategies import (
    Blend,
    Policy,
    PolicySettings,
    PolicyStrategy,
    Pool,
    PortfolioPolicy,
    PortfolioSettings,
    PortfolioStrategy,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's at import
UNTIL = 900  # bars at registration


def strategy(series, published=None, seed=0):
    """A policy with non-zero random weights that reads a return and the series."""
    torch.manual_seed(seed)
    features = Features((Return(5, 8), External(series, lag=1, published=published)))
    policy = Policy(PolicySettings(features=features, base_window=8))
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return PolicyStrategy(policy.eval(), 4)


def server(strategy, contract):
    from backtests.served import ServedStrategy

    found = ServedStrategy()
    found.strategy, found.contract = strategy, contract
    return found


@pytest.fixture(scope="module")
def frame(bars):
    values = np.random.default_rng(0).normal(0, 1, (len(bars), 2))
    return pd.DataFrame(values, bars.index, ["vix", "long rate"])


@pytest.mark.parametrize("kind", ["policy", "blend"])
def test_a_batch_is_what_is_served_bar_by_bar(bars, frame, kind, tmp_path):
    """The model holds the series up to its registration; requests bring what came after."""

    def build(series):
        return strategy(series) if kind == "policy" else Blend([strategy(series), strategy(series, seed=1)])

    registered, whole = build(frame.iloc[:UNTIL]), build(frame)
    contract = make_contract(deployable(registered, "ours"), bars[:UNTIL])
    save(registered, contract, tmp_path)
    served = server(*load(tmp_path))
    plan = whole.plan(bars)
    for t in (UNTIL, UNTIL + 1, UNTIL + 60):
        newer = frame.iloc[UNTIL - 5 : t]  # some are known to the model; bar t reads what bar t − 1 knew
        asked = json.loads(json.dumps(request(registered, contract, bars[: t + 1], newer)))
        answer = served.predict(None, pd.DataFrame([asked])).iloc[0]
        np.testing.assert_allclose(answer["target_weight"], plan.aim[t], atol=1e-9)
        np.testing.assert_allclose(answer["band"], plan.band[t], atol=1e-9)
    check = json.loads((tmp_path / "check.json").read_text())
    np.testing.assert_allclose(check["target_weight"], plan.aim[UNTIL - 1], atol=1e-9)
    mixed = served.predict(None, pd.DataFrame([asked, to_request(bars[:UNTIL])]))
    np.testing.assert_allclose(mixed.iloc[1]["target_weight"], plan.aim[UNTIL - 1], atol=1e-9)


def test_a_series_that_is_out_of_date_is_refused(bars, frame):
    ours = strategy(frame.iloc[:UNTIL])
    contract = make_contract(ours, bars[:UNTIL])
    assert decide(ours, contract, bars[: UNTIL + 1])["target_weight"]  # it reads the bar before, which the model knows
    with pytest.raises(
        InputError, match=r"the last value of vix that .* may read is \d days? old.* send the newer ones"
    ):
        decide(ours, contract, bars[: UNTIL + 2])
    with pytest.raises(InputError, match="may read is"):
        decide(ours, contract, bars[: UNTIL + 9], request(ours, contract, bars[:UNTIL], frame.iloc[:UNTIL])["series"])
    weekly = strategy(frame.iloc[:UNTIL:5])
    contract = make_contract(weekly, bars[:UNTIL])
    assert decide(weekly, contract, bars[: UNTIL + 1])["target_weight"]
    with pytest.raises(InputError, match="may read is"):
        decide(weekly, contract, bars[: UNTIL + 4])  # the value of this week is lacking


VALUES = {"times": ["2004-06-15", "2004-06-16"], "values": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({"vix": VALUES}, "without long rate in series: send times"),
        ({"vix": VALUES, "long rate": [1, 2]}, "without long rate in series"),
        ("much", "without vix in series"),
        # regressions: a TypeError of pandas from joining times with and without a zone
        ({"vix": VALUES, "long rate": {"times": [], "values": []}}, "vix and long rate at different times"),
        (
            {"vix": VALUES, "long rate": {"times": ["2030-01-01T00:00:00+00:00"], "values": [0.1]}},
            "vix and long rate at different times",
        ),
        (
            {"vix": VALUES, "long rate": {"times": [None], "values": [0.1]}},
            "times of long rate must be ISO 8601, each a text",
        ),
        ({"vix": VALUES, "long rate": VALUES | {"values": [1.0]}}, "2 times and 1 values of long rate"),
        ({"vix": VALUES, "long rate": VALUES | {"times": ["soon", "later"]}}, "times of long rate must be ISO 8601"),
        ({"vix": VALUES, "long rate": VALUES | {"times": ["2004-06-15", "2004-06-17"]}}, "at different times"),
        ({"vix": VALUES, "long rate": VALUES | {"values": [1.0, None]}}, "long rate is nan in row 1"),
        ({"vix": VALUES, "long rate": VALUES | {"values": ["low", "high"]}}, "must be numbers"),
        ({name: VALUES | {"times": VALUES["times"][::-1]} for name in ("vix", "long rate")}, "row 1 .* comes after"),
        ({name: VALUES | {"times": [f"{t}T00:00Z" for t in VALUES["times"]]} for name in ("vix", "long rate")}, "zone"),
        ({name: VALUES | {"values": [1.0, 90.0]} for name in ("vix", "long rate")}, "bounded to ±8"),
    ],
)
def test_a_request_with_wrong_series_is_refused(bars, frame, series, message):
    ours = strategy(frame.iloc[:UNTIL])
    served = server(ours, make_contract(ours, bars[:UNTIL]))
    with pytest.raises(InputError, match=message) as found:
        served.predict(None, pd.DataFrame([to_request(bars[:UNTIL]) | {"series": series}]))
    assert type(found.value).__name__ == "RequestError"


def test_a_model_without_series_does_not_look_at_them(bars):
    ours = PolicyStrategy(Policy(PolicySettings(features=Features((Return(5, 8),)), base_window=8)).eval(), 4)
    contract = make_contract(ours, bars[:UNTIL])
    assert decide(ours, contract, bars[:UNTIL], {"vix": "none"}) == decide(ours, contract, bars[:UNTIL])


def test_zones_of_series_and_bars(bars, frame):
    zoned = Bars.make(bars.index.tz_localize("America/New_York"), bars.symbols, bars.close)
    series = frame.tz_localize("UTC") if frame.index.tz is None else frame
    early = series.set_axis(series.index + pd.Timedelta("4h"))  # midnight in New York or an hour before
    ours, whole = strategy(early.iloc[:UNTIL]), strategy(early)
    contract = make_contract(ours, zoned[:UNTIL])
    t = UNTIL + 3
    asked = request(ours, contract, zoned[: t + 1], early.iloc[UNTIL:t])["series"]
    answer = decide(ours, contract, zoned[: t + 1], asked)
    np.testing.assert_allclose(answer["target_weight"], whole.plan(zoned).aim[t], atol=1e-9)


def test_a_portfolio_is_served_as_a_backtest_trades_it(bars, tmp_path):
    pool = Pool(volatilities=(5, 20), correlations=(20, 60), window=80, shortest=20)
    policy = PortfolioPolicy(PortfolioSettings(kind="risk_parity", exposure="target", pool=pool))
    ours = PortfolioStrategy(policy)
    save(ours, make_contract(deployable(ours, "ours"), bars[:UNTIL]), tmp_path)
    again, contract = load(tmp_path)
    served, plan = server(again, contract), ours.plan(bars)
    for t in (UNTIL, UNTIL + 2, UNTIL + 60):
        answer = served.predict(None, pd.DataFrame([request(again, contract, bars[: t + 1])])).iloc[0]
        np.testing.assert_array_equal(answer["target_weight"], plan.aim[t])
        np.testing.assert_array_equal(answer["band"], plan.band[t])
