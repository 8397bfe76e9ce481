from functools import partial

import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from markets import Bars, HiddenMarkovRegimes, InputError, RegimePath, augment
from markets.regimes.base import market_returns

SWITCH = np.array([[0.95, 0.05], [0.1, 0.9]])


def path_of(bars: Bars, seed: int = 0) -> RegimePath:
    """A random path of two alternating regimes."""
    rng = np.random.default_rng(seed)
    labels = np.cumsum(rng.random(len(bars)) < 0.1) % 2
    return RegimePath(bars.index, np.eye(2)[labels], ("calm", "crisis"))


def ways(bars: Bars, seed: int, length: int | None = None) -> dict:
    """All augmentations of these bars except GARCH, which needs more bars."""
    path = path_of(bars)
    return {
        "bootstrap": partial(augment.bootstrap, bars, path, "calm", length=length, block=5, seed=seed),
        "switching": partial(augment.switching, bars, path, SWITCH, length=length, block=5, seed=seed),
        "rescale": partial(augment.rescale, bars, seed=seed),
        "flip": partial(augment.flip, bars, symmetric=True, seed=seed),
        "stretch": partial(augment.stretch, bars, 1.5),
    }


def same(a: Bars, b: Bars) -> bool:
    return a.hash == b.hash


@pytest.fixture(scope="module")
def garch_case():
    """Bars with all fields and GARCH returns in the volatile regime, and their regime path."""
    rng = np.random.default_rng(0)
    length = 1600
    wild = (np.arange(length) // 200) % 2 == 1
    h, x = 1.0, np.empty(length)
    for t in range(length):
        x[t] = np.sqrt(h if wild[t] else 0.3) * rng.standard_normal()
        h = 0.1 + 0.12 * x[t] ** 2 + 0.8 * h
    alone = rng.normal(0, 0.2, (length, 3))
    close = 50 * np.exp(np.cumsum((x[:, None] + alone) / 100, axis=0))
    open_ = close * np.exp(rng.normal(0, 0.003, close.shape))
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.998
    volume = rng.uniform(1e4, 1e6, close.shape)
    index = pd.bdate_range("2001", periods=length)
    bars = Bars.make(index, ["A", "B", "C"], close, open=open_, high=high, low=low, volume=volume, name="made")
    return bars, RegimePath(index, np.eye(2)[wild.astype(int)], ("calm", "crisis"))


@given(st.integers(0, 2**32 - 1), st.integers(0, 100), st.booleans())
def test_the_result_is_valid_bars(world, seed, delist):
    """`Bars.make` validates the result; each of its bars is a past bar, reordered or rescaled."""
    bars = samples.gappy_bars(np.random.default_rng(world), 240, 3, delist=delist)[20:]
    for name, make in ways(bars, seed).items():
        augmented = make()
        assert augmented.shape == bars.shape, name
        assert (augmented.low <= np.fmin(augmented.open, augmented.close) * (1 + 1e-12))[
            np.isfinite(augmented.low * augmented.open)
        ].all(), name
        assert (augmented.high >= np.fmax(augmented.open, augmented.close) * (1 - 1e-12))[
            np.isfinite(augmented.high * augmented.open)
        ].all(), name
        assert same(augmented, make()), name
        assert augmented.symbols == bars.symbols


@given(st.integers(0, 2**32 - 1), st.integers(2, 700))
def test_seeded_to_the_bit_and_as_long_as_asked(seed, length):
    bars = samples.gappy_bars(np.random.default_rng(0), 240, 3)
    for name in ("bootstrap", "switching"):
        augmented = ways(bars, seed, length)[name]()
        assert len(augmented) == length
        assert same(augmented, ways(bars, seed, length)[name]())
        assert same(augmented, ways(bars, np.random.default_rng(seed), length)[name]())  # type: ignore[arg-type]
        if length > 20:
            assert not same(augmented, ways(bars, seed + 1, length)[name]())
        assert (augmented.index[:240] == bars.index[:length]).all()


def test_a_generator_is_advanced(garch_case):
    bars, path = garch_case
    rng = np.random.default_rng(0)
    first, second = (augment.bootstrap(bars, path, "calm", seed=rng) for _ in range(2))
    assert not same(first, second)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(120, 200))
def test_nothing_after_the_span_is_read(seed, t):
    bars = samples.gappy_bars(np.random.default_rng(seed), 240, 3)
    other = samples.gappy_bars(np.random.default_rng(seed + 1), 240, 3)
    fields = {f: np.vstack([x[:t], other.fields[f][t:]]) for f, x in bars.fields.items()}
    changed = Bars.make(bars.index, bars.symbols, **fields)
    assume(np.isfinite(bars.marks[t - 1]).all())
    for name, make in ways(bars[20:t], 7).items():
        assert same(make(), ways(changed[20:t], 7)[name]()), name


