import pytest

from markets.regimes.base import regime_names
from markets.regimes.colours import shade


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_from_blue_to_orange_whatever_the_number_of_regimes(count):
    names = regime_names(count)
    colours = [shade(name, names) for name in names]
    assert colours[0] == "rgb(208,226,242)"
    assert colours[-1] == "rgb(244,180,140)" or count == 1
    assert len(set(colours)) == count


def test_regression_a_name_has_one_colour_however_many_regimes_there_are():
    for name in ("calm", "normal", "nervous", "crisis"):
        assert len({shade(name, regime_names(k)) for k in (2, 3, 4) if name in regime_names(k)}) == 1


def test_rising_has_the_colour_of_its_level_and_falling_is_darker():
    names = ("calm rising", "calm falling", "crisis rising", "crisis falling")
    colours = [shade(name, names) for name in names]
    assert len(set(colours)) == 4
    assert colours[0] == shade("calm", ("calm", "crisis"))
    assert colours[2] == shade("crisis", ("calm", "crisis"))
