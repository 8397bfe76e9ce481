"""What is carried from decision to decision: the same numbers as from all bars, and refused where it cannot go on."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import samples
import torch

from backtests.carried import Carried, Deployed, Undecided
from backtests.contract import DataContract
from backtests.deployment import decide_row, make_contract
from backtests.request import rows_from_request, to_request
from markets import Bars, External, Features, InputError
from markets.features import Range, Return, VolatilityRatio, VolumeSurprise
from strategies import Blend, BuyAndHold, Momentum, Policy, PolicySettings, PolicyStrategy, WeightLimit, load_strategy
from strategies.policy import TiltInputs


def policy(seed, series=None, **settings):
    """A policy with random weights, of short windows."""
    parts = (Return(1, 6), Return(5, 6), VolatilityRatio(3, 6), *(() if series is None else (External(series, lag=1),)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = Policy(PolicySettings(features=Features(parts), base_window=6, hidden=4, **settings))
        for parameter in built.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
    return PolicyStrategy(built.eval(), 7)


KINDS = {
    "gru": lambda k: policy(k),
    "belief, long and short": lambda k: policy(k, memory="belief", tilt="position", trades="rate"),
    "transformer": lambda k: policy(k, memory="transformer"),
    "no memory": lambda k: policy(k, memory="none"),
    "blend within a limit": lambda k: WeightLimit(Blend([policy(k), Momentum(9)]), 0.3),
}


def history(seed, bars=45, gaps=True):
    """Random bars of three symbols, with gaps of two, and one listed late, in one of three cases each."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (bars, 3)), axis=0))
    if gaps and seed % 3:
        close[rng.random(bars) < 0.1, 1] = np.nan
        close[rng.random(bars) < 0.02] = np.nan  # a day on which nothing traded
    if gaps and seed % 3 == 2:
        close[: bars // 3, 2] = np.nan
    return Bars.make(pd.bdate_range("2020-01-01", periods=bars), ("A", "B", "C"), close, name="random")


def carried_over(model, bars, first):
    """Decisions after each bar from `first` on, each with the bar alone and the JSON of the one before."""
    decision = model.decide(bars.rows(0, first))
    for row in range(first, len(bars)):
        state = json.loads(json.dumps(decision.carried.to_json(), allow_nan=False))
        asked = to_request(bars.rows(row, row + 1).without_past())
        rows = rows_from_request(asked["symbols"], asked["times"], asked["bars"])
        decision = model.decide(rows, carried=Carried.read(model, state))
        yield decision


def remembered(model, bars, first):
    """The same within a process, with the memory of the policy."""
    carried = model.decide(bars.rows(0, first)).carried.remembering()
    for row in range(first, len(bars)):
        decision = model.decide(bars.rows(row, row + 1).without_past(), carried=carried)
        carried = decision.carried
        yield decision


def as_trained(strategy, bars):
    """The last row as training computes it, in float32."""
    inputs = TiltInputs(strategy.policy.settings, bars.without_empty())
    rows = torch.arange(inputs.features.shape[0])[-strategy.context :][None]
    with torch.no_grad():
        plan = strategy.policy(*inputs.along(rows, np.zeros(1, dtype=np.int64), None), last=1)
    return [None if part is None else part[0, 0].double().numpy() for part in plan]


@pytest.mark.parametrize("histories", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_histories_from_bars_carried_remembered_planned_and_as_trained(histories):
    """One answer, whichever way the past was kept."""
    checked, names = 0, list(KINDS)
    for seed in range(histories):
        strategy, bars = KINDS[names[seed % len(names)]](seed), history(seed)
        first = len(bars) - 1 - (seed % 50 == 0)
        window = bars.rows(0, first - 2).without_past()
        contract = DataContract.of(window, max(strategy.warmup, 9))
        month = 30 * 86_400.0
        model = Deployed(strategy, replace(contract, gaps=(True,) * 3, silence=(month,) * 3))
        vars(model)["fingerprint"] = str(
            seed
        )  # that of a blend is the hash of its files, which takes longer than all else
        plan, kept, memory = strategy.plan(bars), carried_over(model, bars, first), remembered(model, bars, first)
        for row, one, other in zip(range(first, len(bars)), kept, memory, strict=True):
            asked = to_request(bars.rows(0, row + 1))
            answer = decide_row(strategy, model.contract, json.loads(json.dumps(asked)), "the request")
            for part, values in plan[row : row + 1].parts.items():
                name = {"aim": "target_weight"}.get(part, part)
                for found in (answer[name], one.plan.parts[part][0], other.plan.parts[part][0]):
                    np.testing.assert_allclose(found, values[0], rtol=0, atol=1e-12)
            checked += 1
        if isinstance(strategy, PolicyStrategy):
            for part, found in zip(("aim", "band", "rate"), as_trained(strategy, bars), strict=True):
                if found is not None:
                    np.testing.assert_allclose(found, getattr(plan, part)[-1], rtol=0, atol=1e-6)
    assert checked == histories + histories // 50


# ---------------------------------------------------------------------- what cannot go on


@pytest.fixture(scope="module")
def model(bars):
    return Deployed(policy(0), make_contract(policy(0), bars[:1400]))


@pytest.fixture(scope="module")
def state(model, bars):
    return json.loads(json.dumps(model.decide(bars[:1400]).carried.to_json()))


def test_bars_that_are_sent_again_are_compared(model, state, bars):
    carried = Carried.read(model, state)
    expected = model.decide(bars[:1402]).plan.aim
    for first in (1400, 1397, 1000):  # from before the carried ones, too
        rows = bars.rows(first, 1402).without_past()
        np.testing.assert_array_equal(model.decide(rows, carried=carried).plan.aim, expected)
    split = bars.close.copy()
    split[:1401, 1] /= 2
    adjusted = Bars.make(bars.index, bars.symbols, split, name="mine")
    with pytest.raises(
        InputError, match=r"mine: the close of S1 at .* is not that of its state; if prices were adjusted, begin"
    ):
        model.decide(adjusted.rows(1399, 1402).without_past(), carried=carried)
    other = bars.rows(1396, 1402).without_past()
    moved = Bars.make(other.index - pd.Timedelta("1h"), other.symbols, other.close, name="mine")
    with pytest.raises(InputError, match="is not among those of its state"):
        model.decide(moved, carried=carried)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            slice(1390, 1400),
            "has no bar after 2006-05-12 00:00:00, which is the last one of its state; send the new ones",
        ),
        (
            slice(1420, 1421),
            r"its first bar after those of its state is 31 days later, and until registration none was more than",
        ),
    ],
)
def test_bars_that_do_not_go_on_are_refused(model, state, bars, rows, message):
    with pytest.raises(InputError, match=message) as found:
        model.decide(bars.rows(rows.start, rows.stop).without_past(), carried=Carried.read(model, state))
    assert not isinstance(found.value, Undecided)  # the client is at fault: no fallback


