import numpy as np
import pandas as pd
import pytest

from backtests.robustness import Case, numeric_parameters, perturb_parameters
from backtests.sweeps import Optimised
from markets import Bars, InputError
from strategies import Blend, EqualWeight, InverseVolatility, Momentum, Plan, ResidualMomentum, Reversal, Strategy


class Clock(Strategy):
    """Holds during the first half of each `period` of the calendar: right if the market has that period, and for no other."""

    def __init__(self, period: int = 20):
        if period < 2:
            raise InputError(f"period is {period}; it must be at least 2")
        self.period, self.name = period, f"clock {period}"

    def plan(self, bars: Bars) -> Plan:
        day = np.arange(bars.past, bars.past + len(bars)) + 1  # a decision is filled a bar later
        return Plan(np.repeat((day % self.period < self.period / 2)[:, None], bars.shape[1], axis=1) / bars.shape[1])


class Forgetful(Strategy):
    name = "forgetful"

    def __init__(self, window: int):
        self._length = window

    def plan(self, bars: Bars) -> Plan:
        return Plan(np.zeros(bars.shape))


@pytest.fixture(scope="module")
def waves():
    """Prices that rise for ten bars and fall for ten, with noise."""
    rng = np.random.default_rng(0)
    up = np.where(np.arange(1200) % 20 < 10, 0.01, -0.01)
    close = 100 * np.exp(np.cumsum(up[:, None] + rng.normal(0, 0.01, (1200, 2)), axis=0))
    return Bars.make(pd.bdate_range("2001-01-01", periods=1200), ["A", "B"], close, name="waves")


def test_an_over_fitted_parameter_stands_on_a_peak(waves):
    section = perturb_parameters(Case(Clock(20), waves, "0bp"), progress=False)
    found = section.table["Sharpe"].to_numpy()
    assert Case(Clock(20), waves, "0bp").value > 5
    assert found.max() < 2  # a step of a tenth already loses it
    assert f"ranks 1 of {len(found) + 1}" in section.finding
    worst = section.table.iloc[int(found.argmin())]
    assert f"the worst of 6 neighbours is period = {worst['value']}" in section.finding


def test_a_plateau_is_flat():
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(0.002 + rng.normal(0, 0.005, (800, 2)), axis=0))
    bars = Bars.make(pd.bdate_range("2001-01-01", periods=800), ["A", "B"], close)
    case = Case(Momentum(100), bars[200:])
    found = perturb_parameters(case, progress=False).table["Sharpe"].to_numpy()
    np.testing.assert_allclose(found, case.value, rtol=0.05)


def test_values_are_the_original_plus_or_minus_its_shares(bars):
    table = perturb_parameters(Case(Momentum(100), bars), progress=False).table
    assert table["value"].tolist() == ["50", "75", "90", "110", "125", "150"]
    np.testing.assert_allclose(table["change"], [-0.5, -0.25, -0.1, 0.1, 0.25, 0.5])
    for value, sharpe in zip(table["value"], table["Sharpe"], strict=True):
        assert sharpe == Case(Momentum(int(value)), bars).value


def test_parameters_of_strategies_inside_others_are_found():
    blend = Blend([Momentum(10), Blend([InverseVolatility(20, band=0.2), EqualWeight()])])
    found = {parameter.name: parameter for parameter in numeric_parameters(blend)}
    assert {name: parameter.value for name, parameter in found.items()} == {
        "parts[0].window": 10,
        "parts[1].parts[0].window": 20,
        "parts[1].parts[0].band": 0.2,
    }
    other = found["parts[1].parts[0].band"].build(0.5)
    assert other.parts[1].parts[0].band == 0.5
    assert other.parts[0].window == 10
    assert blend.parts[1].parts[0].band == 0.2


def test_regression_a_class_is_not_a_strategy_inside():
    """Walk-forward optimisation holds the class that it builds, whose parameters were asked for instead of its own."""
    optimised = Optimised(Momentum, {"window": [5, 20]}, train=100)
    assert [(p.name, p.value) for p in numeric_parameters(optimised)] == [("train", 100)]


def test_windows_of_a_tuple_change_together():
    (windows, _) = numeric_parameters(Reversal((10, 20)))
    assert windows.build((15, 30)).windows == (15, 30)
    names = [parameter.name for parameter in numeric_parameters(ResidualMomentum())]
    assert names == ["window", "skip", "halflife"]


def test_values_are_written_as_one_would(bars):
    table = perturb_parameters(Case(InverseVolatility(20), bars), values={"band": [0.1 * 1.1]}, progress=False).table
    assert table["value"].tolist() == ["0.11"]


def test_a_value_that_is_refused_is_said_to_be(bars):
    section = perturb_parameters(Case(Clock(2), bars), progress=False)
    assert section.table["Sharpe"].isna().sum() == 1
    assert section.finding.endswith("1 value could not be run.")


def test_values_and_the_maker_may_be_given(bars):
    case = Case(Momentum(50), bars)
    given = perturb_parameters(case, values={"window": [20, 50, 80]}, progress=False).table
    assert given["value"].tolist() == ["20", "80"]
    given_again = perturb_parameters(
        case, values={"bars": [20, 80]}, make=lambda bars: Momentum(bars), progress=False
    ).table
    np.testing.assert_array_equal(given_again["Sharpe"], given["Sharpe"])
    assert perturb_parameters(case, values={"bars": [20]}, make=lambda bars: Momentum(bars)).draw().data


def test_what_cannot_be_varied(bars):
    with pytest.raises(InputError, match="equal weight: no numeric parameter to vary; it has none"):
        perturb_parameters(Case(EqualWeight(), bars))
    with pytest.raises(InputError, match="no numeric parameter 'length'; it has window"):
        perturb_parameters(Case(Momentum(20), bars), values={"length": [1]})
    with pytest.raises(InputError, match=r"its argument window is not kept as an attribute.*keep it as self.window"):
        perturb_parameters(Case(Forgetful(3), bars))
    with pytest.raises(InputError, match="give values= too"):
        perturb_parameters(Case(Momentum(20), bars), make=Momentum)
    changed = Momentum(20)
    changed.plan = EqualWeight().plan
    with pytest.raises(InputError, match="it plans differently"):
        perturb_parameters(Case(changed, bars))
