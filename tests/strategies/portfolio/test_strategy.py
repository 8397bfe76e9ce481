import numpy as np
import pandas as pd
import pytest
import samples
import torch
from causal import parts, same
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, InputError
from strategies import Blend, PortfolioPolicy, PortfolioSettings, PortfolioStrategy
from strategies.learned import load_learned
from strategies.portfolio import Pool

SMALL = Pool(volatilities=(3, 8), correlations=(5, 15), window=25, shortest=6)
KINDS = ("minimum_variance", "risk_parity", "mean_variance")


def strategy(seed: int = 0, **options) -> PortfolioStrategy:
    """With random parameters."""
    generator = torch.Generator().manual_seed(seed)
    policy = PortfolioPolicy(PortfolioSettings(**{"pool": SMALL} | options))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return PortfolioStrategy(policy.eval())


@given(seed=st.integers(0, 2**32 - 1), t=st.integers(20, 118), kind=st.sampled_from(KINDS))
@settings(max_examples=20)
def test_a_row_is_the_same_bit_for_bit_whatever_comes_later(seed, t, kind):
    rng, ours = np.random.default_rng(seed), strategy(kind=kind, exposure="target", signal="trend")
    bars, later = (samples.gappy_bars(rng, 120, 3) for _ in range(2))
    close, mask = later.close.copy(), later.tradable.copy()
    close[: t + 1], mask[: t + 1] = bars.close[: t + 1], bars.tradable[: t + 1]
    closes = Bars.make(bars.index, bars.symbols, bars.close, tradable=bars.tradable)
    whole = ours.plan(closes)[: t + 1]
    same(ours.plan(closes[: t + 1]), whole)
    same(ours.plan(Bars.make(bars.index, bars.symbols, close, tradable=mask))[: t + 1], whole)


@given(seed=st.integers(0, 2**32 - 1), first=st.integers(270, 330), kind=st.sampled_from(KINDS))
@settings(max_examples=15)
def test_streaming_equals_batch_bit_for_bit_wherever_the_bars_begin(seed, first, kind):
    bars = samples.gappy_bars(np.random.default_rng(seed), 360, 3, delist=True)
    ours = strategy(kind=kind, exposure="target", signal="trend")
    whole = ours.plan(bars)
    same(ours.plan(bars[first:]), whole[first:])
    for t in range(first, first + 8):  # one bar at a time, with the history that it says it needs
        same(ours.plan(bars.rows(t, t + 1).without_past(keep=ours.warmup + 1)), whole[t : t + 1])


def test_of_hourly_bars_its_window_has_as_many_weeks_as_it_reads():
    rng = np.random.default_rng(0)
    close = np.exp(0.003 * rng.standard_normal((50 * 168, 2)).cumsum(axis=0))
    bars = Bars.make(pd.date_range("2020-01-01", periods=len(close), freq="h"), ("a", "b"), close)
    ours = strategy()
    assert not np.array_equal(ours.plan(bars[-1:].without_past(keep=ours.warmup + 1)).aim, ours.plan(bars[-1:]).aim)
    for shown in (bars[-1:], bars[-100:-99]):
        window = ours.trimmed(shown)
        assert window.past < shown.past
        same(ours.plan(window), ours.plan(shown))


@given(seed=st.integers(0, 2**32 - 1), first=st.integers(120, 150))
@settings(max_examples=10)
def test_so_it_does_where_each_bar_is_decided_on(seed, first):
    bars = samples.gappy_bars(np.random.default_rng(seed), 160, 3, delist=True)
    ours = strategy(pool=Pool(volatilities=(3, 8), correlations=(5, 15), window=60, every="bar", shortest=6))
    whole = ours.plan(bars)
    assert ours.warmup == 60 + 12 + 15 + 1
    for t in range(first, first + 8):
        same(ours.plan(bars.rows(t, t + 1).without_past(keep=ours.warmup + 1)), whole[t : t + 1])


def test_between_decisions_it_holds_and_leaves_out_what_is_delisted():
    bars = samples.regime_bars(100, 3, seed=0)
    close = bars.close.copy()
    close[92:, 1] = np.nan
    gone = Bars.make(bars.index, bars.symbols, close, delisted={bars.symbols[1]: bars.index[92]})
    aim = strategy().plan(gone).aim
    assert aim[91, 1] > 0
    np.testing.assert_array_equal(aim[92, [0, 2]], aim[91, [0, 2]])
    assert not aim[92:, 1].any()
    np.testing.assert_allclose(aim[95].sum(), 1.0)  # the next decision


def test_before_there_are_estimates_weights_are_equal():
    bars = samples.regime_bars(50, 4, seed=1)
    plan = strategy(exposure="target").plan(bars)
    np.testing.assert_allclose(plan.aim[:5], 0.25)
    assert not plan.band[:5].any()


