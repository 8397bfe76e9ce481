"""Orders in shares are those of the account, and a file of holdings is read or named."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtests.orders import Holdings, orders, read_holdings
from markets import Bars, Execution, InputError, Plan, simulate

SYMBOLS = ("A", "B", "C")
PRICES = np.array([10.0, 33.0, 250.0])


def answer(aim, band=(0, 0, 0), rate=(1, 1, 1)):
    return {"symbols": list(SYMBOLS), "target_weight": list(aim), "band": list(band), "rate": list(rate)}


fractions = st.tuples(*[st.floats(0, 1)] * 3)


@given(st.tuples(*[st.integers(0, 400)] * 3), fractions, fractions, fractions, st.sampled_from([1.0, 10.0]))
def test_orders_are_those_of_the_account(lots, weights, band, rate, lot):
    """An account that bought these lots and then decides so, in the simulator."""
    aim = np.array(weights) / max(sum(weights), 1)
    shares = np.array(lots) * lot
    equity = 100_000.0 + float(shares @ PRICES)
    bars = Bars.make(pd.bdate_range("2020-01-01", periods=3), SYMBOLS, np.tile(PRICES, (3, 1)))
    plan = Plan(
        np.array([shares * PRICES / equity, aim, aim]), np.array([np.zeros(3), band, band]), np.array([np.ones(3), rate, rate])
    )  # fmt: skip
    execution = Execution(sizing="whole_lots", lot=lot, cash=equity, fill="next_close")
    account = simulate(bars, plan, costs="0", execution=execution)
    np.testing.assert_array_equal(account.shares[0, 1], shares)
    held = Holdings(shares, 100_000.0)
    found = orders(answer(aim, band, rate), PRICES, held, "0", Execution(sizing="whole_lots", lot=lot))
    np.testing.assert_array_equal(found, account.shares[0, 2] - shares)


def test_positions_are_rounded_towards_zero_and_costs_are_left_in_cash():
    held = Holdings(np.zeros(3), 1000.0)
    np.testing.assert_array_equal(orders(answer([0.5, 0.2, 0.3]), PRICES, held, "0"), [50, 6, 1])
    np.testing.assert_array_equal(orders(answer([1, 0, 0]), PRICES, held, "0"), [100, 0, 0])
    np.testing.assert_array_equal(orders(answer([1, 0, 0]), PRICES, held, "10bp"), [99, 0, 0])
    short = Execution(sizing="whole_lots", gross=2, borrowing=True)
    np.testing.assert_array_equal(orders(answer([-0.195, 0, 0]), PRICES, held, "0", short), [-19, 0, 0])
    np.testing.assert_array_equal(orders(answer([2, 0, 0]), PRICES, held, "0"), [100, 0, 0])  # no more than there is


def test_what_is_left_alone_is_not_traded_and_flat_sells_all():
    held = Holdings(np.array([10.0, -3.0, 0.5]), 500.0)
    hold = answer([None] * 3, [None] * 3, [0.0] * 3)
    np.testing.assert_array_equal(orders(hold, PRICES, held), 0)
    np.testing.assert_array_equal(orders(answer([0, 0, 0]), PRICES, held), [-10, 3, -0.5])


def test_holdings_worth_nothing_are_refused():
    with pytest.raises(InputError, match="worth 0 at the last closes"):
        orders(answer([0, 0, 0]), PRICES, Holdings(np.zeros(3)))


def test_holdings_are_read_by_name(tmp_path):
    path = tmp_path / "held.csv"
    path.write_text("\ufeffSymbol, Shares\nC,2.5\n\ncash,1e3\nA,-7\n")
    found = read_holdings(path, SYMBOLS)
    assert found.shares.tolist() == [-7, 0, 2.5]
    assert found.cash == 1000
    np.testing.assert_allclose(found.weights(PRICES), np.array([-70, 0, 625]) / 1555)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("", "its first row must be symbol,shares"),
        ("A,1\n", "its first row must be symbol,shares"),
        ("symbol,shares\nX,1\n", "row 2: the model knows nothing of 'X'; leave out"),
        ("symbol,shares\nA,1\nA,2\n", "row 3: A appears twice"),
        ("symbol,shares\nA,many\n", "row 2: 'many' is not a number of shares"),
        ("symbol,shares\nA,nan\n", "row 2: 'nan' is not a number"),
        ("symbol,shares\nA,inf\n", "row 2: 'inf' is not a number"),
        ("symbol,shares\nA\n", "row 2 has 1 cells"),
        ("symbol,shares\nA,1,000\n", "row 2 has 3 cells"),
    ],
)
def test_a_file_that_is_none_is_named(text, message, tmp_path):
    if text is not None:
        (tmp_path / "held.csv").write_text(text)
    with pytest.raises(InputError, match=message) as found:
        read_holdings(tmp_path / "held.csv", SYMBOLS)
    assert "held.csv" in str(found.value)
