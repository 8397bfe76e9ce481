import numpy as np
import pytest

from markets import InputError
from strategies import Blend, BuyAndHold, EqualWeight, InverseVolatility, Momentum, Plan, Strategy


class Fixed(Strategy):
    def __init__(self, aim, band=None, rate=None):
        self.values, self.name = (aim, band, rate), "fixed"

    def plan(self, bars):
        return Plan(*(None if v is None else np.full(bars.shape, v) for v in self.values))


def test_is_the_mean_of_its_parts(bars):
    plan = Blend([Fixed(0.2, band=0.1), Fixed(0.4, rate=0.5)]).plan(bars)
    np.testing.assert_allclose(plan.aim, 0.3)
    np.testing.assert_allclose(plan.band, 0.05)  # a part without a band counts as band 0
    np.testing.assert_allclose(plan.rate, 0.75)  # a part without a rate counts as rate 1


def test_a_blend_of_one_is_that_one(bars):
    np.testing.assert_array_equal(Blend([Momentum(20)]).plan(bars).aim, Momentum(20).plan(bars).aim)


def test_waits_for_the_slowest_part_and_reads_nothing_later(bars):
    blend = Blend([InverseVolatility(), EqualWeight(), Momentum(50)])
    assert blend.warmup == max(part.warmup for part in blend.parts)
    whole = blend.plan(bars).aim
    for stop in (60, 300, 999):
        np.testing.assert_array_equal(blend.plan(bars[:stop]).aim, whole[:stop])


def test_adapts_where_a_part_does(bars):
    class Learning(Fixed):
        adapts = True

        def adapt(self, seen):
            return Fixed(len(seen) / 10_000)

    fixed = Blend([Fixed(0.2), Fixed(0.4)])
    assert not fixed.adapts
    assert fixed.adapt(bars) is fixed
    learning = Blend([Learning(0.0), Fixed(0.4)], "both")
    assert learning.adapts
    adapted = learning.adapt(bars[:1000])
    assert adapted.name == "both"
    np.testing.assert_allclose(adapted.plan(bars).aim, 0.25)


def test_nothing_to_blend():
    with pytest.raises(InputError, match="nothing to blend"):
        Blend([])


def test_what_cannot_be_saved_or_read_is_named(tmp_path):
    with pytest.raises(InputError, match="equal weight is a EqualWeight; only torch policies are saved"):
        Blend([EqualWeight()]).save(tmp_path)
    with pytest.raises(InputError, match="not a saved blend"):
        Blend.load(tmp_path)


def test_regression_a_part_that_leaves_positions_alone_has_no_mean_with_one_that_trades(bars):
    """The mean of an endless no-trade zone and another one is endless: momentum was never traded after the first bar."""
    with pytest.raises(
        InputError, match=r"^blend: buy and hold leaves its positions alone .* Rebalanced\(Blend\(\.\.\.\)\)"
    ):
        Blend([Momentum(20), BuyAndHold()]).plan(bars)
    band = Blend([BuyAndHold(), BuyAndHold()]).plan(bars).band
    np.testing.assert_array_equal(band, BuyAndHold().plan(bars).band)
