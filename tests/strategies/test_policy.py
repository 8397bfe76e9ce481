import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import samples
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, External, Features, InputError
from markets.features import Calendar, Rank, Return
from strategies import InverseVolatility, Policy, PolicySettings, PolicyStrategy
from strategies.policy import base_rule, with_shrink
from strategies.serialization import fingerprint

FEATURES = Features.standard(horizons=(1, 5), volatility=8, short_volatility=3, averages=(6,))


def strategy(context=6, seed=0, **options):
    """A policy with non-zero random weights."""
    torch.manual_seed(seed)
    policy = Policy(PolicySettings(features=FEATURES, **options))
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return PolicyStrategy(policy.eval(), context)


@pytest.mark.parametrize("memory", ["gru", "none"])
@given(seed=st.integers(0, 2**32 - 1), t=st.integers(20, 68))
@settings(max_examples=25)
def test_a_row_is_the_same_whatever_comes_later(memory, seed, t):
    """To 1e-6, because matrix products of different length round differently."""
    rng, ours = np.random.default_rng(seed), strategy(memory=memory)
    bars = samples.gappy_bars(rng, 70, 3)
    whole = ours.plan(bars)
    scrambled = samples.gappy_bars(rng, 70, 3).close.copy()
    scrambled[: t + 1] = bars.close[: t + 1]
    other = ours.plan(Bars.make(bars.index, bars.symbols, np.where(bars.tradable, scrambled, np.nan)))
    for field in ("aim", "band"):
        expected = getattr(whole, field)[: t + 1]
        np.testing.assert_allclose(getattr(ours.plan(bars[: t + 1]), field), expected, atol=1e-6)
    clean = ours.plan(Bars.make(bars.index, bars.symbols, np.where(bars.tradable, bars.close, np.nan))).aim[: t + 1]
    np.testing.assert_allclose(other.aim[: t + 1], clean, atol=1e-6)


def test_a_row_depends_on_its_context_and_nothing_before(bars):
    ours = strategy()
    alone = bars[:400][-(ours.warmup + 70) :].without_past()
    np.testing.assert_allclose(ours.plan(alone).aim[-1], ours.plan(bars).aim[399], atol=1e-6)


def test_memory_matters(bars):
    remembering, forgetting = strategy(context=6), strategy(context=1)
    assert np.abs(remembering.plan(bars).aim - forgetting.plan(bars).aim).max() > 1e-3


def test_an_untrained_policy_aims_at_its_base(bars):
    ours = PolicyStrategy(Policy(PolicySettings()).eval(), 5)
    np.testing.assert_allclose(ours.plan(bars).aim, InverseVolatility().plan(bars).aim, atol=1e-7)


def test_a_policy_without_a_tilt_is_its_base_zone_and_all(bars):
    ours = strategy()
    ours.policy = with_shrink(ours.policy, 0.0).eval()
    plan, base = ours.plan(bars), InverseVolatility().plan(bars)
    np.testing.assert_allclose(plan.aim, base.aim, atol=1e-7)
    np.testing.assert_allclose(plan.band, base.band, atol=1e-7)


@pytest.mark.parametrize("base", ["inverse_volatility", "equal_weight", "flat"])
def test_weights_stay_within_the_equity(bars, base):
    aim = strategy(base=base).plan(bars).aim
    assert (np.abs(aim).sum(axis=1) <= 1 + 1e-6).all()
    assert (aim < 0).any() == (base == "flat")


def test_one_policy_trades_any_universe(stocks, bars):
    ours = strategy()
    assert ours.plan(stocks["2022":]).aim.shape[1] == 20
    assert ours.plan(bars.select(["S1"])).aim.shape[1] == 1


def test_symbols_are_treated_alike(bars):
    ours = strategy(base="equal_weight")
    swapped = ours.plan(bars.select(["S2", "S0", "S1"])).aim
    np.testing.assert_allclose(swapped, ours.plan(bars).aim[:, [2, 0, 1]], atol=1e-6)


