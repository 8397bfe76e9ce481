import pytest

from markets import InputError, RegimeDetector
from markets.common.kinds import find, register


def one():
    class Same:
        pass

    return Same


def other():
    class Same:
        pass

    return Same


def test_a_class_may_be_defined_again_but_not_another_of_its_name():
    kinds = {}
    register(kinds, "Same", one(), "things")
    again = one()
    register(kinds, "Same", again, "things")
    assert kinds["Same"] is again
    with pytest.raises(TypeError, match="there are two things called Same"):
        register(kinds, "Same", other(), "things")


def test_an_unknown_name_asks_for_the_import():
    with pytest.raises(InputError, match=r"thing 'Mine' is not known .*import the module that defines it first"):
        find({"Same": one()}, "Mine", "thing")


def test_regression_a_detector_of_a_taken_name_is_refused():
    """It silently took over: detectors saved before could not be read."""
    with pytest.raises(TypeError, match="two detectors called HiddenMarkovRegimes"):
        type("HiddenMarkovRegimes", (RegimeDetector,), {"__module__": "mine"})
