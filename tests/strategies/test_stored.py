"""Strategies of every kind are written and built again; nothing but registered kinds and checked files is."""

import hashlib
import json
import pickle

import numpy as np
import pandas as pd
import pytest
import samples

from markets import External, Features, HiddenMarkovRegimes, InputError
from markets.features import Return
from strategies import (
    Blend,
    DrawdownLimit,
    EqualWeight,
    ExponentialCovariance,
    Frozen,
    GroupLimit,
    KillSwitch,
    LeverageLimit,
    MinimumVariance,
    Momentum,
    Policy,
    PolicySettings,
    PolicyStrategy,
    Rebalanced,
    RebalancedOnDrift,
    RegimeGated,
    Stops,
    Strategy,
    TurnoverLimit,
    VolatilityTarget,
    WeightLimit,
    load_strategy,
    needs,
    stored,
)
from strategies.named import NAMES, strategy_from_name

LIMITS = {
    "drawdown": lambda s: DrawdownLimit(s, 0.1, wait=5),
    "frozen": lambda s: Frozen(s, since="2005"),
    "killed": lambda s: KillSwitch(s, since="2003-05", largest=0.2),
    "leverage": lambda s: LeverageLimit(s, 0.5),
    "monthly": Rebalanced,
    "on drift": lambda s: RebalancedOnDrift(s, 0.02),
    "groups": lambda s: GroupLimit(s, {"S0": "a", "S1": "a"}, 0.3),
    "stops": lambda s: Stops(s, loss=0.05, cooldown=3),
    "turnover": lambda s: TurnoverLimit(s, 0.05),
    "volatility": lambda s: VolatilityTarget(s, 0.08, halflife=10),
    "weights": lambda s: WeightLimit(s, 0.2),
}


def again(strategy, folder):
    """The strategy after a round trip, with the same name, identity and plan."""
    found = stored.load(stored.save(strategy, folder))
    assert found.name == strategy.name
    assert found.warmup == strategy.warmup
    assert stored.fingerprint(found) == stored.fingerprint(strategy)
    return found


def same_plan(one, other, bars):
    a, b = one.plan(bars), other.plan(bars)
    for part in ("aim", "band", "rate", "stop_loss", "cooldown"):
        values = getattr(a, part), getattr(b, part)
        assert (values[0] is None) == (values[1] is None)
        if values[0] is not None:
            np.testing.assert_array_equal(*values)


@pytest.mark.parametrize("name", NAMES)
def test_every_named_rule_is_stored_and_reads_what_it_says(name, bars, tmp_path):
    rule = strategy_from_name(name, year=60, volatility=10).adapt(bars)
    shown = bars[-4:]
    same_plan(rule, again(rule, tmp_path), shown)
    window = needs.window(rule, shown)
    np.testing.assert_allclose(rule.plan(window).aim, rule.plan(shown).aim, atol=1e-9)
    if not needs.endless(rule):
        assert len(window.with_past()) < len(bars) / 2


@pytest.mark.parametrize("limit", LIMITS)
def test_every_limit_is_stored_with_what_it_limits(limit, bars, tmp_path):
    limited = LIMITS[limit](Blend([Momentum(40), MinimumVariance(60, covariance=ExponentialCovariance(10))], "two"))
    shown = bars[-30:]
    found = again(limited, tmp_path)
    same_plan(limited, found, shown)
    assert found.settings == limited.settings
    window = needs.window(limited, shown)
    np.testing.assert_allclose(limited.plan(window).aim, limited.plan(shown).aim, atol=1e-9)


def test_calendar_rules_say_what_they_read_of_shorter_bars_too(tmp_path):
    """A warm-up counts the days of a month, and hourly bars are more."""
    index = pd.date_range("2024-01-01", periods=4000, freq="h")
    close = 50 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.004, (4000, 3)), axis=0))
    hourly = samples.Bars.make(index, ("A", "B", "C"), close)
    for rule in (MinimumVariance(48), Rebalanced(Momentum(30)), Blend([MinimumVariance(24, "week"), Momentum(5)])):
        for end in (2160, 2159, 3500):
            shown = hourly[:end][-1:]
            window = needs.window(rule, shown)
            assert len(window.with_past()) < 1000
            np.testing.assert_allclose(rule.plan(window).aim, rule.plan(shown).aim, atol=1e-12)


