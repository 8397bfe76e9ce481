import json
import tracemalloc
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, Exogenous, Features, InputError, UnitReturn
from markets.features import (
    AboveAverage,
    Calendar,
    Drawdown,
    Followed,
    Range,
    Rank,
    Return,
    Trend,
    Volatility,
    VolatilityRatio,
    VolumeSurprise,
)  # fmt: skip

SMALL = Features.standard(horizons=(1, 3, 10), volatility=8, short_volatility=3, averages=(5, 12))
PARTS = (
    Return(3, volatility=8), AboveAverage(5, volatility=8), VolatilityRatio(3, 8), Volatility(4, past=9), Rank(3), Calendar(),
    Drawdown(7, volatility=8), Range(6), VolumeSurprise(5), Trend(2, 4),
)  # fmt: skip
SHORT = Features(PARTS[:-1])  # the trend's standard deviation alone takes 252 bars


def plainly(close: np.ndarray) -> np.ndarray:
    """The features SMALL computed by the formulas in pandas, for one symbol without gaps."""
    logs = pd.Series(np.log(close))
    squares = logs.diff() ** 2
    sigma, short = np.sqrt(squares.rolling(8).mean()), np.sqrt(squares.rolling(3).mean())
    columns = [(logs - logs.shift(h)) / (sigma * np.sqrt(h)) for h in (1, 3, 10)]
    columns.append(np.log(short / sigma))
    columns += [(logs - logs.rolling(n).mean()) / (sigma * np.sqrt(n)) for n in (5, 12)]
    out = np.clip(np.column_stack(columns), -8, 8)
    out[: SMALL.lookback] = np.nan
    return out


