import numpy as np

from benchmarks.hierarchy_market import ExactFilter, TrendAndReversal

FAMILY = TrendAndReversal(length=20_000)


def utility(weights, returns):
    profit = weights[:-1] * returns[1:]
    return (profit - 0.5 * profit**2).mean()


def test_the_optimum_lies_between_what_is_known_and_what_is_not():
    episodes = FAMILY.sample(1, 3)
    returns, state = episodes.returns[0, :, 0], episodes.hidden["state"][0]
    mean, square = np.array(FAMILY.momentum) * returns[:, None], np.square(FAMILY.volatility)
    known = (mean / (square + mean**2))[np.arange(len(returns) - 1), state[1:]]
    p = FAMILY.filter(returns)
    mixed = (p * mean / (square + mean**2)).sum(axis=1)
    ladder = [utility(np.append(known, 0), returns), utility(FAMILY.optimum(returns), returns), utility(mixed, returns)]
    assert ladder == sorted(ladder, reverse=True)
    assert ladder[-1] > 0
    assert (p.argmax(axis=1) == state).mean() > 0.9


def test_the_detector_is_the_filter_on_bars_and_does_not_look_ahead():
    episodes = FAMILY.with_length(300).sample(1, 4)
    bars, detector = episodes.bars(), ExactFilter(FAMILY)
    whole = detector.filter(bars).probabilities
    np.testing.assert_allclose(whole[50:], FAMILY.filter(episodes.returns[0, :, 0])[49:], atol=1e-4)
    np.testing.assert_array_equal(detector.filter(bars[:200]).probabilities, whole[:200])
    np.testing.assert_array_equal(detector.filter(bars[200:]).probabilities, whole[200:])
