from itertools import combinations

import numpy as np
import pytest

from backtests.significance import overfitting
from markets import InputError
from markets.common.statistics import sharpe


def by_hand(returns, blocks):
    """As the paper states it, one choice at a time."""
    size = len(returns) // blocks
    cut = returns[len(returns) - size * blocks :].reshape(blocks, size, -1)
    logits = []
    for half in combinations(range(blocks), blocks // 2):
        rest = [b for b in range(blocks) if b not in half]
        inside = [sharpe(c) for c in np.concatenate(cut[list(half)]).T]
        outside = [sharpe(c) for c in np.concatenate(cut[rest]).T]
        rank = np.argsort(np.argsort(outside))[int(np.argmax(inside))] + 1
        share = rank / (returns.shape[1] + 1)
        logits.append(np.log(share / (1 - share)))
    return np.array(logits)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_papers_procedure(seed):
    returns = np.random.default_rng(seed).normal(0.0003, 0.01, (203, 5))
    found, logits = overfitting(returns, 6), by_hand(returns, 6)
    np.testing.assert_allclose(found.logits, logits, atol=1e-12)
    assert found.probability == (logits <= 0).mean()
    assert len(found.inside) == 20


def test_noise_is_a_coin_and_skill_is_found():
    rng = np.random.default_rng(0)
    chance = [overfitting(rng.normal(0, 0.01, (320, 11)), 8).probability for _ in range(60)]
    assert np.mean(chance) == pytest.approx(0.5, abs=0.1)
    skilled = rng.normal(0, 0.01, (1600, 10))
    skilled[:, 4] += 0.003
    assert overfitting(skilled).probability == 0


def test_errors_name_what_is_wrong():
    for shape, blocks in (((100, 1), 4), ((100, 3), 5), ((10, 3), 16)):
        with pytest.raises(InputError, match="give 2 strategies or more"):
            overfitting(np.zeros(shape), blocks)
