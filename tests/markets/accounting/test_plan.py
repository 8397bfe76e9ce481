import numpy as np
import pandas as pd
import pytest

from markets import InputError, Ledger, Plan, simulate
from markets.accounting.plan import PARTS


def test_regression_a_plan_keeps_its_own_numbers(bars):
    """A strategy that fills one array again and again changed the plans that it had given before."""
    aim = np.full(bars.shape, 0.2)
    plan = Plan(aim, band=np.zeros(bars.shape))
    expected = simulate(bars, plan).equity
    aim[:] = np.nan
    np.testing.assert_array_equal(simulate(bars, plan).equity, expected)


@pytest.mark.parametrize("shape", [(60, 2), (3, 60, 2)])
def test_joining_the_halves_gives_the_whole(shape):
    rng = np.random.default_rng(0)
    whole = Plan(**{name: rng.random(shape) for name in PARTS})
    joined = Plan.join([whole[:30], whole[30:]])
    for name in PARTS:
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


def test_a_missing_band_is_zero_and_a_missing_rate_is_one():
    aim = np.zeros((3, 2))
    joined = Plan.join([Plan(aim, band=aim + 0.1), Plan(aim, rate=aim + 0.5)])
    assert np.unique(joined.band[:3]) == 0.1
    assert not joined.band[3:].any()
    assert np.unique(joined.rate[:3]) == 1
    assert np.unique(joined.rate[3:]) == 0.5


def test_missing_stops_are_infinite_and_what_no_plan_has_stays_missing():
    aim = np.zeros((3, 2))
    joined = Plan.join([Plan(aim, stop_loss=aim + 0.1), Plan(aim, cooldown=aim + 5)])
    assert np.unique(joined.stop_loss[:3]) == 0.1
    assert np.isposinf(joined.stop_loss[3:]).all()
    assert np.isposinf(joined.cooldown[:3]).all()
    assert set(joined.parts) == {"aim", "stop_loss", "cooldown"}
    assert joined.stops
    assert not Plan(aim, cooldown=aim).stops


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("stop_loss", 0.0, "must be above 0"),
        ("take_profit", -0.1, "must be above 0"),
        ("trailing_stop", np.nan, "must be above 0"),
        ("cooldown", -1.0, "must be at least 0"),
    ],
)
def test_a_stop_out_of_range_is_named(bars, name, value, rule):
    levels = np.full(bars.shape, 0.1)
    levels[7, 1] = value
    with pytest.raises(InputError, match=f"plan: {name} at row 7, symbol 1 is .*{rule}") as caught:
        Plan(np.zeros(bars.shape), **{name: levels})
    assert caught.value.cell == (7, 1, name)
    with pytest.raises(InputError, match=rf"plan: {name} has shape \(3, 2\), aim"):
        Plan(np.zeros(bars.shape), **{name: np.full((3, 2), 0.1)})


def test_every_part_is_sliced_and_changed_alike():
    rng = np.random.default_rng(1)
    plan = Plan(**{name: rng.random((5, 3)) for name in PARTS})
    for name in PARTS:
        np.testing.assert_array_equal(getattr(plan[1:3], name), getattr(plan, name)[1:3])
        np.testing.assert_array_equal(getattr(plan.map(lambda part: part[:, ::-1]), name), getattr(plan, name)[:, ::-1])


@pytest.mark.parametrize("aim", [0.5, [0.5, np.nan], np.zeros((1, 1, 1, 1))])
def test_a_plan_of_another_shape_is_refused(aim):
    with pytest.raises(InputError, match=r"it must be \(bars, symbols\)"):
        Plan(aim)


def test_regression_a_table_is_read_by_its_names(bars):
    """The columns of a frame were taken in their order: "all in S0" bought S2."""
    weights = np.random.default_rng(0).uniform(0, 0.3, bars.shape)
    table = pd.DataFrame(weights, index=bars.index, columns=list(bars.symbols))
    expected = simulate(bars, weights).equity
    for given in (table, table[table.columns[::-1]], table.iloc[::-1]):
        np.testing.assert_array_equal(simulate(bars, given).equity, expected)
        np.testing.assert_array_equal(Ledger.of(bars, given).account["equity"], expected[0])
        np.testing.assert_array_equal(Plan.of(given, bars).aim, weights)
    with pytest.raises(InputError, match="differ in the symbol S1"):
        simulate(bars, table.rename(columns={"S1": "S9"}))
    with pytest.raises(InputError, match="differ in the time 20"):
        simulate(bars, table.iloc[1:])
    with pytest.raises(InputError, match=r"aim is a table; Plan.of\(table, bars\) reads it"):
        Plan(table)