def test_a_detector_is_stored_as_it_was_fitted(bars, tmp_path):
    gated = RegimeGated(HiddenMarkovRegimes(2, restarts=2), (EqualWeight(), Momentum(20)), warmup=100).adapt(bars)
    found = again(WeightLimit(gated, 0.3), tmp_path)
    same_plan(WeightLimit(gated, 0.3), found, bars[-5:])
    assert not found.adapts  # it trades as it was adapted
    with pytest.raises(InputError, match=r"regime gated: .*not fitted.*adapt it to more bars"):
        stored.save(RegimeGated(HiddenMarkovRegimes(2), (EqualWeight(), Momentum(20))), tmp_path / "x")


def test_regression_an_attribute_called_least_is_no_warm_up():
    class Own(EqualWeight):
        def __init__(self, warmup):
            self.warmup, self.least = warmup, 3

    assert stored.settings_of(Own(5)) == {"warmup": 5}


def test_names_and_identities_tell_settings_apart(tmp_path):
    rule = MinimumVariance(60)
    rule.name = "mine"
    assert again(rule, tmp_path).name == "mine"
    prints = {
        stored.fingerprint(s) for s in (Momentum(60), Momentum(61), WeightLimit(Momentum(60)), Blend([Momentum(60)]))
    }
    assert len(prints) == 4


def test_what_earlier_versions_saved_is_read(tmp_path):
    ours = PolicyStrategy(Policy(PolicySettings(features=Features((Return(5),)), base="equal_weight")).eval(), 3)
    assert stored.load(ours.save(tmp_path / "policy")).fingerprint == ours.fingerprint
    blend = Blend([ours, ours])
    assert stored.load(blend.save(tmp_path / "blend")).fingerprint == blend.fingerprint
    assert again(Blend([ours, EqualWeight()]), tmp_path / "both").parts[0].fingerprint == ours.fingerprint


class Elsewhere(Strategy):
    def plan(self, bars):
        return EqualWeight().plan(bars)


def test_what_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a Elsewhere is not one of .*load_strategy\('FILE.py:Elsewhere'\)"):
        stored.save(Blend([Momentum(5), Elsewhere()]), tmp_path)
    rule = Momentum(5)
    rule.window = object()
    with pytest.raises(InputError, match="its setting window is a object, which cannot be stored"):
        stored.save(rule, tmp_path)
    assert not (tmp_path / stored.FILE).exists()


OWN = """
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from markets import External
from strategies import EqualWeight, Momentum, Plan, Strategy, VolatilityTarget

FILES = ("fear.csv",)
fear = pd.read_csv(Path(__file__).with_name("fear.csv"), index_col=0, parse_dates=True)["fear"]


class Fearful(Strategy):
    name = "fearful"
    fear = External(fear, lag=1)

    def __init__(self, most: float = 0.0):
        self.most = most

    def plan(self, bars):
        calm = self.fear.joined(bars)[:, 0] < self.most
        return Plan(np.where(calm[:, None], EqualWeight().plan(bars).aim, 0.0))


@dataclass(eq=False)
class Learns(Strategy):
    weights: np.ndarray = field(default_factory=lambda: np.zeros(3))
    seen: pd.Timestamp | None = None
    adapts = True

    def plan(self, bars):
        return Plan(np.tile(self.weights, (len(bars), 1)))

    def adapt(self, bars):
        return replace(self, weights=1 / (3 + np.arange(3.0)), seen=bars.index[-1])


class Forgets(Strategy):
    adapts = True

    def plan(self, bars):
        return EqualWeight().plan(bars)

    def adapt(self, bars):
        return Forgets()


def limited():
    return VolatilityTarget(Fearful(0.5), 0.1, 5)
"""