def test_save_and_load_without_a_pickle(tmp_path, bars):
    ours = strategy()
    folder = ours.save(tmp_path / "s")
    assert {p.name for p in folder.iterdir()} == {"strategy.json", "weights.safetensors"}
    again = PolicyStrategy.load(folder)
    np.testing.assert_array_equal(again.plan(bars).aim, ours.plan(bars).aim)
    config = json.loads((folder / "strategy.json").read_text())
    config["policy"]["hidden"] = 5
    (folder / "strategy.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="do not belong together"):
        PolicyStrategy.load(folder)
    with pytest.raises(InputError, match="not a saved strategy"):
        PolicyStrategy.load(tmp_path)


def test_a_policy_of_other_features_is_saved_and_loaded(tmp_path, bars):
    ours = PolicyStrategy(Policy(PolicySettings(features=Features((Return(3), Rank(5), Calendar())))).eval(), 4)
    torch.nn.init.normal_(ours.policy.body.last.weight)
    loaded = PolicyStrategy.load(ours.save(tmp_path / "s"))
    assert loaded.policy.settings == ours.policy.settings
    np.testing.assert_array_equal(loaded.plan(bars[:200]).aim, ours.plan(bars[:200]).aim)


def test_settings_are_checked():
    with pytest.raises(InputError, match="base 'gold' is unknown"):
        PolicySettings(base="gold")
    with pytest.raises(InputError, match="memory 'lstm' is unknown"):
        PolicySettings(memory="lstm")
    with pytest.raises(InputError, match="context is 0"):
        PolicyStrategy(Policy(PolicySettings()), 0)


def test_regression_the_base_counts_for_the_warm_up(bars):
    """The bars that a deployed decision reads must also cover the warm-up of the base."""
    ours = strategy(context=1)
    assert ours.warmup >= InverseVolatility().warmup
    window = bars[-(ours.warmup + 1) :].without_past()
    np.testing.assert_allclose(ours.plan(window[-1:]).aim, ours.plan(bars[-1:]).aim, atol=1e-6)


def test_regression_too_short_a_past_holds_the_base(bars):
    few = bars[:4].without_past()
    np.testing.assert_allclose(strategy().plan(few).aim, np.full((4, 3), 1 / 3), atol=1e-7)


def test_a_fingerprint_sees_weights_settings_and_context():
    prints = [strategy().fingerprint, strategy(seed=1).fingerprint, strategy(context=7).fingerprint]
    assert len({*prints, strategy(base="flat").fingerprint}) == 4
    assert strategy().fingerprint == prints[0]


def test_regression_without_a_tilt_a_base_goes_all_the_way(bars):
    """With shrink 0 the rate is 1, whatever the network's output."""
    ours = strategy(trades="rate")
    assert ours.plan(bars).rate[-1].max() < 1
    ours.policy = with_shrink(ours.policy, 0.0).eval()
    assert (ours.plan(bars).rate == 1).all()


@pytest.mark.parametrize("seed", range(8))
def test_regression_without_a_base_some_aims_stand_out_of_their_zone_at_first(seed):
    """If all aims start inside their no-trade zone there is no gradient, and the policy never trades."""
    torch.manual_seed(seed)
    policy = Policy(PolicySettings(hidden=32, base="flat", features=FEATURES))
    plan = policy(torch.randn(8, 100, 1, len(FEATURES.names)), torch.zeros(8, 100, 1, 3, dtype=torch.float64))
    assert (plan.aim.abs() > plan.band).double().mean() > 0.5


def test_the_window_of_the_base_is_a_setting(bars):
    short = strategy(base_window=10, shrink=0.0)
    np.testing.assert_allclose(short.plan(bars).aim, InverseVolatility(10).plan(bars).aim)
    assert "holds its base (inverse volatility)" in short.remark
    with pytest.raises(InputError, match="base_window is 1; it must be at least 2"):
        PolicySettings(base_window=1)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_rows_on_which_nothing_trades_change_no_weight(seed):
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, 70, 3)
    more, at = samples.with_empty_rows(bars, rng)
    for trades in ("band", "rate", "at_once"):
        ours = strategy(trades=trades)
        whole, found = ours.plan(bars), ours.plan(more)
        for field in ("aim", "band", "rate"):
            if (expected := getattr(whole, field)) is not None:
                np.testing.assert_array_equal(getattr(found, field)[at], expected)
        late = more[int(at[40]) + 1 :]
        np.testing.assert_allclose(ours.plan(late).aim, found.aim[-len(late) :], atol=1e-6)


def test_regression_a_policy_gives_an_external_series_no_weight(bars):
    vix = np.random.default_rng(0).uniform(10, 30, (len(bars), 1))
    mask = np.tile([True, True, True, False], (len(bars), 1))
    both = Bars.make(bars.index, [*bars.symbols, "VIX"], np.hstack([bars.close, vix]), tradable=mask)
    for base in ("inverse_volatility", "equal_weight", "flat"):
        aim = strategy(base=base).plan(both).aim
        assert not aim[:, 3].any()
        if base != "flat":  # whose weights are a share of all symbols
            np.testing.assert_allclose(aim[:, :3], strategy(base=base).plan(bars).aim, atol=1e-6)


def test_a_policy_reads_an_external_series_and_keeps_it(bars, tmp_path):
    index = bars.index[::5]
    series = pd.Series(np.sin(np.arange(len(index))), index, name="vix")
    single = PolicySettings(features=External(series))
    assert single.features.names == (*Features().names, "external_vix")
    ours, other = (
        strategy_of(PolicySettings(features=Features((*FEATURES.parts, External(s))))) for s in (series, -series)
    )
    plan = ours.plan(bars)
    assert np.abs(plan.aim - other.plan(bars).aim).max() > 1e-3
    assert ours.fingerprint != other.fingerprint
    np.testing.assert_allclose(ours.plan(bars[700:720]).aim, plan.aim[700:720], atol=1e-6)
    loaded = PolicyStrategy.load(ours.save(tmp_path / "policy"))
    np.testing.assert_array_equal(loaded.plan(bars).aim, plan.aim)


