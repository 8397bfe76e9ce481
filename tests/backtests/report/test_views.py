import numpy as np
import pytest
from unpacking import unpacked

from backtests import walk_forward
from backtests.report.compact import Clock
from backtests.report.views import BINS, Detail, even_rows, histograms, largest_symbols, view
from strategies import EqualWeight, Momentum


@pytest.fixture(scope="module")
def result(bars):
    return walk_forward([EqualWeight(), Momentum(50)], bars[1000:], progress=False)


@pytest.fixture(scope="module")
def seen(result):
    detail = Detail.of(2, 3)
    return view(result[1], result, Clock.of(result.bars.index), detail, [0, 1, 2])


def test_curves_end_where_the_account_does(result, seen):
    assert 10 ** unpacked(seen["equity"])[-1] == pytest.approx(result[1].metrics["total return"] + 1, rel=1e-4)
    assert unpacked(seen["drawdown"]).min() == pytest.approx(-result[1].metrics["max drawdown"], rel=1e-4)


def test_weights_are_those_held(result, seen):
    rows = even_rows(len(result.bars), Detail.of(2, 3).cells)
    held = unpacked(seen["weights"]).reshape(3, -1)
    np.testing.assert_allclose(held, result[1].weights[rows].T, atol=1e-5)


def test_months_multiply_to_the_years_and_years_to_the_whole(result, seen):
    years = dict(seen["years"])
    for year, row in zip(seen["months"]["years"], seen["months"]["values"], strict=True):
        assert np.prod([1 + v for v in row if v is not None]) - 1 == pytest.approx(years[year], abs=1e-4)
    assert np.prod([1 + v for v in years.values()]) == pytest.approx(1 + result[1].metrics["total return"], rel=1e-3)


def test_histograms_count_every_return_once(result):
    found = histograms(result)
    assert [sum(counts) for counts in found["counts"]] == [len(b.returns) for b in result]
    assert all(len(counts) == BINS for counts in found["counts"])
    assert found["std"][0] == pytest.approx(result[0].returns.std(ddof=1), rel=1e-4)


def test_more_strategies_and_symbols_are_drawn_less_finely():
    few, many = Detail.of(1, 3), Detail.of(40, 500)
    assert few.columns > many.columns
    assert few.orders > many.orders
    assert (few.symbols, many.symbols) == (3, 24)


def test_the_largest_symbols_come_in_the_order_of_the_bars(result):
    size = sum(np.abs(b.weights).mean(axis=0) for b in result)
    assert largest_symbols(result, 2) == sorted(np.argsort(-size)[:2])
    assert largest_symbols(result, 3) == [0, 1, 2]


def test_even_rows_hold_the_first_and_the_last():
    np.testing.assert_array_equal(even_rows(9, 3), [0, 4, 8])
    np.testing.assert_array_equal(even_rows(3, 100), [0, 1, 2])