@pytest.fixture
def own_file(bars, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    values = np.sin(np.arange(len(bars)) / 7)
    pd.Series(values, bars.index, name="fear").to_csv(folder / "fear.csv")
    (folder / "my.py").write_text(OWN)
    return folder / "my.py"


def test_a_users_file_is_stored_byte_for_byte_and_run_from_there(own_file, bars, tmp_path):
    shown = bars[-9:]
    for name, settings in (("Fearful", {}), ("Fearful", {"most": 0.3}), ("limited", {})):
        ours = load_strategy(f"{own_file}:{name}")(**settings)
        found = again(Blend([ours, Momentum(20)]), tmp_path / f"{name}{len(settings)}")
        same_plan(ours, found.parts[0], shown)
        assert len(needs.external_series(found)) == 1
    ours = load_strategy(f"{own_file}:Fearful")()
    text = own_file.read_text()
    own_file.write_text("raise RuntimeError('edited since')")  # what ran is what is stored
    there = stored.save(ours, tmp_path / "kept")
    assert (there / "my.py").read_text() == text
    config = json.loads((there / stored.FILE).read_text())
    assert config["sha256"]["my.py"] == hashlib.sha256(text.encode()).hexdigest()
    same_plan(ours, stored.load(there), shown)


def test_what_a_users_strategy_has_learnt_is_stored_if_it_is_a_field(own_file, bars, tmp_path):
    adapted = load_strategy(f"{own_file}:Learns")().adapt(bars)
    found = again(WeightLimit(adapted, 0.3), tmp_path / "s").strategy
    np.testing.assert_array_equal(found.weights, [1 / 3, 1 / 4, 1 / 5])
    assert found.seen == bars.index[-1]
    with pytest.raises(InputError, match="what it learns is in no file; make Forgets a dataclass"):
        stored.save(load_strategy(f"{own_file}:Forgets")().adapt(bars), tmp_path / "t")


@pytest.mark.parametrize("name", ["my.py", "fear.csv"])
def test_a_changed_file_is_named_and_not_executed(name, own_file, tmp_path):
    folder = stored.save(WeightLimit(load_strategy(f"{own_file}:Fearful")(), 0.3), tmp_path / "s")
    path = folder / "strategy" / name
    marker = tmp_path / "ran"
    path.write_text(f"open({str(marker)!r}, 'w')\n" + path.read_text())
    with pytest.raises(InputError, match=rf"strategy/{name} was changed since it was stored, and is not executed"):
        stored.load(folder)
    assert not marker.exists()


class Bomb:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


def test_no_artifact_reaches_another_folder_another_class_or_an_unpickler(tmp_path):
    marker = tmp_path / "ran"
    policy = PolicyStrategy(Policy(PolicySettings(features=Features((Return(5),)), base="equal_weight")).eval(), 3)
    folder = stored.save(Blend([policy, Momentum(5)]), tmp_path / "s")
    config = json.loads((folder / stored.FILE).read_text())

    def refused(change, message):
        (folder / stored.FILE).write_text(json.dumps(config | change))
        with pytest.raises(InputError, match=message):
            stored.load(folder)

    refused({"kind": "os.system"}, "'os.system' is not known")
    refused({"kind": "Strategy"}, "'Strategy' is not known")
    refused({"settings": {"parts": [{"strategy": "../../etc"}]}}, "is no file of a stored strategy")
    refused({"settings": {"parts": [{"kind": "Popen", "settings": {}}]}}, "'Popen' is not known")
    refused({"settings": {"command": "id"}}, "not a saved strategy")
    refused({"kind": "user file", "sha256": {"../x.py": ""}, "file": "../x.py", "calls": "X"}, "is no file of a stored")
    refused({"kind": "user file", "sha256": {}, "file": "x.py", "calls": "X"}, "there is no 'X'")
    (folder / stored.FILE).write_text(json.dumps(config))
    (folder / "parts-0" / "weights.safetensors").write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(InputError):
        stored.load(folder)
    assert not marker.exists()


def test_an_external_series_that_is_an_argument_is_stored_with_it(own_file, bars, tmp_path):
    (own_file.parent / "other.py").write_text(
        "from strategies import EqualWeight, Strategy\n"
        "class Reads(Strategy):\n"
        "    def __init__(self, series): self.series = series\n"
        "    def plan(self, bars): return EqualWeight().plan(bars)\n"
    )
    series = External(pd.Series(np.arange(5.0), bars.index[:5], name="rate"))
    ours = load_strategy(f"{own_file.parent}/other.py:Reads")(series=series)
    assert again(ours, tmp_path / "s").series == series