def test_what_is_carried_is_checked_as_any_bars(model, state, bars):
    """A close that is another instrument's, or none, is one whether it comes with all bars or alone."""
    carried = Carried.read(model, state)
    for change, message in ((np.nan, "S1 has no close at"), (5e4, "S1 goes from"), (1e-9, "S1 goes from")):
        close = bars.close.copy()
        close[1400, 1] = change
        wrong = Bars.make(bars.index, bars.symbols, close)
        for given, past in ((wrong[:1401], None), (wrong.rows(1400, 1401).without_past(), carried)):
            with pytest.raises(Undecided, match=message):
                model.decide(given, carried=past)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: [s], "its state is none that was answered"),
        (lambda s: {k: v for k, v in s.items() if k != "hash"}, "its state is none that was answered"),
        (lambda s: s | {"model": "f" * 64}, "its state is one of another version (ffffffffffff, and this is "),
        (lambda s: s | {"format": 2}, "its state is one of another version"),
        (lambda s: s | {"after": "2030-01-01"}, "its state was changed after it was answered"),
        (lambda s: s | {"arrays": s["arrays"] | {"close": s["arrays"]["close"][::-1]}}, "its state was changed"),
        (lambda s: sealed(s | {"arrays": {}}), "its state cannot be read (KeyError)"),
        (lambda s: sealed(s | {"arrays": s["arrays"] | {"close": "%%"}}), "its state cannot be read"),
        (lambda s: sealed(s | {"arrays": s["arrays"] | {"close": s["arrays"]["close"][:-4]}}), "its state cannot be read"),
        (lambda s: sealed(s | {"arrays": s["arrays"] | {"times": s["arrays"]["close"]}}), "its state cannot be read"),
        (lambda s: sealed(s | {"arrays": 7}), "its state cannot be read"),
        (lambda s: sealed(s | {"symbols": ["S0", "S1"]}), "its state was changed"),
    ],
)  # fmt: skip
def test_a_state_that_is_none_is_refused_in_a_line(model, state, change, message):
    with pytest.raises(InputError) as found:
        Carried.read(model, change(state))
    assert message in str(found.value)
    assert "begin anew, with all bars and an empty state" in str(found.value)
    assert "\n" not in str(found.value)


def sealed(state):
    """A state with the hash of what is in it."""
    from backtests.carried import _hash

    return state | {"hash": _hash({k: v for k, v in state.items() if k != "hash"})}


