"""Each gate passes, fails or does not know, with its figure beside its threshold."""

import numpy as np
import pandas as pd
import pytest

from backtests import gates
from backtests.certificate import Certificate, Check
from backtests.gates import Rules
from backtests.side_by_side import SideBySide
from backtests.significance import Trials, deflated_sharpe
from markets import InputError
from markets.common.statistics import returns_of

INDEX = pd.bdate_range("2015-01-01", periods=1001)
WAY = "regimeshift backtest DATA"
NAMES = ("models:/x/2", "models:/x/1")


def account(drift, seed=0, bars=1000):
    returns = drift + 0.01 * np.random.default_rng(seed).standard_normal(bars)
    return 1e6 * np.cumprod(np.append(1.0, 1 + returns))


def both(drift, other, bars=1000):
    """A challenger that is the champion but for its drift and a little noise of its own."""
    one = account(drift, bars=bars)
    noise = np.cumprod(np.append(1.0, 1 + 0.001 * np.random.default_rng(1).standard_normal(bars)))
    return SideBySide(INDEX[: bars + 1], one * noise, account(other, bars=bars), Trials(3, 0.2), "run 1")


def test_a_challenger_that_is_surely_worse_fails_by_the_end_of_its_interval():
    worse, better = (gates.comparison(both(*d), NAMES, Rules(), WAY)[0] for d in ((0.0, 0.002), (0.002, 0.0)))
    gap = both(0.0, 0.002).difference(0.95)
    assert worse.passed is False
    assert worse.figure == gap.high < worse.threshold == 0
    assert worse.sentence == (
        f"Sharpe {gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}] against models:/x/1, 2015-01-01 to 2018-11-01: "
        "worse with 95% confidence"
    )
    assert better.passed is True
    assert better.figure > 0


def test_a_difference_that_may_be_luck_passes():
    found = gates.comparison(both(0.0006, 0.0005), NAMES, Rules(), WAY)[0]
    assert found.passed is True
    assert found.sentence.endswith("not worse with 95% confidence")


def test_the_same_account_passes_and_needs_no_floor():
    equity = account(-0.002)
    first, record = gates.comparison(SideBySide(INDEX, equity, equity, Trials(9), "run"), NAMES, Rules(), WAY)
    assert first.passed is True
    assert first.sentence.startswith("the same account as models:/x/1")
    assert record.passed is True
    assert record.figure < 0.5


def test_what_replaces_a_champion_has_a_deflated_sharpe_ratio_above_the_floor():
    found = both(0.0001, 0.0001)
    expected = deflated_sharpe(returns_of(found.equity), 3, 0.2 / np.sqrt(INDEX.size / 3.83))
    assert found.deflated == pytest.approx(expected, abs=0.02)  # bars a year, as counted from the index
    for floor in (found.deflated - 0.01, found.deflated + 0.01):
        gate = gates.comparison(found, NAMES, Rules(deflated=floor), WAY)[1]
        assert gate.passed is (gate.figure >= floor)
    assert "after 3 trials" in gate.sentence


def test_what_is_not_on_record_is_not_known_and_says_how_to_get_it():
    alone = SideBySide(INDEX, account(0.001), None, Trials(1), "run")
    for found, known in ((None, [None, None]), (alone, [None, True])):
        one = gates.comparison(found, NAMES, Rules(), WAY)
        assert [gate.passed for gate in one] == known
        assert one[0].sentence == f"no backtest of both is on record; get one with: {WAY}"
    short = gates.comparison(both(0.0, 0.0, bars=20), NAMES, Rules(), WAY)
    assert [gate.passed for gate in short] == [None, None]
    assert "too short" in short[0].sentence
    assert short[0].stops(gates.STRICT)
    assert not short[0].stops(Rules())


def test_the_first_champion_has_nothing_to_beat():
    for found in (None, SideBySide(INDEX, account(-0.002), None, Trials(1), "run")):
        one = gates.comparison(found, ("models:/x/1", None), Rules(), WAY)
        assert [gate.passed for gate in one] == [True, True]
    assert one[0].sentence == "the first champion has nothing to beat"
    assert one[1].figure < 0.5


def test_latency_is_held_to_its_99th_percentile():
    seconds = [0.002] * 98 + [0.3, 0.4]
    gate = gates.latency(seconds, 0.5)
    assert gate.passed is True
    assert gate.figure == pytest.approx(np.quantile(seconds, 0.99))
    assert gate.sentence == f"a decision takes 2.0 ms (p50), {gate.figure * 1e3:.1f} ms (p99), and may take 500 ms"
    assert gates.latency(seconds, 0.1).passed is False


@pytest.mark.parametrize(
    ("last", "spacing", "now", "age", "passed", "figure"),
    [
        ("2026-01-05", 86400, "2026-01-08 00:00", 2, True, 2.0),  # a date is the end of its day
        ("2026-01-05", 86400, "2026-01-08 06:00", 2, False, 2.25),
        ("2026-01-05", 86400, "2026-01-05 06:00", 2, True, 0.0),
        ("2026-01-05 10:00", 3600, "2026-01-05 13:00", 4, True, 3.0),
        ("2026-01-05 10:00-05:00", 3600, "2026-01-05 18:00", 2, False, 3.0),
        ("2016-01-05", 86400, "2026-01-08 00:00", None, True, 3655.0),
    ],
)
def test_bars_are_fresh_within_an_age_in_bars(last, spacing, now, age, passed, figure):
    gate = gates.freshness(pd.Timestamp(last), spacing, pd.Timestamp(now, tz="UTC"), age)
    assert (gate.passed, gate.figure) == (passed, pytest.approx(figure))
    assert ("--history" in gate.sentence) is not passed


def test_a_reload_within_rounding_passes():
    assert gates.reload(1e-7).passed is True
    assert gates.reload(1e-3).passed is False
    assert gates.reload(np.nan).passed is False


def test_a_certificate_holds_for_its_model_its_data_and_its_code():
    good = Check("look-ahead", True, 249, "no look-ahead: 249 rows")
    bad = Check("warm-up", False, 9, "weights change by 0.1")
    whole = Certificate("f", "d", "s", "c" * 64, "2001 to 2002", 0, (good,))
    assert gates.certificate(whole, "f", "d", "c" * 64).passed is True
    for keys, words in (
        (("g", "d", "c" * 64), "that of another model"),
        (("f", "e", "c" * 64), "made on other data"),
        (("f", "d", "e" * 64), "made by other code (cccccccccccc, and this is eeeeeeeeeeee)"),
    ):
        gate = gates.certificate(whole, *keys)
        assert gate.passed is False
        assert words in gate.sentence
    failed = gates.certificate(Certificate("f", "d", "s", "c", "", 0, (good, bad)), "f", "d", "c")
    assert (failed.passed, failed.figure, failed.threshold) == (False, 1.0, 2.0)
    assert failed.sentence == "the certificate does not hold: weights change by 0.1"
    untold = Check("warm-up", None, 0, "3 bars are too few")
    assert gates.certificate(Certificate("f", "d", "s", "c", "", 0, (good, untold)), "f", "d", "c").passed is None
    assert gates.certificate(None, "f", "d", "c").passed is None


@pytest.mark.parametrize("wrong", [{"level": 1.0}, {"deflated": 1.0}, {"latency": 0.0}, {"age": 0.0}])
def test_rules_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Rules(**wrong)
