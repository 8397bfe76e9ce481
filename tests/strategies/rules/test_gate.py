import causal
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from markets import HiddenMarkovRegimes, InputError
from strategies import EqualWeight, Gate, InverseVolatility, Momentum, RegimeGated, stored
from strategies.rules.gate import gate_weights

PARTS = (EqualWeight(), Momentum(20))
MIX = np.array([[0.9, 0.2], [0.4, 2.0]])


@pytest.fixture(scope="module")
def fitted(bars):
    return HiddenMarkovRegimes(2, restarts=2).fit(bars[:700])


@st.composite
def gates(draw):
    regimes = draw(st.integers(2, 4))
    shape = (regimes, regimes)
    mix = np.array(draw(st.lists(st.floats(1e-3, 10), min_size=regimes**2, max_size=regimes**2))).reshape(shape)
    return Gate(mix, draw(st.floats(0, 4)), draw(st.floats(0, 1)))


@st.composite
def chances(draw, regimes):
    p = np.array(draw(st.lists(st.floats(0, 1), min_size=regimes, max_size=regimes))) + 1e-12
    return (p / p.sum())[None]


@given(st.data(), gates())
def test_weights_are_shares_of_one_and_the_same_for_tensors(data, gate):
    p = data.draw(chances(len(gate.mix)))
    weights = gate.weights(p)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    of_tensors = gate_weights(torch.from_numpy(p), torch.from_numpy(gate.mix), gate.sharpness, gate.share)
    np.testing.assert_allclose(of_tensors.numpy(), weights, rtol=1e-12)


@given(st.data(), st.integers(2, 4), st.floats(0.1, 10))
def test_what_the_parameters_stand_for(data, regimes, factor):
    p, mix = data.draw(chances(regimes)), np.eye(regimes) + 0.1
    np.testing.assert_array_equal(Gate.identity(regimes).weights(p), p)
    np.testing.assert_allclose(Gate(np.eye(regimes)).weights(p), p)
    np.testing.assert_allclose(Gate(factor * mix).weights(p), Gate(mix).weights(p))
    one = Gate(np.tile(mix[:1], (regimes, 1)), sharpness=0.0)  # whatever the regime
    np.testing.assert_array_equal(one.weights(p), one.weights(np.full((1, regimes), 1 / regimes)))
    if np.sort(p[0])[-1] > 1.2 * np.sort(p[0])[-2]:
        np.testing.assert_array_equal(Gate(np.eye(regimes), 200.0).weights(p).round(6), p == p.max())


def test_the_transition_matrix_makes_it_the_forecast(bars, fitted):
    p = fitted.filter(bars).probabilities
    np.testing.assert_allclose(Gate(fitted.transition).weights(p), p @ fitted.transition)


def test_the_identity_gate_is_regime_gated_to_the_bit(bars, fitted):
    plain = RegimeGated(fitted, PARTS, refit=False).plan(bars)
    gated = RegimeGated(fitted, PARTS, refit=False, gate=Gate.identity(2)).plan(bars)
    np.testing.assert_array_equal(gated.aim, plain.aim)


def test_a_gate_weighs_any_number_of_strategies(bars, fitted):
    parts = (*PARTS, InverseVolatility(20))
    gate = Gate(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
    gated = RegimeGated(fitted, parts, refit=False, gate=gate)
    weights = gated.weights(bars[700:])
    np.testing.assert_allclose(weights[:, 2], 0.5)
    expected = sum(w[:, None] * s.plan(bars[700:]).aim for w, s in zip(weights.T, parts, strict=True))
    np.testing.assert_allclose(gated.plan(bars[700:]).aim, expected)


def test_a_row_is_the_same_wherever_the_bars_begin(bars, fitted):
    causal.wherever_bars_begin(RegimeGated(fitted, PARTS, refit=False, gate=Gate(MIX, 2.0)), bars, 703, 760)


def test_a_gate_is_stored_with_its_strategy(bars, fitted, tmp_path):
    gated = RegimeGated(fitted, PARTS, refit=False, gate=Gate(MIX, 1.7, 0.4))
    found = stored.load(stored.save(gated, tmp_path / "s"))
    np.testing.assert_array_equal(found.plan(bars).aim, gated.plan(bars).aim)
    other = RegimeGated(fitted, PARTS, refit=False, gate=Gate(MIX, 1.7, 0.5))
    assert stored.fingerprint(found) == stored.fingerprint(gated) != stored.fingerprint(other)
    assert "gate" not in stored.settings_of(RegimeGated(fitted, PARTS, refit=False))  # known by the files of before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mix": np.ones(2)}, "a row for each regime"),
        ({"mix": -np.eye(2)}, "of at least 0"),
        ({"mix": np.array([[1.0, 0.0], [0.0, 0.0]])}, "not all 0"),
        ({"mix": np.eye(2), "sharpness": -1.0}, "sharpness is -1.0"),
        ({"mix": np.eye(2), "share": 1.5}, "share 1.5"),
        ({"mix": np.ones((2, 3)), "share": 0.5}, "with 3 experts for 2 regimes, share must be 1"),
    ],
)
def test_settings_are_checked(settings, words):
    with pytest.raises(InputError, match=words):
        Gate(**settings)


def test_a_gate_for_others_is_refused(fitted):
    with pytest.raises(InputError, match="for 3 regimes and 3 strategies; there are 2 and 2"):
        RegimeGated(fitted, PARTS, refit=False, gate=Gate.identity(3))