def test_a_strategy_that_depends_on_all_bars_carries_all(bars):
    model = Deployed(BuyAndHold(), make_contract(BuyAndHold(), bars[:1400]))
    decisions = list(carried_over(model, bars[:1405], 1402))
    assert len(decisions[-1].carried.bars) == 1405
    np.testing.assert_array_equal(decisions[-1].plan.band, np.inf)


def test_external_series_are_carried_too(bars):
    """What a request has told of them need not be told again."""
    frame = pd.DataFrame({"vix": np.sin(np.arange(len(bars)) / 9)}, bars.index)
    registered, whole = policy(1, frame.iloc[:1400]), policy(1, frame)
    model = Deployed(registered, make_contract(registered, bars[:1400]))

    def sent(first, last):
        rows = frame.iloc[first:last]
        return {"vix": {"times": [str(time) for time in rows.index], "values": rows["vix"].tolist()}}

    expected = whole.plan(bars).aim
    carried = model.decide(bars[:1401], sent(1398, 1401)).carried
    for kept in (carried, carried.remembering()):
        for row in range(1401, 1405):
            back = Carried.read(model, json.loads(json.dumps(kept.to_json()))) if kept.memory is None else kept
            decision = model.decide(bars.rows(row, row + 1).without_past(), sent(row, row + 1), back)
            np.testing.assert_allclose(decision.plan.aim[0], expected[row], rtol=0, atol=1e-12)
            kept = decision.carried
        assert kept.to_json()["series"]["vix"]["times"][0] == bars.index[1400].isoformat()
    with pytest.raises(Undecided, match="send the newer ones as series"):
        model.decide(bars.rows(1401, 1404).without_past(), None, carried)


def test_columns_besides_closes_and_zones_are_carried():
    plain = samples.regime_bars(500, 3, seed=1, volume=True)
    rng = np.random.default_rng(0)
    high, low = (plain.close * np.exp(side * rng.uniform(0.001, 0.01, plain.shape)) for side in (1, -1))
    index = plain.index.tz_localize("America/New_York") + pd.Timedelta("16h")
    bars = Bars.make(index, plain.symbols, plain.close, high=high, low=low, volume=plain.volume)
    features = Features((Return(5, 8), VolumeSurprise(10), Range(8)))
    strategy = PolicyStrategy(Policy(PolicySettings(features=features, base_window=8)).eval(), 4)
    model = Deployed(strategy, make_contract(strategy, bars[:400]))
    expected = strategy.plan(bars).aim
    carried = model.decide(bars[:450]).carried
    state = json.loads(json.dumps(carried.to_json()))
    assert set(state["arrays"]) == {"times", "close", "high", "low", "volume"}
    again = Carried.read(model, state)
    assert str(again.bars.index.tz) == "America/New_York"
    row = bars.rows(450, 451).without_past()
    asked = to_request(row.in_zone("UTC"), ("high", "low", "volume"))
    given = rows_from_request(
        asked["symbols"], asked["times"], asked["bars"], columns={c: asked[c] for c in ("high", "low", "volume")}
    )
    np.testing.assert_allclose(model.decide(given, carried=again).plan.aim[0], expected[450], rtol=0, atol=1e-12)
    with pytest.raises(InputError, match="is without high; the model reads close, high, low, volume"):
        model.decide(rows_from_request(asked["symbols"], asked["times"], asked["bars"]), carried=again)
    naive = rows_from_request(
        asked["symbols"], ["2002-10-01"], asked["bars"], columns={c: asked[c] for c in ("high", "low", "volume")}
    )
    with pytest.raises(InputError, match="must all have a time zone, or none"):
        model.decide(naive, carried=again)
    with pytest.raises(InputError, match="is without S2; the model was made for"):
        model.decide(bars.rows(450, 451).without_past().select(["S0", "S1"]), carried=again)


def test_a_users_file_is_told_apart_by_its_hash(bars, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from strategies import EqualWeight\nclass Mine(EqualWeight):\n    name = 'mine'\n"
    )
    ours = load_strategy(f"{tmp_path / 'mine.py'}:Mine")()
    model = Deployed(ours, make_contract(ours, bars[:1400]))
    state = model.decide(bars[:1400]).carried.to_json()
    (tmp_path / "mine.py").write_text(
        "from strategies import EqualWeight\nclass Mine(EqualWeight):\n    name = 'mine!'\n"
    )
    other = load_strategy(f"{tmp_path / 'mine.py'}:Mine")()
    with pytest.raises(InputError, match="another version"):
        Carried.read(Deployed(other, model.contract), state)