def test_quoted_spreads_stay_with_their_bars():
    bars = samples.gappy_bars(np.random.default_rng(3), 240, 3, quotes=0.02)
    for name, make in ways(bars, 0).items():
        augmented = make()
        if name in ("rescale", "flip", "stretch"):
            np.testing.assert_array_equal(augmented.spread, bars.spread)
            continue
        for quotes, volume in zip(augmented.spread, augmented.volume, strict=True):
            (row,) = np.flatnonzero((bars.volume == volume).all(axis=1))
            np.testing.assert_array_equal(quotes, bars.spread[row], err_msg=name)


def test_a_bar_is_drawn_whole():
    """Each generated bar has the ratios of one past bar, for all symbols together, and its volume."""
    bars = samples.gappy_bars(np.random.default_rng(3), 240, 3)
    augmented = augment.bootstrap(bars, path_of(bars), "crisis", seed=0)
    calm = set(np.flatnonzero(path_of(bars).labels == 0))
    for t in range(1, 240):
        (rows,) = np.nonzero((bars.volume == augmented.volume[t]).all(axis=1))
        assert len(rows) == 1
        assert rows[0] not in calm
        r = rows[0]
        for field in ("open", "high", "low", "close"):
            now, then = (
                getattr(augmented, field)[t] / augmented.marks[t - 1],
                getattr(bars, field)[r] / bars.marks[r - 1],
            )
            both = np.isfinite(now) & np.isfinite(then)
            np.testing.assert_allclose(now[both], then[both], rtol=1e-9)
            np.testing.assert_array_equal(np.isnan(getattr(augmented, field)[t]) | np.isnan(then), np.isnan(then))
        np.testing.assert_array_equal(augmented.tradable[t], bars.tradable[r] & np.isfinite(bars.marks[r - 1]))


def test_moments_of_a_regime_are_kept(garch_case):
    bars, path = garch_case
    there = market_returns(bars)[path.labels == 1]
    augmented = augment.bootstrap(bars, path, 1, length=40_000, seed=0)
    found = market_returns(augmented)[1:]
    error = there.std() / np.sqrt(len(there))
    assert abs(found.mean() - np.nanmean(there)) < error
    assert found.std() == pytest.approx(np.nanstd(there), rel=0.05)
    moves = np.diff(np.log(augmented.close), axis=0)
    before = np.diff(np.log(bars.close), axis=0)[path.labels[1:] == 1]
    np.testing.assert_allclose(np.corrcoef(moves.T), np.corrcoef(before.T), atol=0.02)


def test_blocks_are_distributed_as_in_arch():
    """Block lengths are geometric and all rows equally likely, as in the stationary bootstrap of arch."""
    from arch.bootstrap import StationaryBootstrap

    rng, rows = np.random.default_rng(0), np.arange(50)
    ours = augment._draw({0: rows}, np.zeros(100_000, dtype=int), 8.0, rng)
    theirs = StationaryBootstrap(8.0, np.arange(100_000), seed=1).update_indices()

    def jumps(sampled, size):
        return np.mean(np.diff(sampled) % size != 1)

    assert jumps(ours, 50) == pytest.approx(jumps(theirs, 100_000), rel=0.05)
    assert np.bincount(ours, minlength=50) == pytest.approx(np.full(50, 2000), rel=0.2)


def test_regimes_switch_as_the_matrix_says(garch_case):
    bars, path = garch_case
    labels = augment._labels(path, SWITCH, 60_000, np.random.default_rng(0))
    stays = [np.mean(labels[1:][labels[:-1] == k] == k) for k in (0, 1)]
    np.testing.assert_allclose(stays, [0.95, 0.9], atol=0.01)
    augmented = augment.switching(bars, path, SWITCH, length=5000, seed=0)
    by_volume = {tuple(v): k for v, k in zip(bars.volume, path.labels, strict=True)}
    sampled = np.array([by_volume[tuple(v)] for v in augmented.volume])
    assert np.mean(sampled[1:][sampled[:-1] == 0] == 0) == pytest.approx(0.95, abs=0.02)


def test_it_runs_on_a_detectors_path_and_transitions(bars):
    detector = HiddenMarkovRegimes(2, restarts=2).fit(bars[:900])
    known = bars[200:900]
    augmented = augment.switching(known, detector.filter(known), detector.transition, seed=0)
    assert len(augmented) == len(known)
    assert augmented.past == 0


def test_garch_brings_clusters_of_volatility(garch_case):
    bars, path = garch_case
    one = RegimePath(path.index, np.eye(2)[np.ones(len(bars), dtype=int)], path.names)
    stay = np.eye(2)
    augmented = augment.garch(bars, one, stay, length=4000, seed=0)
    alone = augment.bootstrap(bars, one, 1, length=4000, block=1, seed=0)

    def memory(panel):
        x = np.abs(market_returns(panel)[1:])
        return np.mean([np.corrcoef(x[k:], x[:-k])[0, 1] for k in range(1, 6)])

    assert memory(augmented) > 0.05 > abs(memory(alone))
    assert market_returns(augmented)[1:].std() == pytest.approx(np.nanstd(market_returns(bars)), rel=0.25)
    assert (augmented.high >= np.maximum(augmented.open, augmented.close) * (1 - 1e-12)).all()
    assert (augmented.low <= np.minimum(augmented.open, augmented.close) * (1 + 1e-12)).all()
    assert same(augmented, augment.garch(bars, one, stay, length=4000, seed=0))


