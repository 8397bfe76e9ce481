"""Answers to rows of requests: what was asked for beside the decision, and what is answered where there is none."""

import json

import numpy as np
import pandas as pd
import pytest
import samples

from backtests import audit
from backtests.carried import Deployed, Undecided
from backtests.decider import Decider
from backtests.deployment import decide_row, make_contract
from backtests.request import to_request
from markets import Bars, Execution, HiddenMarkovRegimes, InputError, simulate
from strategies import EqualWeight, InverseVolatility, Plan, Rebalanced, RegimeGated, Strategy, WeightLimit


def answered(decider, row):
    """The answer to a request of one row."""
    (answer,) = decider.answers([row])
    return answer


@pytest.fixture(scope="module")
def model(bars):
    return Deployed(InverseVolatility(20), make_contract(InverseVolatility(20), bars[:1400]))


@pytest.fixture(scope="module")
def asked(bars):
    return json.loads(json.dumps(to_request(bars[1300:1410].without_past())))


def last_close(asked, value):
    return asked | {"bars": [*asked["bars"][:-1], [value, *asked["bars"][-1][1:]]]}


def test_a_request_as_before_is_answered_as_before(model, asked):
    assert answered(Decider(model), asked) == decide_row(model.strategy, model.contract, asked, "the request")


def test_a_state_is_answered_when_it_is_asked_for_and_saves_the_bars(model, asked, bars):
    decider = Decider(model)
    first = answered(decider, asked | {"state": {}})
    assert first["state"]["after"] == str(bars.index[1409])
    one = to_request(bars.rows(1410, 1411).without_past())
    answer = answered(decider, one | {"state": json.loads(json.dumps(first["state"]))})
    whole = answered(decider, to_request(bars[1300:1411].without_past()))
    assert answer["target_weight"] == whole["target_weight"]
    turned = {
        "symbols": one["symbols"][::-1],
        "times": one["times"],
        "bars": [one["bars"][0][::-1]],
        "state": first["state"],
    }
    assert answered(decider, turned)["target_weight"] == whole["target_weight"][::-1]


def test_what_to_trade_to_is_what_the_account_does(bars):
    """Band and rate from any position, against the simulator."""
    rng = np.random.default_rng(0)
    held = rng.dirichlet(np.ones(4), 50)[:, :3]
    for position in held:
        aim, band, rate = rng.dirichlet(np.ones(4))[:3], rng.uniform(0, 0.2, 3), rng.uniform(0, 1, 3)

        class Wanted(Strategy):
            name = "wanted"

            def plan(self, bars, aim=aim, band=band, rate=rate):
                return Plan(*(np.tile(part, (len(bars), 1)) for part in (aim, band, rate)))

        decider = Decider(Deployed(Wanted(), make_contract(EqualWeight(), bars[:1400])))
        position_by_name = dict(zip(bars.symbols, position.tolist(), strict=True))
        answer = answered(decider, to_request(bars[1300:1410].without_past()) | {"position": position_by_name})
        still = Bars.make(bars.index[:3], bars.symbols, np.full((3, 3), 50.0))
        steps = Plan(
            np.array([position, aim, aim]), np.array([0 * band, band, band]), np.array([1 + 0 * rate, rate, rate])
        )
        account = simulate(
            still, steps, costs="0", execution=Execution(fill="next_close", gross=np.inf, borrowing=True)
        )
        weights = account.shares[0, 2] * 50 / account.equity[0, 2]
        np.testing.assert_allclose(answer["trade_to"], weights, atol=1e-12)


def test_symbols_that_a_position_leaves_out_are_not_held(model, asked):
    answer = answered(Decider(Deployed(EqualWeight(), model.contract)), asked | {"position": {"S1": 0.5}})
    assert answer["trade_to"] == answer["target_weight"]
    left_alone = Decider(Deployed(Rebalanced(EqualWeight(), "year"), model.contract))
    answer = answered(left_alone, asked | {"position": {"S1": 0.5}})
    assert answer["band"] == [None] * 3
    assert answer["trade_to"] == [0, 0.5, 0]


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ([0.1, 0.2, 0.3], "position must be weights by symbol"),
        ("all", "position must be weights by symbol"),
        ({"X": 0.1}, "position holds X, of which the model knows nothing; leave it out"),
        ({"S0": "much"}, "position of S0 must be a weight, a number such as"),
        ({"S0": None}, "position of S0 must be a weight"),
        ({"S0": True}, "position of S0 must be a weight"),
        ({"S0": float("inf")}, "position of S0 must be a weight"),
        ({"S0": 10**400}, "position of S0 must be a weight"),
    ],
)
@pytest.mark.parametrize("fallback", ["refuse", "hold"])
def test_a_position_that_is_none_is_refused(model, asked, position, message, fallback):
    with pytest.raises(InputError, match=message):
        answered(Decider(model, fallback=fallback), asked | {"position": position})


