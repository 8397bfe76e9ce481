"""The certificate finds what a strategy must not do, and says what was checked."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from leaky import BackFill, OneBarLeak

from backtests import certificate
from backtests.certificate import Certificate, certify
from markets import Bars, InputError
from strategies import Blend, EqualWeight, Momentum, Plan, Strategy
from strategies.limits import LeverageLimit, WeightLimit


def checks(strategy, bars, **options):
    return {check.name: check for check in certify(strategy, bars, **{"rows": 80, "fuzzed": 20} | options).checks}


def test_a_rule_within_its_limits_has_all_checks_passed(bars):
    found = certify(WeightLimit(Momentum(60), 0.2), bars, rows=80, fuzzed=20)
    assert [check.passed for check in found.checks] == [True, True, True]
    ahead, warm, limits = found.checks
    assert ahead.sentence == "no look-ahead: 79 rows with the future cut off, and scrambled after 12 of them"
    assert warm.sentence.endswith("4 scrambled pasts before the declared 60 bars")
    assert limits.sentence == "20 fuzzed histories: a weight at most 0.2 of 0.2 allowed"
    assert (found.data_hash, found.span_hash, found.code_hash) == (bars.hash, bars.span_hash, certificate.code_hash())
    assert Certificate.read(found.text) == found
    assert json.loads(found.text)["span"] == f"{bars.index[0]} to {bars.index[-1]}"


def test_a_learned_policy_has_all_checks_passed(meta, bars):
    strategy = meta.adapt(bars)
    found = certify(strategy, bars, rows=30, fuzzed=10)
    assert [check.passed for check in found.checks] == [True, True, True], found.text
    assert found.fingerprint == strategy.fingerprint
    assert "of 1 allowed" in found.checks[2].sentence


@pytest.mark.parametrize("leak", [OneBarLeak, BackFill])
def test_look_ahead_is_found(leak, bars):
    found = checks(leak(), bars)["look-ahead"]
    assert found.passed is False
    assert "looks ahead" in found.sentence or "looks at least" in found.sentence


class Forgetful(Strategy):
    """Reads 50 bars, and says 20."""

    name, warmup = "forgetful", 20

    def plan(self, bars):
        close = bars.with_past().close
        rows = np.arange(bars.past, len(close))
        moved = np.sign(close[rows] - close[np.maximum(rows - 50, 0)])
        return Plan(np.nan_to_num(moved) / len(bars.symbols))


def test_a_warm_up_that_is_longer_than_declared_is_found(bars):
    found = checks(Forgetful(), bars)
    assert found["warm-up"].passed is False
    assert "it declares a warm-up of 20 bars" in found["warm-up"].sentence
    assert found["look-ahead"].passed is True


@dataclass(eq=False)
class Double(LeverageLimit):
    """A limit that is none: twice what it says, in wild markets."""

    def plan(self, bars):
        plan = super().plan(bars)
        close = bars.with_past().close[-2:]
        wild = np.nanmax(np.abs(np.diff(np.log(close), axis=0)), initial=0.0) > 0.5
        return replace(plan, aim=plan.aim * (2 if wild else 1))


class Fragile(Strategy):
    """Divides by the last return."""

    name, warmup = "fragile", 1

    def plan(self, bars):
        close = bars.with_past().close
        with np.errstate(all="ignore"):
            aim = 0.001 / np.diff(np.log(close), axis=0)
        return Plan(np.vstack([np.zeros((1, close.shape[1])), aim])[bars.past :])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_limits_that_do_not_hold_on_fuzzed_histories_are_found(bars):
    assert checks(LeverageLimit(EqualWeight(), 1.0), bars)["limits"].passed is True
    found = checks(Double(EqualWeight(), 1.0), bars, fuzzed=60)["limits"]
    assert found.passed is False
    assert "gross weight at most 2 of 1 allowed" in found.sentence
    found = checks(Fragile(), bars)["limits"]
    assert found.passed is False
    assert found.sentence.startswith("on fuzzed history")


def test_the_limits_that_a_strategy_declares(meta, bars):
    strategy = meta.adapt(bars)
    assert certificate.declared(strategy) == (1.0, np.inf)
    assert certificate.declared(WeightLimit(LeverageLimit(strategy, 0.5), 0.2)) == (0.5, 0.2)
    assert certificate.declared(LeverageLimit(strategy, 3.0)) == (1.0, np.inf)
    assert certificate.declared(Blend([strategy, LeverageLimit(strategy, 0.5)])) == (0.75, np.inf)
    assert certificate.declared(Momentum(60)) == (np.inf, np.inf)


def test_too_few_bars_are_no_proof(bars):
    few = Bars.make(bars.index[:62], bars.symbols, bars.close[:62])
    found = checks(Momentum(60), few)
    assert (found["look-ahead"].passed, found["warm-up"].passed) == (None, None)
    assert "62 bars are too few" in found["look-ahead"].sentence


def test_the_same_seed_finds_the_same(bars):
    assert certify(Momentum(60), bars, rows=60, fuzzed=5) == certify(Momentum(60), bars, rows=60, fuzzed=5)


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2}', "[]", '{"format": 1, "checks": []}'])
def test_what_is_no_certificate_is_refused(text):
    with pytest.raises(InputError, match="the certificate cannot be read"):
        Certificate.read(text)
