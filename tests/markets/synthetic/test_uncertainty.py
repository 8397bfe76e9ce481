import numpy as np
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, InputError, Uncertainty
from markets.synthetic import Perturbation
from markets.synthetic.uncertainty import trailing_volatility


@given(st.integers(2, 20), st.floats(0, 1), st.floats(1, 5), st.floats(1, 10))
def test_markets_go_from_the_one_that_was_seen_to_the_furthest(number, shift, volatility, costs):
    first, *_, last = found = Uncertainty(shift, volatility, costs).markets(number)
    assert first == Perturbation()
    assert len(found) == number
    assert (last.shift, last.costs) == (shift, pytest.approx(costs))
    assert last.volatility == pytest.approx(volatility if number % 2 == 0 else 1 / volatility)
    assert (np.diff([m.shift for m in found]) >= 0).all()
    assert (np.diff([m.costs for m in found]) >= 0).all()
    assert (np.diff([abs(np.log(m.volatility)) for m in found]) >= -1e-12).all()


def test_texts_are_read_and_wrong_ones_refused():
    assert Uncertainty.parse("shift=.05, volatility=1.5,costs = 3") == Uncertainty(0.05, 1.5, 3.0)
    assert Uncertainty.parse("costs=2") == Uncertainty(costs=2.0)
    for text in ("", "costs", "costs=dear", "drift=1", "shift=.1;costs=2"):
        with pytest.raises(InputError, match="write any of shift, volatility, costs"):
            Uncertainty.parse(text)
    for text, message in (
        ("shift=-1", "shift is -1"),
        ("volatility=0.5", "volatility is 0.5; it is the largest factor"),
        ("costs=nan", "costs is nan"),
    ):
        with pytest.raises(InputError, match=message):
            Uncertainty.parse(text)
    with pytest.raises(InputError, match="at least 2"):
        Uncertainty().markets(1)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 200))
def test_a_row_of_the_volatility_reads_none_after_it(seed, t):
    bars = samples.gappy_bars(np.random.default_rng(seed), 240, 3)[30:]
    whole, early = trailing_volatility(bars), trailing_volatility(bars[:t])
    np.testing.assert_array_equal(whole[:t], early)
    assert (np.isfinite(whole) & (whole >= 0)).all()


def test_the_volatility_is_that_of_returns():
    rng, size = np.random.default_rng(0), np.array([0.02, 0.005])
    close = 50 * np.exp((size * rng.standard_normal((5000, 2))).cumsum(axis=0))
    bars = Bars.make(samples.regime_bars(5000, 2, seed=0).index, ["A", "B"], close)
    np.testing.assert_allclose((trailing_volatility(bars)[500:] ** 2).mean(axis=0), size**2, rtol=0.05)
