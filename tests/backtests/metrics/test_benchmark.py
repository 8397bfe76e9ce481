from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from backtests.metrics import against
from markets import InputError

INDEX = pd.date_range("2020-01-01", periods=501)


def account(returns, index=INDEX):
    return SimpleNamespace(index=index, equity=100 * np.cumprod(np.append(1, 1 + returns)))


def noise(seed):
    return np.random.default_rng(seed).normal(0.0005, 0.01, 500)


def test_the_regression_is_scipys():
    market = noise(0)
    ours = 0.0002 + 0.7 * market + 0.3 * noise(1)
    found, line = against(account(ours), account(market)), linregress(market, ours)
    assert found["beta"] == pytest.approx(line.slope)
    assert found["alpha"] == pytest.approx(line.intercept * 365.25)
    assert found["correlation"] == pytest.approx(line.rvalue)
    gap = ours - market
    assert found["tracking error"] == pytest.approx(gap.std(ddof=1) * 365.25**0.5)
    assert found["information ratio"] == pytest.approx(gap.mean() / gap.std(ddof=1) * 365.25**0.5)


def test_half_of_the_market_captures_half():
    market = noise(2)
    found = against(account(0.5 * market), account(market))
    assert [found[k] for k in ("alpha", "beta", "correlation", "up capture", "down capture")] == pytest.approx(
        [0, 0.5, 1, 0.5, 0.5], abs=1e-9
    )


def test_cash_has_no_beta_to_and_no_correlation_with():
    found = against(account(noise(0)), account(np.zeros(500)))
    assert np.isnan([found[k] for k in ("alpha", "beta", "correlation", "up capture")]).all()
    assert against(account(np.zeros(500)), account(noise(0)))["beta"] == 0
    with pytest.raises(InputError, match="not run on the same bars"):
        against(account(noise(0)), account(noise(0)[:-1], INDEX[:-1]))