def test_a_frozen_strategy_holds_what_it_estimated_and_says_what_it_lacks():
    bars = samples.regime_bars(200, 3, seed=2)
    never = strategy(adapts=False)
    with pytest.raises(InputError, match="it has no estimates"):
        never.plan(bars)
    frozen = never.frozen_at(bars[:100])
    aim = frozen.plan(bars[120:]).aim
    np.testing.assert_array_equal(aim, np.broadcast_to(aim[0], aim.shape))
    later = never.frozen_at(bars[:150]).plan(bars[150:]).aim[0]
    assert not np.array_equal(later, aim[0])
    with pytest.raises(InputError, match="of other symbols"):
        frozen.plan(bars.select(bars.symbols[:2]))
    with pytest.raises(InputError, match="no 6 sessions"):
        never.frozen_at(bars[:5])
    with pytest.raises(InputError, match="or in another order"):
        frozen.plan(bars.select(bars.symbols[::-1]))
    adapts = strategy()
    assert adapts.frozen_at(bars) is adapts


def test_estimates_that_are_frozen_later_than_the_bars_are_not_looked_ahead_to():
    bars = samples.regime_bars(200, 3, seed=2)
    never = strategy(adapts=False)
    never.seen_until = bars.index[150]
    whole = never.plan(bars[100:])
    same(never.plan(bars[100:120]), whole[:20])
    same(whole, never.frozen_at(bars[:101]).plan(bars[100:]))
    same(never.plan(bars[160:]), never.frozen_at(bars[:151]).plan(bars[160:]))


@pytest.mark.parametrize("adapts", [True, False])
def test_save_and_load(tmp_path, adapts):
    bars = samples.regime_bars(200, 3, seed=3)
    ours = strategy(adapts=adapts, kind="risk_parity").frozen_at(bars)
    ours.policy.shrink.fill_(0.5)
    again = load_learned(ours.save(tmp_path / "s"))
    assert isinstance(again, PortfolioStrategy)
    assert (again.fingerprint, again.name, again.warmup) == (ours.fingerprint, ours.name, ours.warmup)
    same(again.plan(bars), ours.plan(bars))
    other = strategy(seed=1, adapts=adapts, kind="risk_parity").frozen_at(bars)
    assert other.fingerprint != ours.fingerprint
    blend = Blend.load(Blend([ours, other]).save(tmp_path / "b"))
    np.testing.assert_allclose(blend.plan(bars).aim, (ours.plan(bars).aim + other.plan(bars).aim) / 2)


def test_an_interrupted_save_is_finished_and_a_folder_without_one_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"not a saved strategy \(there is no strategy.json or portfolio.json\)"):
        load_learned(tmp_path)
    saved = list(strategy().save(tmp_path).iterdir())
    (tmp_path / ".saved").mkdir()
    for path in saved:  # as a save leaves them that is killed before its last step
        path.rename(tmp_path / ".saved" / path.name)
    assert load_learned(tmp_path).fingerprint == strategy().fingerprint
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="not a saved strategy"):
        load_learned(tmp_path)


def test_what_was_adapted_can_be_read():
    bars = samples.regime_bars(300, 3, seed=4)
    ours = strategy(exposure="target")
    table, plan = ours.adapted(bars[100:]), ours.plan(bars[100:])
    assert table.index[0] == bars.index[100]  # what holds there was decided then or before
    assert table["volatility halflife"].between(3, 8).all()
    assert table["correlation halflife"].between(5, 15).all()
    np.testing.assert_allclose(table[["volatility 3", "volatility 8"]].sum(axis=1), 1.0)
    rows = bars[100:].index.get_indexer(table.index)
    np.testing.assert_allclose(table["exposure"], plan.aim[rows].sum(axis=1))
    assert table["shrinkage"].between(0, 1).all()
    assert table["positions"].between(1 - 1e-9, 3 + 1e-9).all()


def test_a_factor_of_zero_is_said():
    ours = strategy()
    assert ours.remark == ""
    ours.policy.shrink.fill_(0.0)
    assert ours.remark == "portfolio is minimum variance by the static pool: the factor on what it learnt is 0."


def test_more_symbols_than_bars_and_a_single_one():
    many = samples.regime_bars(60, 40, seed=5)
    aim = strategy().plan(many).aim
    assert np.isfinite(aim).all()
    np.testing.assert_allclose(aim.sum(axis=1), 1.0)
    one = samples.regime_bars(60, 1, seed=6)
    np.testing.assert_allclose(strategy().plan(one).aim, 1.0)
    assert set(parts(strategy().plan(one))) == {"aim", "band"}
