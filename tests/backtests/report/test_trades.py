import base64

import numpy as np
import pytest
from unpacking import unpacked

from backtests import walk_forward
from backtests.report.compact import Clock
from backtests.report.trades import largest_trades, prices
from strategies import EqualWeight, Momentum


@pytest.fixture(scope="module")
def result(stocks):
    return walk_forward([Momentum(20), EqualWeight()], stocks["2021":], progress=False)


def test_they_are_the_ledgers_largest(result):
    clock = Clock.of(result.bars.index)
    found = largest_trades(result, "momentum 20", clock, [3, 7], 12)
    trades = result.ledger("momentum 20").trades
    equity = dict(zip(result.bars.index, np.append(np.nan, result[0].equity[:-1]), strict=True))
    for k, held in zip([3, 7], found, strict=True):
        mine = trades[trades["symbol"] == result.bars.symbols[k]]
        share = mine["value"] / mine["time"].map(equity)
        kept = share.abs().nlargest(12).index.sort_values()
        assert held["of"] == len(mine)
        np.testing.assert_allclose(unpacked(held["sizes"]), share[kept], atol=1e-5)
        np.testing.assert_allclose(unpacked(held["prices"]), mine["price"][kept], rtol=1e-4)
        offsets = np.frombuffer(base64.b64decode(held["times"]["b"]), "<u2")
        np.testing.assert_array_equal(offsets, clock.offsets[result.bars.index.get_indexer(mine["time"][kept])])


def test_a_symbol_that_was_never_traded_has_none(result, bars):
    clock = Clock.of(result.bars.index)
    found = largest_trades(result, "momentum 20", clock, [0], 0)
    assert unpacked(found[0]["sizes"]).size == 0
    assert found[0]["of"] > 0


def test_prices_are_the_marks(result):
    (found,) = prices(result, Clock.of(result.bars.index), [5], 1000)
    assert found["symbol"] == result.bars.symbols[5]
    np.testing.assert_allclose(unpacked(found["price"]), result.bars.close[:, 5], rtol=1e-4)
