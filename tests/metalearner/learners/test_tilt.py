from types import SimpleNamespace

import pytest
import torch

from metalearner.learners.tilt import TiltTest, select_shrinkage


def test_regression_few_tasks_need_a_larger_t_statistic():
    """With two tasks, chance alone gave a t-statistic above 1 in 25 % of cases; with many it does in 15.9 %."""
    assert TiltTest(1.0, 1.5, 1.0, 2).wanted == pytest.approx(1.8373, abs=1e-3)
    assert TiltTest(1.0, 1.5, 1.0, 5).wanted == pytest.approx(1.1416, abs=1e-3)
    assert TiltTest(1.0, 1.5, 1.0, 100_000).wanted == pytest.approx(1.0, abs=1e-4)
    assert TiltTest(1.0, 1.5, 0.0, 2).wanted == pytest.approx(0.0, abs=1e-12)
    assert "more than 1.84 is wanted, as rare by chance as 1 with many tasks" in str(TiltTest(0.0, 1.5, 1.0, 2))


@pytest.mark.parametrize(
    ("gains", "kept"), [((1.0, 5.0), False), ((1.0, 2.0), True), ((1.0, 1.0), True), ((0.0, 0.0), False)]
)
def test_regression_a_tilt_is_not_kept_on_what_two_tasks_show_by_chance(gains, kept):
    """Gains of 1 and 5 have a t-statistic of 1.5: above 1, but with two tasks that is no evidence."""

    class Judged:
        def scores(self, rng):
            return policy.shrink * torch.tensor(gains, dtype=torch.float64)

    policy = SimpleNamespace(shrink=torch.tensor(1.0, dtype=torch.float64))
    test = select_shrinkage(policy, Judged(), 1.0)
    assert (test.share > 0) == (float(policy.shrink) > 0) == kept