def ohlcv(length: int, symbols: int, seed: int = 0) -> Bars:
    """Bars without gaps, with all fields."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (length, symbols)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.01, close.shape))
    high, low = np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99
    index, names = pd.date_range("2001-01-01", periods=length, freq="B"), [f"S{i}" for i in range(symbols)]
    volume = rng.uniform(1e4, 1e6, close.shape)
    return Bars.make(index, names, close, open=open_, high=high, low=low, volume=volume)


def test_the_formulas(bars):
    found = SMALL.compute(bars)
    assert found.shape == (1500, 3, len(SMALL.names))
    for a in range(3):
        np.testing.assert_allclose(found[:, a], plainly(bars.close[:, a]), rtol=1e-8, atol=1e-9)


def test_the_formulas_of_the_others():
    bars = ohlcv(700, 4)
    logs = pd.DataFrame(np.log(bars.close))
    sigma = lambda n: np.sqrt((logs.diff() ** 2).rolling(n).mean())  # noqa: E731
    ranges = np.log(pd.DataFrame(bars.high / bars.low)) ** 2
    volume = pd.DataFrame(bars.volume)

    def average(n):
        weights = (1 - 1 / n) ** np.arange(4 * n)[::-1]
        return logs.rolling(4 * n).apply(lambda x: x @ weights / weights.sum(), raw=True)

    signal = (average(3) - average(9)) / logs.rolling(63).std(ddof=0)
    moves = logs - logs.shift(21)
    expected = {
        Volatility(10, past=40): np.log(sigma(10)) - np.log(sigma(10)).rolling(40).mean(),
        Drawdown(30): (logs - logs.rolling(30).max()) / (sigma(63) * np.sqrt(30)),
        Range(15): np.log(np.sqrt(ranges.rolling(15).mean() / (4 * np.log(2))) / sigma(15)),
        VolumeSurprise(20): np.log(0.5 + 0.5 * volume / volume.rolling(20).mean().shift()),
        Trend(3, 9): signal / signal.rolling(252).std(ddof=0),
        Rank(21): (moves.rank(axis=1) - 2.5) / 1.5,
    }
    for part, formula in expected.items():
        features = Features((part,))
        found = features.compute(bars)[..., 0]
        assert np.isnan(found[: features.lookback]).all()
        plain = np.clip(formula.to_numpy(), -8, 8)[features.lookback :]
        np.testing.assert_allclose(found[features.lookback :], plain, rtol=1e-7, atol=1e-8, err_msg=str(part))


def test_calendar_features_are_periodic():
    found = Features((Calendar(),)).compute(ohlcv(600, 1))[:, 0]
    index = pd.date_range("2001-01-01", periods=600, freq="B")
    np.testing.assert_allclose((found**2).reshape(600, 2, 2).sum(axis=2), 1)
    month = np.arctan2(found[:, 0], found[:, 1]) % (2 * np.pi) * 12 / (2 * np.pi)
    weekday = np.arctan2(found[:, 2], found[:, 3]) % (2 * np.pi) * 7 / (2 * np.pi)
    np.testing.assert_allclose(np.round(month) % 12, index.month - 1)
    np.testing.assert_allclose(np.round(weekday) % 7, index.day_of_week)


def test_ranks_are_among_those_that_are_listed():
    close = np.exp(np.cumsum(np.tile([0.03, 0.02, 0.01, -0.01, 0.02], (60, 1)), axis=0))
    close[:30, 2] = np.nan  # listed late
    close[40:, 3] = np.nan  # delisted
    index = pd.date_range("2020", periods=60)
    bars = Bars.make(index, list("ABCDE"), close, delisted={"D": index[40]})
    found = Features((Rank(5),)).compute(bars)[..., 0]
    np.testing.assert_allclose(found[20, [0, 1, 3, 4]], [1, 0, -1, 0])  # B and E tie
    np.testing.assert_allclose(found[39], [1, 0.25, -0.5, -1, 0.25])
    np.testing.assert_allclose(found[45, [0, 1, 2, 4]], [1, 0, -1, 0])
    assert np.isnan(found[45, 3])
    np.testing.assert_array_equal(Features((Rank(5),)).compute(bars.select(["A"]))[5:], 0.0)


def test_the_default_composition_does_not_change():
    assert Features().names == (
        "return_1", "return_5", "return_21", "return_63", "return_252", "volatility_ratio", "above_average_50",
        "above_average_200",
    )  # fmt: skip
    assert Features().lookback == 252
    assert Features.standard() == Features()


def test_names_tell_parameters_apart():
    parts = (Return(5), Return(5, volatility=20), VolatilityRatio(5, 63), VolatilityRatio(10, 5), Trend(8, 24), Trend())
    assert [p.names[0] for p in parts[:5]] == [
        "return_5", "return_5_volatility_20", "volatility_ratio_short_5", "volatility_ratio_long_5", "trend_8_24",
    ]  # fmt: skip
    with pytest.raises(InputError, match="trend_8_24 appears twice"):
        Features(parts)


@pytest.mark.parametrize("features", [Features(), SMALL, Features(PARTS)])
def test_a_saved_composition_is_the_same_one(features):
    assert Features.from_dict(json.loads(json.dumps(asdict(features)))) == features


def test_an_unknown_kind_of_feature_is_refused():
    with pytest.raises(InputError, match="feature 'astrology' is not known"):
        Features.from_dict({"parts": [{"kind": "astrology"}]})


# ------------------------------------------------------------------------------------------------ causality


@given(st.integers(0, 2**32 - 1), st.integers(30, 58), st.booleans())
def test_a_row_is_the_same_whatever_comes_later(seed, t, delist):
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, 60, 3, delist=delist)
    whole = SHORT.compute(bars)
    np.testing.assert_array_equal(SHORT.compute(bars[: t + 1]), whole[: t + 1])
    np.testing.assert_array_equal(SHORT.compute(scrambled(bars, t, rng))[: t + 1], whole[: t + 1])


def scrambled(bars: Bars, t: int, rng: np.random.Generator) -> Bars:
    """Bars with everything after row t replaced, except that a delisted symbol does not trade."""
    noise = samples.gappy_bars(rng, *bars.shape)
    fields = {}
    for name, values in bars.fields.items():
        fields[name] = np.where(bars.delisted, np.nan, noise.fields[name])
        fields[name][: t + 1] = values[: t + 1]
    return Bars.make(bars.index, bars.symbols, delisted=bars.delisted_from, **fields)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(300, 358))
def test_a_trend_is_the_same_whatever_comes_later(seed, t):
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, 360, 2)
    features = Features((Trend(2, 4), Trend(5, 20)))
    whole = features.compute(bars)
    np.testing.assert_array_equal(features.compute(bars[: t + 1]), whole[: t + 1])
    np.testing.assert_array_equal(features.compute(scrambled(bars, t, rng))[: t + 1], whole[: t + 1])


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 30), st.booleans())
def test_panel_blocks_and_stream_agree_to_the_bit(seed, start, size, delist):
    bars = samples.gappy_bars(np.random.default_rng(seed), 60, 3, delist=delist)
    whole = SHORT.compute(bars)
    np.testing.assert_array_equal(np.concatenate(list(SHORT.blocks(bars, size))), whole)
    np.testing.assert_array_equal(SHORT.compute(bars[start:]), whole[start:])
    stream = SHORT.stream(bars[:start])
    np.testing.assert_array_equal(stream.latest, whole[start - 1])
    for t in range(start, 60):
        row = (x[t] for x in (bars.open, bars.high, bars.low, bars.close, bars.volume))
        np.testing.assert_array_equal(stream.push(*row, bars.index[t]), whole[t])


def test_a_long_stream_with_every_feature_agrees_with_the_panel():
    bars = samples.gappy_bars(np.random.default_rng(5), 700, 4, delist=True)
    features = Features((*PARTS, *Features().parts, Trend(), Drawdown(252), Volatility(21, past=252)))
    whole = features.compute(bars)
    assert np.isfinite(whole[600:]).all(axis=-1).any(axis=0).sum() == 2  # one is listed late, one delisted
    stream = features.stream(bars[:500])
    for t in range(500, 700):
        row = (x[t] for x in (bars.open, bars.high, bars.low, bars.close, bars.volume))
        np.testing.assert_array_equal(stream.push(*row, bars.index[t]), whole[t])


def test_a_row_reads_its_lookback_and_no_more():
    bars = ohlcv(700, 3)
    for part in (*PARTS, *Features().parts, Trend(), Drawdown(252), Volatility(21, past=252)):
        features = Features((part,))
        kept = bars[-(features.lookback + 1) :].without_past()
        if len(kept) > 1:
            found = features.compute(kept)[-1]
            np.testing.assert_allclose(found, features.compute(bars)[-1], rtol=1e-7, atol=1e-9, err_msg=str(part))


def test_history_warms_up_what_is_visible(bars):
    np.testing.assert_array_equal(SMALL.compute(bars[100:]), SMALL.compute(bars)[100:])


def test_a_late_listing_is_unknown_for_its_own_lookback():
    close = np.exp(np.random.default_rng(0).normal(0, 0.01, (60, 2)).cumsum(axis=0))
    close[:20, 1] = np.nan
    known = np.isfinite(SMALL.compute(Bars.make(pd.date_range("2020", periods=60), ["A", "B"], close))).all(axis=-1)
    assert known[:, 0].argmax() == SMALL.lookback
    assert known[:, 1].argmax() == 20 + SMALL.lookback


def test_constant_and_exploding_prices_stay_finite():
    close = np.full((400, 2), 5.0)
    close[340:, 1] *= 1e6
    extra = {"high": close, "low": close, "volume": np.zeros_like(close)}
    bars = Bars.make(pd.date_range("2020", periods=400), ["A", "B"], close, **extra)
    for features in (SMALL, Features(PARTS)):
        found = features.compute(bars)[features.lookback :]
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 8


# -------------------------------------------------------------------------------------------- gaps


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_rows_on_which_nothing_trades_change_no_feature(seed, delist):
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, 60, 3, delist=delist)
    more, at = samples.with_empty_rows(bars, rng)
    whole, found = SHORT.compute(bars), SHORT.compute(more)
    np.testing.assert_array_equal(found[at], whole)
    same = [k for k, name in enumerate(SHORT.names) if "sine" not in name]  # the calendar goes on
    for t in range(1, len(more)):
        if t not in at:
            np.testing.assert_array_equal(found[t][:, same], found[t - 1][:, same])


def test_regression_a_gap_is_not_a_return_of_zero():
    """Of a symbol that prints on some rows, the features are those of its own bars, held in between."""
    bars = ohlcv(400, 2)
    rng = np.random.default_rng(0)
    there = rng.random(400) < 0.4
    there[0] = True
    fields = {name: values.copy() for name, values in bars.fields.items()}
    for values in fields.values():
        values[~there, 1] = np.nan
    close = fields.pop("close")
    found = SHORT.compute(Bars.make(bars.index, bars.symbols, close, **fields))
    alone = {name: values[there, 1:] for name, values in bars.fields.items()}
    itself = Bars.make(bars.index[there], ["S1"], alone.pop("close"), **alone)
    columns = [k for k, name in enumerate(SHORT.names) if name != "rank_3" and "sine" not in name]
    expected = SHORT.compute(itself)[there.cumsum() - 1]
    np.testing.assert_array_equal(found[:, 1][:, columns], expected[:, 0][:, columns])
    np.testing.assert_array_equal(found[:, 0][:, columns], SHORT.compute(bars)[:, 0][:, columns])


def test_regression_an_external_series_has_no_rank_and_no_features():
    bars = ohlcv(120, 4)
    tradable = np.tile([True, True, True, False], (120, 1))
    fields = bars.fields
    close = fields.pop("close")
    with_vix = Bars.make(bars.index, ["A", "B", "C", "VIX"], close, tradable=tradable, **fields)
    found = SHORT.compute(with_vix)
    assert np.isnan(found[:, 3]).all()
    np.testing.assert_array_equal(found[:, :3], SHORT.compute(with_vix.select(["A", "B", "C"])))
    stream = SHORT.stream(with_vix[:100])
    row = (x[100] for x in (with_vix.open, with_vix.high, with_vix.low, with_vix.close, with_vix.volume))
    np.testing.assert_array_equal(stream.push(*row, with_vix.index[100]), found[100])


def test_regression_features_begin_when_a_symbol_is_first_tradable_in_panels_blocks_and_streams():
    bars = ohlcv(120, 4)
    tradable = np.ones((120, 4), dtype=bool)
    tradable[:80, 3] = False
    fields = bars.fields
    late = Bars.make(bars.index, bars.symbols, fields.pop("close"), tradable=tradable, **fields)
    found = SHORT.compute(late)
    assert np.isnan(found[:80, 3]).all()
    assert np.isfinite(found[80:, 3]).all()
    np.testing.assert_array_equal(found[:80, :3], SHORT.compute(late[:80].select(late.symbols[:3])))
    np.testing.assert_array_equal(np.concatenate(list(SHORT.blocks(late, 7))), found)
    stream = SHORT.stream(late[:70])
    for t in range(70, 120):
        row = (x[t] for x in (late.open, late.high, late.low, late.close, late.volume))
        np.testing.assert_array_equal(stream.push(*row, late.index[t], tradable[t]), found[t])


def test_what_follows_another_symbol_goes_on_in_a_gap():
    index = pd.date_range("2020", periods=6)
    close = np.array([[1.0, 2, np.nan, np.nan, 3, 4], [20.0, 21, 22, np.nan, 23, 24]]).T
    bars = Bars.make(index, ["A", "VIX"], close, tradable=np.tile([True, False], (6, 1)))
    found = Features((Exogenous("VIX"), UnitReturn(1.0))).compute(bars)[:, 0]
    np.testing.assert_allclose(found[1:, 0], np.log([21, 22, 22, 23, 24]))
    np.testing.assert_allclose(found[1:, 1], [1, 1, 1, 0.5, 1 / 3])


def test_what_a_signal_has_just_earned():
    """The return of a bar goes with the signal of the bar before, also where a bar is cut off or the symbol has a gap."""
    index, signal = pd.date_range("2020", periods=6), np.array([1.0, -1, -1, 2, 1, 0])
    close = np.array([[1.0, 2, 3, np.nan, 6, 3], np.exp(signal)]).T
    bars = Bars.make(index, ["A", "rule"], close, tradable=np.tile([True, False], (6, 1)))
    features = Features((Followed("rule", 0.5),))
    found = features.compute(bars)[:, 0, 0]
    np.testing.assert_allclose(found[1:], [2, -1, -1, 4, -1])
    np.testing.assert_array_equal(features.compute(bars[:3])[:, 0, 0], found[:3])
    assert Features.from_dict(asdict(features)) == features
    with pytest.raises(InputError, match="reads 'rule', but bars has no such symbol"):
        features.compute(bars.select(["A"]))


# --------------------------------------------------------------------------------------------------- memory


def test_a_panel_can_be_written_into_a_memory_map(tmp_path, bars):
    there = np.lib.format.open_memmap(tmp_path / "f.npy", "w+", np.float64, (*bars.shape, len(SMALL.names)))
    assert SMALL.compute(bars, out=there) is there
    there.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), SMALL.compute(bars))
    with pytest.raises(InputError, match=r"out is float64 of shape \(5, 3, 6\)"):
        SMALL.compute(bars, out=np.empty((5, 3, 6)))


def test_blocks_of_a_long_panel_need_no_more_than_a_block():
    """200,000 x 20 bars have 256 MB of features; tracemalloc measures the allocations of numpy."""
    close = np.exp(np.random.default_rng(0).normal(0, 1e-4, (200_000, 20)).cumsum(axis=0))
    bars = Bars.make(pd.date_range("1900", periods=200_000, freq="h"), [str(i) for i in range(20)], close)
    Features().compute(bars[:300])  # compiles
    tracemalloc.start()
    try:
        rows = sum(len(block) for block in Features().blocks(bars[100_000:], 1000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 100_000
    assert peak < 8 * 2**20


# ---------------------------------------------------------------------------------------------- wrong input


def test_too_few_bars_are_counted(bars):
    with pytest.raises(InputError, match="has 100 bars, but 255 are needed"):
        Features().require(bars[:100], more=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Return(0), "at least 1 bar; Return.* has a horizon of 0"),
        (lambda: Features.standard(volatility=0), "at least 1 bar"),
        (lambda: Return(2.5), "horizon of 2.5"),
        (lambda: Trend(24, 8), "fast average shorter"),
        (lambda: Features(()), "at least one part"),
        (lambda: Features(("momentum",)), "'momentum' is not a feature"),
    ],
)
def test_wrong_parameters_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_field_that_bars_lack_is_named(bars):
    for part, field in ((Range(5), "high"), (VolumeSurprise(5), "volume")):
        for run in (Features((part,)).compute, Features((part,)).stream, Features((part,)).require):
            with pytest.raises(InputError, match=f"{part.kind}.* reads the {field}, but synthetic has none"):
                run(bars)


def test_a_wrong_push_is_refused_and_leaves_the_stream_as_it_was():
    bars = ohlcv(60, 2)
    whole = SHORT.compute(bars)
    stream = SHORT.stream(bars[:50])
    row = [x[50] for x in (bars.open, bars.high, bars.low, bars.close, bars.volume)]
    time = bars.index[50]
    with pytest.raises(InputError, match="does not come after"):
        stream.push(*row, bars.index[49])
    with pytest.raises(InputError, match="is not a time like"):
        stream.push(*row, "noon")
    with pytest.raises(InputError, match="is not a time like"):
        stream.push(*row, time.tz_localize("UTC"))
    with pytest.raises(InputError, match="without the volume"):
        stream.push(*row[:4], None, time)
    with pytest.raises(InputError, match=r"close has shape \(1,\)"):
        stream.push(*row[:3], row[3][:1], row[4], time)
    with pytest.raises(InputError, match=r"close of S1 at .* is -1"):
        stream.push(*row[:3], [1.0, -1.0], row[4], time)
    np.testing.assert_array_equal(stream.push(*row, time), whole[50])
    assert stream.time == time