def strategy_of(policy_settings):
    torch.manual_seed(0)
    policy = Policy(policy_settings)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return PolicyStrategy(policy.eval(), 6)


TREND = {"base": "trend_following:20:8", "base_window": 8}


@pytest.mark.parametrize("options", [TREND, {**TREND, "tilt": "position"}, {"base": "momentum_blend:40"}])
def test_any_rule_is_a_base(bars, options):
    """Untrained, a policy aims at it; without a tilt it is the rule, no-trade zone and all."""
    rule = base_rule(PolicySettings(**options))
    untrained = PolicyStrategy(Policy(PolicySettings(features=FEATURES, **options)).eval(), 5)
    expected = rule.plan(bars)
    np.testing.assert_allclose(untrained.plan(bars).aim, expected.aim, atol=1e-12)
    none = strategy(**options)
    none.policy = with_shrink(none.policy, 0.0).eval()
    np.testing.assert_allclose(none.plan(bars).aim, expected.aim, atol=1e-12)
    np.testing.assert_allclose(none.plan(bars).band, 0 if expected.band is None else expected.band, atol=1e-12)
    assert none.warmup >= rule.warmup


def test_a_tilt_of_positions_reaches_both_sides_of_the_budget(bars):
    """``base · (1 − |τ|) + budget · τ``, for the τ that the output layer is set to."""
    rule, budget = base_rule(PolicySettings(**TREND)).plan(bars).aim, InverseVolatility(8).plan(bars).aim
    for tilt in (-9.0, -0.3, 0.0, 0.5, 9.0):
        policy = Policy(PolicySettings(features=FEATURES, tilt="position", **TREND)).eval()
        policy.body.last.bias.data[0] = tilt
        share = np.tanh(tilt)
        plan = PolicyStrategy(policy, 1).plan(bars)
        expected = rule * (1 - abs(share)) + budget * share
        np.testing.assert_allclose(plan.aim[40:], expected[40:], atol=1e-6)
        np.testing.assert_allclose(plan.band[40:], np.log1p(np.exp(-3)) * budget[40:], rtol=1e-5)


def test_a_tilt_of_weights_keeps_the_side_of_the_base(bars):
    aim, base = strategy(**TREND).plan(bars).aim, base_rule(PolicySettings(**TREND)).plan(bars).aim
    assert (np.sign(aim) * np.sign(base) >= 0).all()
    assert (aim < 0).any()


def test_a_policy_on_a_rule_is_saved_and_loaded(tmp_path, bars):
    ours = strategy(tilt="position", **TREND)
    again = PolicyStrategy.load(ours.save(tmp_path / "s"))
    np.testing.assert_array_equal(again.plan(bars[:200]).aim, ours.plan(bars[:200]).aim)
    file = tmp_path / "s" / "strategy.json"  # a policy of an earlier version does not name its tilt
    config = json.loads(file.read_text())
    del config["policy"]["tilt"]
    file.write_text(json.dumps(config))
    assert PolicyStrategy.load(tmp_path / "s").policy.settings.tilt == "weight"


def test_a_policy_of_an_earlier_version_keeps_its_fingerprint():
    """By which it is known in the registry: with settings that were not there then, a promotion would be refused."""
    ours = strategy()
    then = {k: v for k, v in asdict(ours.policy.settings).items() if k not in ("tilt", "band")}
    assert ours.fingerprint == fingerprint([then, ours.context], ours.policy)
    assert strategy(band=0.2).fingerprint != strategy(band=0.1).fingerprint != ours.fingerprint
    assert strategy(tilt="position").fingerprint != ours.fingerprint


@pytest.mark.parametrize("base", ["buy_and_hold", "donchian:20", "random_weights", "mine.py:Rule"])
def test_a_base_that_remembers_without_end_is_refused(base):
    with pytest.raises(InputError, match="a fixed number of past bars"):
        PolicySettings(base=base)
    with pytest.raises(InputError, match="tilt 'half' is unknown"):
        PolicySettings(tilt="half")


def test_a_band_that_is_given_is_not_learnt(bars):
    ours = strategy(band=0.3, tilt="position", **TREND)
    assert ours.policy.body.last.out_features == 1
    np.testing.assert_allclose(ours.plan(bars).band[40:], 0.3 * InverseVolatility(8).plan(bars).aim[40:], rtol=1e-12)
    np.testing.assert_allclose(strategy(band=0.3).plan(bars).band[40:], 0.1)
    inputs = torch.randn(2, 5, 3, len(FEATURES.names)), torch.rand(2, 5, 3, 3, dtype=torch.float64)
    assert not ours.policy.train()(*inputs).band.any()
    torch.testing.assert_close(ours.policy.eval()(*inputs).band, 0.3 * inputs[1][..., 1])
    with pytest.raises(InputError, match="band is -1"):
        PolicySettings(band=-1)
    with pytest.raises(InputError, match="trades 'band'"):
        PolicySettings(band=0.1, trades="rate")
