import numpy as np
import pandas as pd
import pytest

from backtests.robustness import Case, resample_markets
from markets import Bars, InputError
from strategies import EqualWeight, Momentum


def market(returns: np.ndarray) -> Bars:
    index = pd.bdate_range("1990-01-01", periods=len(returns))
    return Bars.make(index, [f"S{i}" for i in range(returns.shape[1])], 100 * np.exp(np.cumsum(returns, axis=0)))


def test_on_independent_returns_resampling_is_unbiased():
    """The mean over resampled markets is the Sharpe ratio of the sample, which is within its error of the true one."""
    rng = np.random.default_rng(3)
    bars = market(rng.normal(0.001, 0.01, (2600, 1)))
    truth = 0.001 / 0.01 * np.sqrt(252)
    case = Case(EqualWeight(), bars, "0bp")
    table = resample_markets(case, resamples=100, seed=1, progress=False).table
    error = 1 / np.sqrt(2600 / 252)  # of one Sharpe ratio
    for kind in ("blocks", "regimes"):
        assert abs(table.loc[kind, "mean"] - case.value) < 3 * error / np.sqrt(100) + 0.05
        assert abs(table.loc[kind, "mean"] - truth) < 3 * error
        width = table.loc[kind, "high"] - table.loc[kind, "low"]
        assert 0.6 < width / (2 * 1.645 * error) < 1.4
    assert table["markets"].tolist() == [100, 100]
    assert (table["equal weight"] == case.value).all()


def test_long_memory_is_destroyed():
    """Trends of 250 bars: momentum over 60 lives on them, and blocks of 10 bars leave none."""
    rng = np.random.default_rng(0)
    up = np.where(np.arange(3000) // 250 % 2 == 0, 0.003, -0.003)
    case = Case(Momentum(60), market(up[:, None] + rng.normal(0, 0.01, (3000, 2)))[100:], "0bp")
    section = resample_markets(case, resamples=30, block=10, progress=False)
    assert section.table.loc["blocks", "below"] > 0.95
    assert case.value - section.table.loc["blocks", "median"] > 1
    assert "blocks" in section.shows.lower()
    assert "memory beyond 10 bars" in section.does_not_show.lower()


def test_the_seed_reproduces_to_the_bit(bars):
    case = Case(Momentum(50), bars[200:])
    one, two, other = (resample_markets(case, resamples=4, seed=seed, progress=False).table for seed in (5, 5, 6))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert (one["mean"] != other["mean"]).all()


def test_equal_weight_is_not_compared_with_itself(bars):
    section = resample_markets(Case(EqualWeight(), bars), resamples=3, progress=False)
    assert "better than equal weight" not in section.finding
    assert "These are few" in section.finding
    assert len(section.draw().data) == 2


def test_what_cannot_be_resampled(bars):
    with pytest.raises(InputError, match="regime 'all' has 9 bars in synthetic, and 20 are needed"):
        resample_markets(Case(EqualWeight(), bars[:10]), progress=False)
    with pytest.raises(InputError, match="resamples is 0 and seed is 0"):
        resample_markets(Case(EqualWeight(), bars), resamples=0)
