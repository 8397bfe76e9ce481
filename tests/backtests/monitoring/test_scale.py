import numpy as np
import pytest

from backtests.monitoring.scale import Scale, clipped


def test_weights_halve_with_each_half_life():
    scale = Scale(1.0, half_life=2.0)
    scale.add(3.0)
    assert scale.variance == pytest.approx(0.5**0.5 + (1 - 0.5**0.5) * 9)
    scale.add(3.0)
    assert scale.variance == pytest.approx(0.5 * 1 + 0.5 * 9)
    assert scale.value == pytest.approx(np.sqrt(5))


def test_nothing_held_says_nothing_of_the_volatility():
    scale = Scale(4.0)
    scale.add(0.0)
    assert scale.variance == 4.0
    many = Scale(np.array([4.0, 4.0]))
    many.add(np.array([0.0, 1.0]))
    assert many.variance[0] == 4.0
    assert many.variance[1] < 4.0


def test_clipping_is_symmetric():
    assert clipped(7.0, 4.0) == 4.0
    assert clipped(-7.0, 4.0) == -4.0
    assert clipped(0.3, 4.0) == 0.3
