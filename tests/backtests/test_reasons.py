import numpy as np
import pytest

from backtests import reasons
from markets import HiddenMarkovRegimes
from strategies import Blend, DrawdownLimit, EqualWeight, Momentum, Rebalanced, RegimeGated, WeightLimit


def test_each_limit_says_what_it_changed(bars):
    now = bars[-1:]
    limited = WeightLimit(EqualWeight(), 0.2)
    cut = "S0 from 33.33% to 20.00%, S1 from 33.33% to 20.00%, S2 from 33.33% to 20.00%"
    assert reasons.limits(limited, now) == [f"weights to 0.2: {cut}"]
    twice = Blend([WeightLimit(EqualWeight(), 0.3), WeightLimit(WeightLimit(EqualWeight(), 0.25), 0.28)])
    found = reasons.limits(twice, now)
    assert [sentence.split(":")[0] for sentence in found] == [
        "weights to 0.3",
        "weights to 0.25",
    ]  # .28 changes nothing
    assert reasons.limits(EqualWeight(), now) is None
    assert reasons.limits(WeightLimit(EqualWeight(), 0.9), now) == []


def test_many_symbols_are_counted(stocks):
    (sentence,) = reasons.limits(WeightLimit(EqualWeight(), 0.01), stocks[-1:])
    assert sentence.endswith(", and 15 more")
    (sentence,) = reasons.limits(Rebalanced(EqualWeight(), "year"), stocks[-1:])
    assert ": left alone are AAPL, " in sentence
    assert sentence.endswith(", and 15 more")


def test_out_of_the_market_after_a_loss(bars):
    limited = DrawdownLimit(Momentum(5), 0.01, wait=1000, window=1000)
    (sentence,) = reasons.limits(limited, bars[-1:])
    assert sentence.startswith("drawdown to 0.01: ")
    assert " to 0.00%" in sentence
    assert np.all(limited.plan(bars[-1:]).aim == 0)


def test_regimes_are_those_of_the_filter(bars):
    gated = RegimeGated(HiddenMarkovRegimes(2, restarts=2), [EqualWeight(), Momentum(20)])
    adapted = gated.adapt(bars)
    found = reasons.regimes(WeightLimit(adapted, 0.2), bars[-5:])
    path = adapted.detector.filter(bars)
    assert found == {"regime gated": dict(zip(("calm", "crisis"), path.probabilities[-1].tolist(), strict=True))}
    assert sum(found["regime gated"].values()) == pytest.approx(1)
    assert reasons.regimes(gated, bars[-5:]) == {}  # not fitted yet
    assert reasons.regimes(EqualWeight(), bars[-5:]) == {}
