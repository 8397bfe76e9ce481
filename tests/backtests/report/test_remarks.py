import numpy as np
import pytest

from backtests import walk_forward
from backtests.report.remarks import grouped, remarks
from markets import Execution
from strategies import EqualWeight, InverseVolatility, Plan, Strategy


class Constant(Strategy):
    def __init__(self, name, weight):
        self.name, self.weight = name, weight

    def plan(self, bars):
        return Plan(np.full(bars.shape, self.weight))


def test_regression_leverage_is_not_removed_in_silence(bars, tmp_path):
    """Aims of 3.0 on three symbols printed equal weight's row, and nothing else."""
    result = walk_forward([Constant("three", 3.0), EqualWeight()], bars[1300:], costs="0", progress=False)
    np.testing.assert_allclose(result["three"].scaled[1:], 1 / 9)
    sentences = remarks(result.backtests)
    assert sentences[0] == "Same as three: equal weight."
    assert (
        sentences[1]
        == "three: limits cut what it wanted on 199 of 199 bars, to 0.11 of its gross weight in the mean (median 0.11)."
    )
    assert "limits cut what it wanted on 199 of 199 bars" in result.report(tmp_path / "r.html").read_text()
    free = walk_forward(
        [Constant("three", 3.0)], bars[1300:], execution=Execution(gross=9, borrowing=True), progress=False
    )
    assert remarks(free.backtests) == []


@pytest.mark.parametrize(
    ("weight", "execution", "scaled"),
    [
        (-0.1, Execution(long_only=True), 0.0),
        (0.5, Execution(gross=9), 1 / 1.5),  # without borrowing, cash is used up at a net weight of 1
        (-0.5, Execution(gross=9), 1.0),
        (0.5, Execution(max_weight=0.1), 0.2),
        (0.5, Execution(gross=9, borrowing=True, net=0.3), 0.2),
        (0.0, Execution(), 1.0),
        (1 / 3, Execution(), 1.0),
    ],
)
def test_every_limit_on_weights_counts(bars, weight, execution, scaled):
    found = walk_forward([Constant("it", weight)], bars[1400:], costs="0", execution=execution, progress=False)[0]
    np.testing.assert_allclose(found.scaled[1:] * found.afforded[1:], scaled, rtol=1e-6)
    assert found.scaled[0] == 1


@pytest.mark.parametrize(
    ("weight", "execution", "words"),
    [
        (0.35, Execution(), "limits cut what it wanted on 49 of 49 bars, to 0.95"),
        (0.3, Execution(max_weight=0.29), "limits cut what it wanted on 49 of 49 bars, to 0.97"),
        (0.5, Execution(gross=9), "the available cash cut what it wanted on 49 of 49 bars, to 0.67"),
    ],
)
def test_regression_small_cuts_are_told_too(bars, weight, execution, words):
    found = walk_forward([Constant("it", weight)], bars[-50:], costs="0", execution=execution, progress=False)
    assert words in " ".join(remarks(found.backtests))


def test_equal_accounts_are_one_group_with_the_rule_at_its_head(bars, meta):
    still = meta.shrunk(0.0, "still")
    result = walk_forward([still, still.unadapted(), EqualWeight(), InverseVolatility()], bars[1300:], progress=False)
    groups = {head.name: [b.name for b in rest] for head, rest in grouped(result.backtests)}
    assert groups == {"equal weight": [], "inverse volatility": ["still", "still, unadapted"]}
    sentences = remarks(result.backtests)
    assert sentences[0] == "Same as inverse volatility: still; still, unadapted."
    assert "still holds its base (inverse volatility): the factor on its tilt is 0." in sentences
