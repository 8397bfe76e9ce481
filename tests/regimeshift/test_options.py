import pytest
from command import call, refused

from markets import Costs, Execution, InputError
from regimeshift.commands.train import Train
from regimeshift.options import DataOptions, TradingOptions, processors, words


def test_regression_costs_of_zero_are_costs():
    assert Costs.parse("0") == Costs()
    assert TradingOptions(costs="0").charged() == Costs()
    for wrong in ("0.1", "ten", "-1bp", ""):  # without its unit, 0.1 may be a fraction or per cent
        with pytest.raises(InputError, match="with the unit"):
            Costs.parse(wrong)


def test_options_are_the_costs_and_limits_of_the_library():
    given = TradingOptions(
        costs="2bp",
        spread="4bp",
        slippage="3bp",
        borrow="5%",
        short_fee="0.5%",
        leverage=2.0,
        long_only=True,
        cash=5e3,
    )
    costs = given.charged()
    assert costs.commission == pytest.approx(2e-4)
    assert costs.spread == pytest.approx(
        4e-4 + 2 * 3e-4
    )  # both sides lose the slippage; each side pays half the spread
    assert (costs.financing_rate, costs.borrow_rate) == (pytest.approx(0.05), pytest.approx(0.005))
    for wanted in (TradingOptions(costs="1bp+quoted"), TradingOptions(costs="1bp", spread="quoted", slippage="0")):
        assert wanted.charged() == Costs(commission=1e-4, spread="quoted")
    both = TradingOptions(costs="quoted", spread="quoted", slippage="3bp").charged()
    assert (both.spread, both.quoted) == (pytest.approx(6e-4), 1.0)  # asked for twice, it is charged once
    assert given.limits() == Execution(gross=2.0, borrowing=True, long_only=True, cash=5e3)
    assert TradingOptions().limits() == Execution()
    with pytest.raises(InputError, match="--slippage 'much': write 10bp"):
        TradingOptions(slippage="much").charged()
    with pytest.raises(InputError, match="--leverage 0: it must be above 0"):
        TradingOptions(leverage=0).limits()


def test_what_differs_from_the_defaults_becomes_words():
    given = Train(symbols=("A", "B C"), start="2001", leverage=2.0, long_only=True)
    assert words(given, DataOptions, leave=("start",)) == ["--symbols", "A", "B C"]
    assert words(given, TradingOptions) == ["--leverage", "2.0", "--long-only"]


READERS = ("demo", "data show", "data check", "regimes", "train", "adapt", "backtest", "check lookahead")


@pytest.mark.parametrize("command", READERS)
def test_regression_symbols_and_spans_are_options_of_every_command_that_reads_data(command, tmp_path):
    text = call(*command.split(), "--help", cwd=tmp_path).stdout
    for option in ("--symbols", "--start", "--end"):
        assert option in text


@pytest.mark.parametrize("command", ["demo", "train", "backtest"])
def test_costs_and_limits_are_options_where_one_trades(command, tmp_path):
    text = call(command, "--help", cwd=tmp_path).stdout
    for option in (
        "--costs",
        "--spread",
        "--slippage",
        "--leverage",
        "--borrow",
        "--short-fee",
        "--cash",
        "--long-only",
    ):
        assert option in text


def test_bars_before_the_start_are_history_and_bars_after_the_end_are_gone(tmp_path):
    options = DataOptions(symbols=("MSFT", "AAPL"), start="2008", end="2009")
    bars = options.load("stocks")
    assert bars.symbols == ("MSFT", "AAPL")
    assert str(bars.index[0]) == "2008-01-02 00:00:00"
    assert str(bars.with_past().index[-1])[:10] == "2009-12-31"
    assert bars.past > 4000
    refused(call("data", "stocks", "--symbols", "NOPE", cwd=tmp_path), "'NOPE'")
    refused(call("data", "stocks", "--start", "2035", cwd=tmp_path), "no bars from 2035")
    refused(call("train", "stocks", "--end", "soon", cwd=tmp_path), "'soon' is not a time")


@pytest.mark.parametrize("words", [("backtest",), ("sweep", "--grid", "fast=5", "slow=50"), ("robustness",)])
def test_regression_no_processors_are_refused_before_anything_is_read(tmp_path, words):
    """Joblib's ValueError came as a traceback, after the data were read and the regimes fitted."""
    command, *rest = words
    done = call(command, "not_there.csv", *rest, "--jobs", 0, cwd=tmp_path)
    refused(done, "--jobs 0: it must be at least 1, or -1 for all processors")
    assert [processors(jobs) for jobs in (None, 1, -1)] == [None, 1, -1]
