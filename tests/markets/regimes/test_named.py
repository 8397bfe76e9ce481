import pytest

from markets import InputError
from markets.regimes.named import DETECTORS, detector_from_name


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_has_a_name(name):
    assert type(detector_from_name(name)) is DETECTORS[name]
    assert detector_from_name(name, 2).n_regimes == 2


def test_an_odd_number_of_volatility_regimes_has_no_trend():
    assert detector_from_name("volatility", 3).trend == 0
    assert detector_from_name("volatility", 4).trend > 0


def test_what_is_no_detector():
    with pytest.raises(InputError, match="detector 'tea leaves' is unknown; use hmm"):
        detector_from_name("tea leaves")