def test_garch_regimes_differ_and_read_nothing_later(garch_case):
    bars, path = garch_case
    fits = []
    for panel in (
        bars[:1200],
        Bars.make(bars.index, bars.symbols, np.vstack([bars.close[:1200], bars.close[1200:] * 3])),
    ):
        known = panel[:1200]
        fits.append(
            augment.garch(known, RegimePath(known.index, path.probabilities[:1200], path.names), SWITCH, seed=0)
        )
    np.testing.assert_array_equal(fits[0].close, fits[1].close)


def test_rescaling_scales_every_ratio(garch_case):
    bars, _ = garch_case
    augmented = augment.rescale(bars[100:], widest=3, seed=5)
    ratios = np.diff(np.log(augmented.close), axis=0) / np.diff(np.log(bars.close[100:]), axis=0)
    factor = ratios[0, 0]
    np.testing.assert_allclose(ratios, factor, rtol=1e-6)
    assert factor != pytest.approx(1)
    np.testing.assert_allclose(
        np.log(augmented.high / augmented.low), factor * np.log(bars.high / bars.low)[100:], rtol=1e-6
    )
    np.testing.assert_array_equal(augmented.volume, bars.volume[100:])
    assert augmented.past == 100
    factors = [augment.rescale(bars, widest=3, seed=s).close[1, 0] / 50 for s in range(30)]
    assert len(set(factors)) == 30


def test_a_mirror_swaps_highs_and_lows(garch_case):
    bars, _ = garch_case
    augmented = [augment.flip(bars, symmetric=True, seed=s) for s in range(40)]
    mirrored = [m for m in augmented if not np.array_equal(m.close, bars.close)]
    assert 10 < len(mirrored) < 30
    np.testing.assert_allclose(
        mirrored[0].close * bars.close, np.broadcast_to(bars.close[0] ** 2, bars.shape), rtol=1e-12
    )
    np.testing.assert_allclose(mirrored[0].high * bars.low, np.broadcast_to(bars.close[0] ** 2, bars.shape), rtol=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 200))
def test_a_row_of_a_stretched_market_reads_none_after_it(seed, t):
    """The market of the first t bars is the first t bars of the market, history included."""
    bars = samples.gappy_bars(np.random.default_rng(seed), 240, 3, delist=True, quotes=0.02)[30:]
    assume(np.isfinite(bars.with_past().close[: 30 + t]).any(axis=0).all())
    moved, early = augment.stretch(bars, 1.7), augment.stretch(bars[:t], 1.7)
    assert (moved.past, len(moved)) == (bars.past, len(bars))
    assert same(moved[:t], early)
    np.testing.assert_array_equal(np.isnan(moved.close), np.isnan(bars.close))
    np.testing.assert_array_equal(moved.tradable, bars.tradable)
    np.testing.assert_array_equal(moved.with_past().close[0], bars.with_past().close[0])


def test_wrong_input_is_named(garch_case):
    bars, path = garch_case
    for call, message in [
        (lambda: augment.flip(bars, symmetric=False, seed=0), "symmetric=True for exchange rates"),
        (lambda: augment.rescale(bars, widest=0.5, seed=0), "widest is 0.5"),
        (lambda: augment.stretch(bars, 0), "the factor is 0"),
        (
            lambda: augment.bootstrap(bars, path, "bull", seed=0),
            "regime 'bull' is unknown; the detector's are calm, crisis",
        ),
        (lambda: augment.bootstrap(bars, path, 2, seed=0), "regime 2 is unknown"),
        (lambda: augment.bootstrap(bars, path, 0, block=0.5, seed=0), "block is 0.5"),
        (lambda: augment.bootstrap(bars, path, 0, length=1, seed=0), "length is 1"),
        (lambda: augment.bootstrap(bars[:900], path, 0, seed=0), "not those of made; pass the path of these bars"),
        (lambda: augment.switching(bars, path, np.eye(3), seed=0), "transition must be 2 x 2"),
        (lambda: augment.switching(bars, path, [[0.5, 0.4], [0, 1]], seed=0), "row of probabilities"),
    ]:
        with pytest.raises(InputError, match=message):
            call()
    known = bars[:90]
    few = RegimePath(known.index, path.probabilities[:90], path.names)
    with pytest.raises(InputError, match="regime 'calm' has 89 bars in made, and 100 are needed"):
        augment.garch(known, few, SWITCH, seed=0)
