"""How far a trader looks ahead: what decisions tell of it, and what they do not."""

import numpy as np
import pytest

from markets import InputError
from metalearner.inverse import Decisions, horizon, infer, soft_values
from metalearner.inverse.experts import autoregressive_market, decisions_of

GRID, TRUE = np.linspace(-1, 1, 11), np.array([0.15, 0.02, 0.01])
MARKETS = [autoregressive_market(5, persistence, std) for persistence, std in ((0.9, 0.1), (0.97, 0.05), (0.7, 0.1))]
FEW = (1, 2, 5, 20, 100)


def decisions(bars_ahead, bars=10_000, markets=MARKETS, seed=0):
    policies = [np.exp(soft_values(m, GRID, TRUE, 1 - 1 / bars_ahead).log_policy) for m in markets]
    return [decisions_of(m, p, bars, seed + 100 * k) for k, (m, p) in enumerate(zip(markets, policies, strict=True))]


def test_who_looks_ahead_is_told_from_who_does_not():
    near, far = (horizon(decisions(h), GRID, horizons=FEW) for h in (1, 100))
    assert near.holds(1)
    assert not near.holds(100)
    assert near.high < 5
    assert far.holds(100)
    assert not far.holds(1)
    assert far.high == np.inf
    assert str(near) == f"{near.high:.1f} bars or less"
    assert str(far) == f"{far.low:.1f} bars or more"


def test_the_profile_is_the_largest_likelihood_at_each_horizon():
    seen = decisions(5, 2_000)
    found = horizon(seen, GRID, horizons=FEW)
    for h, value in zip(FEW, found.log_likelihood, strict=True):
        assert value == pytest.approx(infer(seen, GRID, discount=1 - 1 / h).log_likelihood, abs=1e-3)
    assert found.bars == FEW[int(found.log_likelihood.argmax())]
    assert found.low <= found.bars <= found.high


def test_the_interval_is_wider_at_a_higher_level_and_narrower_with_more_decisions():
    few, many = decisions(2, 1_000), decisions(2, 30_000)
    wide, narrow = horizon(few, GRID, horizons=FEW), horizon(many, GRID, horizons=FEW)
    assert narrow.high - narrow.low < wide.high - wide.low
    wider = horizon(many, GRID, horizons=FEW, level=0.999)
    assert wider.low <= narrow.low <= narrow.high <= wider.high


def test_of_who_never_trades_nothing_is_known():
    counts = np.zeros((5, 11, 11))
    counts[:, 5, 5] = 100
    found = horizon([Decisions(MARKETS[0], counts)], GRID, horizons=FEW)
    assert (found.low, found.high) == (1, np.inf)
    assert str(found) == "these decisions do not tell"


@pytest.mark.parametrize("horizons", [(), (5,), (0.5, 2), (5, 2), (1, 1)])
def test_horizons_ascend_from_one_on(horizons):
    with pytest.raises(InputError, match="ascending from 1"):
        horizon(decisions(5, 300), GRID, horizons=horizons)