def test_regimes_and_limits_are_answered_where_there_are_any(bars):
    detector = HiddenMarkovRegimes(2, restarts=2).fit(bars[:1000])
    strategy = WeightLimit(RegimeGated(detector, [EqualWeight(), EqualWeight()], refit=False), 0.2)
    decider = Decider(Deployed(strategy, make_contract(strategy, bars[:1400])))
    answer = answered(decider, to_request(bars[:1410]))
    assert answer["limits"][0].startswith("weights to 0.2: S0 from 33.33% to 20.00%")
    assert set(answer["regimes"]["regime gated"]) == {"calm", "crisis"}
    json.dumps(answer, allow_nan=False)


def test_what_cannot_be_decided_is_answered_by_the_fallback_with_a_flag(model, asked):
    wrong, position = last_close(asked, None), {"S0": 0.25, "S2": 0.5}
    with pytest.raises(Undecided, match="S0 has no close at"):
        answered(Decider(model), wrong)
    hold = answered(Decider(model, fallback="hold"), wrong | {"position": position, "state": {}})
    assert hold == {
        "symbols": ["S0", "S1", "S2"], "target_weight": [0.25, 0, 0.5], "band": [None] * 3, "rate": [0] * 3,
        "trade_to": [0.25, 0, 0.5], "flag": "hold", "reason": hold["reason"],
    }  # fmt: skip
    assert hold["reason"].startswith("S0 has no close at")
    blind = answered(Decider(model, fallback="hold"), wrong)
    assert blind["target_weight"] == [None] * 3  # never a zero that nobody meant
    flat = answered(Decider(model, fallback="flat"), wrong | {"position": position})
    assert (flat["target_weight"], flat["band"], flat["rate"], flat["flag"]) == ([0] * 3, [0] * 3, [1] * 3, "flat")
    assert flat["trade_to"] == [0] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"symbols": ["S0", "S1", "EURUSD"]}, "without S2"),
        (lambda a: a | {"times": a["times"][::-1]}, "not sorted"),
        (lambda a: a | {"bars": a["bars"][:-1]}, "one time per row"),
        (lambda a: a | {"symbols": ["S0", "S0", "S2"]}, "appears twice"),
        (lambda a: a | {"state": {"format": 1}}, "its state is none that was answered"),
        (lambda a: a | {"state": 0}, "its state is none that was answered"),
        (lambda a: last_close(a, -1), "a price must be positive"),
        (lambda a: {k: v for k, v in a.items() if k != "times"}, "without times"),
    ],
)
def test_a_malformed_request_is_refused_whatever_the_fallback(model, asked, change, message):
    with pytest.raises(InputError, match=message):
        answered(Decider(model, fallback="flat"), change(asked))


def test_bars_that_are_too_old_are_not_decided_on(model, asked):
    with pytest.raises(Undecided, match=r"ends at 2006-05-26 00:00:00, .* days ago, and 3 bars \(3 days\) are allowed"):
        answered(Decider(model, max_age=3), asked)
    today = pd.bdate_range(end=pd.Timestamp.now().normalize(), periods=1500)
    recent = Bars.make(today, *(lambda b: (b.symbols, b.close))(samples.regime_bars(1500, 3, seed=1)))
    fresh = Deployed(model.strategy, make_contract(model.strategy, recent[:1400]))
    assert answered(Decider(fresh, max_age=4), to_request(recent[1300:].without_past()))["target_weight"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"fallback": "pray"}, "fallback 'pray' is unknown"), ({"max_age": 0}, "largest age is 0")],
)
def test_settings_that_are_none_are_refused(model, settings, message):
    with pytest.raises(InputError, match=message):
        Decider(model, **settings)


def test_each_decision_is_in_the_log_before_it_is_answered(model, asked, bars, tmp_path):
    log = tmp_path / "decisions.jsonl"
    decider = Decider(model, name="mine/3", fallback="hold", log=log)
    first = answered(decider, asked | {"state": {}})
    second = answered(decider, last_close(asked, None))
    with pytest.raises(InputError, match="row 1 of the request is without symbols"):
        decider.answers([asked, {}])  # nothing was answered
    records = audit.read(log)
    assert [record["answer"].get("flag") for record in records] == [None, "hold"]
    assert records[0]["answer"] == {k: v for k, v in first.items() if k != "state"}
    assert records[1]["answer"] == second
    assert (records[0]["model"], records[0]["fingerprint"]) == ("mine/3", model.fingerprint)
    assert records[0]["bars"] == bars[1300:1410].without_past().hash
    assert records[0]["after"] == str(bars.index[1409])
