import hashlib
import json
import warnings

import numpy as np
import pandas as pd
import pytest
import samples
import torch
from policies import random_strategy
from served import Served

from backtests import audit, registry, walk_forward
from backtests.carried import Deployed
from backtests.decider import Decider
from backtests.deployment import (
    answered,
    as_array,
    as_series,
    decide,
    deployable,
    difference,
    load,
    make_contract,
    request,
    save,
)
from backtests.request import from_request, to_request
from markets import Bars, Execution, External, Features, HiddenMarkovRegimes, InputError
from markets.features import Calendar, Range, Return, VolumeSurprise
from metalearner import MAML, Ensemble, Inner, Training
from strategies import (
    Blend,
    BuyAndHold,
    Donchian,
    EqualWeight,
    MinimumVariance,
    Momentum,
    Plan,
    Policy,
    PolicySettings,
    PolicyStrategy,
    Pool,
    PortfolioPolicy,
    PortfolioSettings,
    PortfolioStrategy,
    RegimeGated,
    Stops,
    VolatilityTarget,
    WeightLimit,
    load_strategy,
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
    found.decider = Decider(Deployed(strategy, contract))
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


# ---------------------------------------------------------------------- what passes a backtest is served


END = 1400  # bars at registration of those below
OWN = """
from pathlib import Path

import numpy as np
import pandas as pd

from markets import External
from strategies import EqualWeight, Plan, Strategy

FILES = ("fear.csv",)
table = pd.read_csv(Path(__file__).with_name("fear.csv"), index_col=0, parse_dates=True)


class Fearful(Strategy):
    name = "fearful"
    reads = ("volume",)
    warmup = 20
    fear = External(table["fear"], lag=1)

    def plan(self, bars):
        held = bars.with_past()
        usual = pd.DataFrame(held.volume).rolling(20).mean().shift().to_numpy()
        busy = np.nan_to_num(held.volume / usual, nan=1.0)[bars.past:]
        calm = self.fear.joined(bars)[:, 0] < 0.3
        return Plan(np.where(calm[:, None], EqualWeight().plan(bars).aim / (1 + busy), 0.0))
"""


@pytest.fixture(scope="module")
def whole():
    """Bars with everything that a strategy can read."""
    plain = samples.regime_bars(1500, 3, seed=1, volume=True)
    rng, close = np.random.default_rng(5), plain.close
    reach = [np.exp(side * rng.uniform(0.001, 0.01, close.shape)) for side in (1, -1)]
    return Bars.make(
        plain.index, plain.symbols, close, open=close * np.exp(rng.normal(0, 1e-4, close.shape)), high=close * reach[0],
        low=close * reach[1], volume=plain.volume, spread=rng.uniform(1e-4, 1e-3, close.shape), name="whole",
    )  # fmt: skip


def own_file(folder, series):
    folder.mkdir()
    (folder / "my.py").write_text(OWN)
    series.to_csv(folder / "fear.csv")
    return load_strategy(f"{folder / 'my.py'}:Fearful")()


@pytest.fixture(scope="module")
def fear(whole):
    return pd.Series(np.sin(np.arange(len(whole)) / 9), whole.index, name="fear")


@pytest.fixture(scope="module")
def root(short_certificates, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield tmp_path_factory.mktemp("kinds") / "mlruns"


def maml(tasks):
    shape = PolicySettings(memory="none", features=Features.standard((1, 5), 20, 5, (10,)), base="equal_weight")
    learner = MAML(
        policy=shape, inner=Inner(steps=2, support=40), training=Training(steps=2, evaluate_every=2, evidence=-1e9)
    )
    return Ensemble(learner, members=2).fit(*tasks, progress=False)


KINDS = ("rule", "blend with limits", "RL2", "MAML ensemble", "own file")


def backtested(kind, whole, meta, tasks, fear, folder):
    """One of five kinds of strategy as it is registered on the bars up to `END`, and its plan from there on in a backtest."""
    if kind == "own file":  # it is registered with what is known by then
        ours, registered = own_file(folder / "all", fear), own_file(folder / "then", fear.iloc[:END])
    else:
        ours = registered = {
            "rule": lambda: Momentum(60),
            "blend with limits": lambda: Stops(
                VolatilityTarget(WeightLimit(Blend([MinimumVariance(60), Donchian(10)]), 0.4), 0.1, 10), loss=0.1
            ),
            "RL2": lambda: meta,
            "MAML ensemble": lambda: maml(tasks),
        }[kind]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # what adapts does so on the bars up to the first one, which are those of registration
        found = walk_forward(
            [ours], whole[END - 1 :], every=200, progress=False, execution=Execution(gross=2, borrowing=True)
        )
    return registered, found[0].plan


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_backtested_is_served(kind, whole, meta, tasks, fear, root, tmp_path):
    """From backtest to registered version to server, with the same weights, of bars that came after registration."""
    registered, plan = backtested(kind, whole, meta, tasks, fear, tmp_path)
    version = registry.register(kind, registered, bars=whole[:END], root=root)
    model = registry.load(f"{kind}/{version.number}", root=root)
    newer = pd.DataFrame(fear) if kind == "own file" else None
    for t in (END, END + 1, END + 40, len(whole) - 1):
        asked = json.loads(json.dumps(registry.request(model, whole[: t + 1], newer), allow_nan=False))
        answer = model.predict(pd.DataFrame([asked])).iloc[0].to_dict()
        found = registry.target_weights(model, whole[: t + 1], newer)
        for part, values in answered(plan.map(lambda x, t=t: x[: t - END + 2])).items():
            np.testing.assert_allclose(as_array(answer[part]), as_array(values), atol=1e-6)
            np.testing.assert_allclose(found[part], as_array(values), atol=1e-6)
    assert np.abs(plan.aim).max() > 0.01
    read = {"blend with limits": ["high", "low"], "own file": ["volume"]}.get(kind, [])
    assert json.loads(registry.tags_of(version, root=root)["columns"]) == read
    inputs = ["symbols", "times", "bars", *read, *(["series"] if kind == "own file" else []), "position", "state"]
    assert model.model.metadata.get_input_schema().input_names() == inputs


@pytest.mark.slow  # a server of each
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_backtested_is_served_over_http(kind, whole, meta, tasks, fear, tmp_path):
    """A real server: from all bars, and with the state of the answer before and the new bar alone."""
    registered, plan = backtested(kind, whole, meta, tasks, fear, tmp_path)
    version = registry.register("served", registered, bars=whole[:END], root=tmp_path / "mlruns")
    model = registry.load("served/1", root=tmp_path / "mlruns")
    newer = pd.DataFrame(fear) if kind == "own file" else None
    served = Served(tmp_path, f"{version.name}/{version.number}", "--log", "decisions.jsonl")
    try:
        state, asked_of = None, (END, END + 1, END + 2, END + 40)
        for t in asked_of:
            asked = registry.request(model, whole[: t + 1], newer)
            answer = served.decide(asked | {"state": {}})
            answers = [answer]
            if state is not None and t < END + 40:
                one = to_request(whole.rows(t, t + 1).without_past(), model.contract.columns)
                series = {} if newer is None else {"series": as_series(newer.iloc[t - 3 : t + 1])}
                answers.append(served.decide(one | series | {"state": state}))
            for part, values in answered(plan.map(lambda x, t=t: x[: t - END + 2])).items():
                for found in answers:
                    np.testing.assert_allclose(as_array(found[part]), as_array(values), rtol=0, atol=1e-6)
            state = answers[-1]["state"]
        assert ("limits" in answer) == (kind == "blend with limits")
        assert len(audit.read(tmp_path / "decisions.jsonl")) == len(asked_of) + 2
    finally:
        _, err, code = served.end()
    assert (err, code) == ("", 0)


@pytest.mark.process
def test_an_own_file_is_promoted_from_its_copy_and_refused_when_tampered_with(whole, fear, root, tmp_path):
    ours = own_file(tmp_path / "mine", fear)
    version = registry.register("mine", ours, bars=whole, root=root)
    (tmp_path / "mine" / "my.py").unlink()  # it has a copy
    (tmp_path / "mine" / "fear.csv").unlink()
    assert registry.promote(version, root=root).difference <= 1e-9
    hashes = registry.own_files(registry.tags_of(version, root=root))
    assert hashes["my.py"] == hashlib.sha256(OWN.encode()).hexdigest()
    place = registry.load("mine", root=root).folder / "artifacts" / "strategy"
    marker = tmp_path / "ran"
    (place / "my.py").write_text(f"open({str(marker)!r}, 'w')\n" + OWN)
    for refused in (lambda: load(place), lambda: registry.load("mine", root=root)):
        with pytest.raises(InputError, match=r"my\.py was changed since"):
            refused()
    assert not marker.exists()


def test_every_file_of_a_saved_model_is_checked_and_named(whole, tmp_path):
    ours = WeightLimit(Blend([Momentum(20), RegimeGated(HiddenMarkovRegimes(1), [EqualWeight()])]), 0.3).adapt(whole)
    save(ours, make_contract(ours, whole), tmp_path)
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "files.json"]
    assert {p.name for p in files} >= {"stored.json", "contract.json", "check.json", "detector.json"}
    load(tmp_path)
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        with pytest.raises(InputError, match=f"{path.relative_to(tmp_path).as_posix()} was changed since"):
            load(tmp_path)
        path.write_bytes(content)
    (tmp_path / "more.pkl").write_bytes(b"")
    with pytest.raises(InputError, match=r"more\.pkl was added since"):
        load(tmp_path)


def test_policies_that_read_volume_and_ranges_are_served(whole, tmp_path):
    torch.manual_seed(0)
    features = Features((Return(5, 8), VolumeSurprise(10), Range(8)))
    policy = Policy(PolicySettings(features=features, base="equal_weight"))
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ours = PolicyStrategy(policy.eval(), 4)
    contract = make_contract(deployable(ours, "ours"), whole[:END])
    assert contract.columns == ("high", "low", "volume")
    save(ours, contract, tmp_path)
    served, plan = server(*load(tmp_path)), ours.plan(whole)
    asked = json.loads(json.dumps(request(ours, contract, whole[: END + 20])))
    answer = served.predict(None, pd.DataFrame([asked])).iloc[0]
    np.testing.assert_allclose(answer["target_weight"], plan.aim[END + 19], atol=1e-9)

    def refused(changed, message):
        with pytest.raises(InputError, match=message) as found:
            served.predict(None, pd.DataFrame([changed]))
        assert "\n" not in str(found.value)

    refused(
        {k: v for k, v in asked.items() if k != "volume"},
        "the request is without volume; beside closes the model reads",
    )
    refused(asked | {"volume": asked["volume"][1:]}, "volume must be rows of numbers, as many as bars has")
    refused(asked | {"high": [row[1:] for row in asked["high"]]}, "row 0 of high must hold 3 highs")
    refused(
        asked | {"low": [*asked["low"][:-1], ["low", 1, 1]]}, "the low of S0 in row .* is 'low', which is not a number"
    )
    last = [*asked["volume"][:-1], [None, *asked["volume"][-1][1:]]]
    refused(asked | {"volume": last}, "S0 has a close at .* and no volume; it always had one")
    with pytest.raises(InputError, match="whole is without high"):
        request(ours, contract, Bars.make(whole.index, whole.symbols, whole.close, name="whole"))


def test_a_strategy_that_depends_on_all_bars_is_sent_all(whole):
    ours = Donchian(10)
    contract = make_contract(ours, whole[100:END].without_past())
    plan = ours.plan(whole[100:].without_past())
    answer = decide(ours, contract, whole[: END + 5])  # what is before was not there at registration
    np.testing.assert_array_equal(answer["target_weight"], plan.aim[END + 4 - 100])
    with pytest.raises(
        InputError, match=r"begins at .*, and a decision of this model depends on all bars since 2001-05-21"
    ):
        decide(ours, contract, whole[150 : END + 5].without_past())


def test_a_band_without_end_is_null(whole):
    """What is bought at registration is left alone from then on."""
    contract = make_contract(BuyAndHold(), whole[:END])
    assert decide(BuyAndHold(), contract, whole[:END])["band"] == [0, 0, 0]
    answer = decide(BuyAndHold(), contract, whole[: END + 9])
    assert answer["band"] == [None, None, None]
    json.dumps(answer, allow_nan=False)
    assert difference(answer, answer) == 0
    assert difference(answer, answer | {"band": [None, None, 0.1]}) == np.inf
    assert difference(answer, {k: v for k, v in answer.items() if k != "rate"}) == np.inf


class Undeclared(EqualWeight):
    """Reads more than it says."""

    def __init__(self, what):
        self.what, self.name = what, what

    def plan(self, bars):
        held = bars.with_past()
        if self.what == "volume":
            return Plan(super().plan(bars).aim * (0.5 if bars.volume is None else 1.0))
        if self.what == "past":
            return Plan(super().plan(bars).aim * (held.close[bars.past :] > held.close[:30].mean(axis=0)))
        return Plan(super().plan(bars).aim / (1 + len(held)))


@pytest.mark.parametrize("what", ["volume", "past", "everything since the first bar"])
def test_a_strategy_that_reads_more_than_it_says_is_not_registered(what, whole):
    with pytest.raises(InputError, match=f"{what} wants weights at .* differ by .* its class must say warmup"):
        make_contract(Undeclared(what), whole[: END - 5])


def test_rules_on_hourly_bars_have_a_contract_that_counts_them():
    """The warm-up of a monthly rule is of days."""
    index = pd.date_range("2024-01-01", periods=3000, freq="h")
    close = 50 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.004, (3000, 2)), axis=0))
    hourly = Bars.make(index, ("A", "B"), close)
    contract = make_contract(MinimumVariance(48), hourly)
    month = 31 * 24  # the longest
    assert contract.warmup == month - 1 + MinimumVariance(48).warmup
    with pytest.raises(InputError, match=r"has 300 bars; the model reads"):
        contract.check(hourly[-300:].without_past())
    assert make_contract(Blend([Momentum(48), WeightLimit(EqualWeight(), 0.4)]), hourly).warmup == 48
    close[2900:, 1], close[:2900, 1] = close[2900:, 1], np.nan  # a new listing, before which the other one tells
    new = Bars.make(index, ("A", "B"), close)
    assert make_contract(MinimumVariance(48), new).warmup == contract.warmup
    assert make_contract(Momentum(48), new).warmup == 48


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "UTC+05:30"])
@pytest.mark.parametrize("freq", ["h", "B"])
def test_regression_a_policy_that_reads_the_calendar_decides_in_the_zone_of_its_bars(zone, freq, tmp_path):
    """Served decisions were made in UTC, the backtest's in the zone of the data; weights differed by .19."""
    index = pd.date_range("2024-01-01", periods=400, freq=freq, tz=zone)
    close = 50 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, (400, 3)), axis=0))
    bars = Bars.make(index, ("A", "B", "C"), close)
    strategy = random_strategy(features=Features((Return(5, 63), Calendar())), base="equal_weight")
    aim = strategy.plan(bars).aim
    contract = make_contract(strategy, bars[:380])
    save(strategy, contract, tmp_path)
    loaded, read = load(tmp_path)
    assert str(read.bars.index.tz) == str(index.tz)
    recorded = json.loads((tmp_path / "check.json").read_text())
    again = decide(loaded, read, from_request(*to_request(read.bars).values()))
    np.testing.assert_allclose(again["target_weight"], recorded["target_weight"], atol=1e-12)
    for end in range(380, 401, 4):
        elsewhere = bars[:end].in_zone("Asia/Tokyo")
        for asked in (elsewhere, from_request(*request(loaded, read, elsewhere).values())):
            found = decide(loaded, read, asked)
            np.testing.assert_allclose(found["target_weight"], aim[end - 1], atol=1e-12)
