import numpy as np
import pytest
import samples

from markets import Costs, Execution, InputError, simulate
from markets.accounting.market import make_market


@pytest.mark.parametrize(("text", "share"), [("10bp", 0.001), ("0.1%", 0.001), (" 2.5 bps", 0.00025), (0.002, 0.002)])
def test_costs_are_read(text, share):
    assert Costs.parse(text).commission == pytest.approx(share)


@pytest.mark.parametrize("text", ["10", "ten", "-1bp", "10 percent"])
def test_costs_that_cannot_be_parsed_are_refused(text):
    with pytest.raises(InputError, match="write 10bp"):
        Costs.parse(text)


def test_values_out_of_range_are_refused():
    with pytest.raises(InputError, match="commission is 10"):
        Costs(commission=10)
    with pytest.raises(InputError, match=r"spread is -0\.1"):
        Costs(spread=-0.1)
    with pytest.raises(InputError, match="gross is 0"):
        Execution(gross=0)
    with pytest.raises(InputError, match="fill is 'soon'"):
        Execution(fill="soon")
    with pytest.raises(InputError, match="sizing is 'all'"):
        Execution(sizing="all")
    with pytest.warns(UserWarning, match="no one can"):
        Execution(fill="same_close")


def test_impact_needs_volume(bars):
    with pytest.raises(InputError, match="impact needs volume, and synthetic has none"):
        make_market(bars, Costs(impact=0.1), Execution())


def test_opens_are_needed_to_fill_at_them(bars):
    with pytest.raises(InputError, match="has no opens; use next_close"):
        make_market(bars, Costs(), Execution(fill="next_open"))


def test_a_decision_is_filled_at_the_next_open_where_opens_exist():
    bars = samples.gappy_bars(np.random.default_rng(3), 30, 1, 0.02)
    market, rules = make_market(bars, Costs(), Execution())
    assert rules.lagged
    there = bars.tradable[1:, 0]
    np.testing.assert_array_equal(market.fill[:-1, 0][there], bars.open[1:, 0][there])
    np.testing.assert_array_equal(market.open[:-1, 0], there)
    assert not market.open[-1, 0]


def test_interest_accrues_by_the_calendar():
    bars = samples.regime_bars(400, 1, seed=0)
    equity = simulate(bars, np.zeros(bars.shape), costs=Costs(cash_rate=0.05)).equity[0]
    days = np.diff(bars.index).astype("timedelta64[D]").astype(int)
    np.testing.assert_allclose(equity[1:] / equity[:-1], 1 + 0.05 * days / 365.25, rtol=1e-12)


@pytest.mark.parametrize("sizing", ["outlay", "whole_lots"])
def test_quadratic_costs_are_refused_where_an_order_is_sized_by_its_outlay(sizing):
    """A sell of size s raises s − s²/V·quadratic, which is bounded, so the wanted cash may be out of reach."""
    with pytest.raises(InputError, match=f"quadratic does not go with sizing {sizing}; use pre_fee or post_fee"):
        make_market(samples.regime_bars(5, 1, seed=0), Costs(quadratic=0.01), Execution(sizing=sizing))
