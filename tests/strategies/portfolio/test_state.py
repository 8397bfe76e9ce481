import numpy as np

from strategies.portfolio.state import evidence, market_state


def quiet_then(scale: float, decisions: int = 60, symbols: int = 5, seed: int = 0):
    """Weeks of five daily returns with a volatility per day of 1 %, times `scale` in the last third."""
    rng = np.random.default_rng(seed)
    late = np.arange(decisions) >= 2 * decisions // 3
    size = np.where(late, scale, 1.0) * 0.01
    weeks = [size[d] * rng.standard_normal((5, symbols)) for d in range(decisions)]
    return weeks, np.full(5, 1 / 252.0), np.ones((5, symbols), dtype=bool)


def test_the_half_life_that_foretold_the_returns_scores_best():
    weeks, years, there = quiet_then(3.0)
    slow, fast = (np.full((60, 5), 0.01**2 * 252) for _ in range(2))
    fast[41:] = 0.03**2 * 252  # it has seen the change
    variance = np.stack([fast, slow], axis=1)
    correlation, known = np.broadcast_to(np.eye(5), (60, 1, 5, 5)), np.ones((60, 5), dtype=bool)
    score, _ = evidence(variance, correlation, known, [(week, there, years) for week in weeks[:-1]])
    np.testing.assert_allclose(score.sum(axis=1), 0.0, atol=1e-12)
    assert not score[:42].any()  # the same until then; the first week they differ ends at the next decision
    assert (score[43:, 0] > 0.1).all()


def test_scores_use_nothing_that_comes_after():
    weeks, years, there = quiet_then(2.0, seed=1)
    rng = np.random.default_rng(1)
    variance, known = np.exp(rng.normal(-4, 0.5, (60, 3, 5))), rng.random((60, 5)) < 0.9
    root = rng.standard_normal((60, 2, 5, 9))
    correlation = np.corrcoef(root[0, 0])[None, None] + np.zeros((60, 2, 1, 1))
    after = [(week, there, years) for week in weeks[:-1]]
    whole = evidence(variance, correlation, known, after)
    part = evidence(variance[:30], correlation[:30], known[:30], after[:29])
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[:30], other)


def test_the_correlation_that_foretold_the_returns_scores_best():
    rng = np.random.default_rng(2)
    common = 0.8 * np.ones((4, 4)) + 0.2 * np.eye(4)
    weeks = [rng.multivariate_normal(np.zeros(4), common, 5) * 0.01 for _ in range(40)]
    correlation = np.broadcast_to(np.stack([common, np.eye(4)]), (40, 2, 4, 4))
    variance = np.full((40, 1, 4), 0.01**2 * 252)
    after = [(week, np.ones((5, 4), dtype=bool), np.full(5, 1 / 252)) for week in weeks[:-1]]
    _, score = evidence(variance, correlation, np.ones((40, 4), dtype=bool), after)
    assert (score[5:, 0] > 0).all()


def test_state_is_scale_free_and_bounded():
    rng = np.random.default_rng(3)
    variance = np.exp(rng.normal(-3, 1, (7, 2, 4)))
    correlation = np.full((7, 2, 4, 4), 0.3) + 0.7 * np.eye(4)
    correlation[:, 0] = 0.6 + 0.4 * np.eye(4)
    known, market = np.ones((7, 4), dtype=bool), [0.01 * rng.standard_normal(50) for _ in range(7)]
    state = market_state(variance, correlation, known, market)
    np.testing.assert_allclose(state, market_state(9 * variance, correlation, known, [5 * m for m in market]))
    np.testing.assert_allclose(state[:, 1], 3.0)  # .3 more than the long one, of which .1 is usual
    assert np.abs(state).max() <= 3.0
    expected = 0.5 * np.log(variance[:, 0] / variance[:, 1]).mean(axis=1) / 0.3
    np.testing.assert_allclose(state[:, 0], np.clip(expected, -3, 3))
