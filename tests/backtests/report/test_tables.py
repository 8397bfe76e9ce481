from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtests import walk_forward
from backtests.metrics import against, by_regime, by_year, drawdowns, formatted
from backtests.report.tables import short_table, strategies_table, switched
from backtests.results import Event, Fold
from markets import HiddenMarkovRegimes
from strategies import EqualWeight, Momentum


@pytest.fixture(scope="module")
def result(bars):
    regimes = HiddenMarkovRegimes(2, restarts=2).fit(bars[:900])
    return walk_forward([EqualWeight(), Momentum(50)], bars[900:], regimes=regimes.filter(bars[900:]), progress=False)


def test_switched_tables_hold_the_figures_of_the_metrics(result):
    tables, backtest = switched(result), result[1]
    deepest = drawdowns(backtest).iloc[0]
    assert tables["drawdowns"]["rows"][1][0][:2] == [f"{deepest['depth']:.1%}", f"{deepest['start']:%Y-%m-%d}"]
    regimes = formatted(by_regime(backtest, result.regimes)[["Sharpe"]])["Sharpe"]
    column = tables["regimes"]["heads"].index("Sharpe")
    assert [row[column] for row in tables["regimes"]["rows"][1]] == list(regimes)
    years = formatted(by_year(backtest)[["total return"]])["total return"]
    assert [row[1] for row in tables["by-year"]["rows"][1]] == list(years)
    beta = against(backtest, result[0])["beta"]
    assert tables["against"]["rows"][1][0][tables["against"]["heads"].index("beta")] == f"{beta:.2f}"


def test_the_benchmark_is_not_compared_with_itself(result):
    assert switched(result)["against"]["rows"][0] == []


def test_without_regimes_their_table_is_empty(result):
    assert switched(replace(result, regimes=None))["regimes"]["rows"] == [[], []]


def test_adaptations_that_changed_nothing_are_counted_and_others_are_shown(result):
    days = result.bars.index
    events = (
        Event(days[0], "adapted"),
        Event(days[1], "adapted", 0.0),
        Event(days[2], "adapted", 0.25, "S1", 0.1, 0.35),
        Event(days[3], "adapted", 0.0),
    )
    folds = (Fold((days[0], days[9]), trained_until=None, adapted_until=days[3]),)
    backtest = replace(result[1], events=events, folds=folds)
    tables = switched(replace(result, backtests=(result[0], backtest)))
    assert tables["events"]["rows"][1] == [
        [f"{days[0]:%Y-%m-%d}", "adapted, the first"],
        [f"{days[2]:%Y-%m-%d}", "adapted: S1 10.0% → 35.0%, 25.0% of equity in all"],
        ["others", "2 adaptations changed nothing"],
    ]
    assert tables["folds"]["rows"][1][0] == [f"{days[i]:%Y-%m-%d}" if i is not None else "–" for i in (0, 9, None, 3)]


def test_heads_say_their_unit_and_explain_themselves(result):
    text = short_table(result, None)
    assert ">CAGR per year</th>" in text
    assert 'title="largest fall of equity from its running maximum' in text
    assert len(strategies_table(result, None)) > len(text)


def test_metrics_that_are_not_defined_are_dashes(result):
    still = replace(result[1], equity=np.full(len(result.bars), 1e6))
    text = short_table(replace(result, backtests=(result[0], still)), None)
    assert "<td>–</td>" in text
    assert isinstance(result.table(), pd.DataFrame)
