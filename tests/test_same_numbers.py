"""The page, the terminal, MLflow and the Python object say the same: tables are found by their heads, wherever they stand."""

import os
from html.parser import HTMLParser
from unittest import mock

import pandas as pd
import pytest
import samples
from command import call

from backtests import walk_forward
from backtests.metrics import HEADS, METRICS, SHORT, formatted
from markets import load
from strategies import EqualWeight, InverseVolatility, Momentum

RULES = ("equal_weight", "inverse_volatility:20", "momentum:50")


class Tables(HTMLParser):
    """The tables of a page, each as rows of texts; the first row is the heads."""

    def __init__(self, page: str):
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._cell: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables:
            self._cell = []

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None


def metric_of(head: str) -> str | None:
    """The metric that a head of a column stands for, with its unit or without."""
    names = {" ".join(HEADS.get(name, name).split()): name for name in METRICS} | {name: name for name in METRICS}
    return names.get(head)


def tables_of_strategies(page: str, names: list[str]) -> list[dict[str, dict[str, str]]]:
    """{strategy: {metric: text}} of each table of the page with a row for each strategy and a metric as a head."""
    found = []
    for heads, *rows in (table for table in Tables(page).tables if table):
        by_name = {name: row for name in names for row in rows if row and row[0].split(" (")[0] == name}
        metrics = {k: metric for k, head in enumerate(heads) if (metric := metric_of(head))}
        if len(by_name) == len(names) and metrics:
            found.append({name: {m: row[k] for k, m in metrics.items()} for name, row in by_name.items()})
    return found


def table_of_terminal(text: str, names: list[str]) -> dict[str, dict[str, str]]:
    """{strategy: {metric: text}} of a printed table; heads are above the ends of their columns, on several lines."""
    lines = text.splitlines()
    rule = next(i for i, line in enumerate(lines) if set(line.strip()) == {"─"})
    first = next(line for line in lines[rule + 1 :] if line.strip().startswith(names[0]))
    cells = first.strip().removeprefix(names[0]).split()
    ends, at = [], first.index(names[0]) + len(names[0])
    for cell in cells:
        at = first.index(cell, at) + len(cell)
        ends.append(at)
    starts = [first.index(names[0]) + max(map(len, names)), *ends]
    above = []
    while rule and "," not in lines[rule - 1]:  # up to the title
        rule -= 1
        above.insert(0, lines[rule])
    heads = [" ".join(" ".join(line[a:b] for line in above).split()) for a, b in zip(starts, ends, strict=False)]
    return {
        name: dict(zip(map(metric_of, heads), line.strip().removeprefix(name).split(), strict=True))
        for name in names
        for line in lines
        if line.strip().startswith(f"{name} ") and len(line.strip().removeprefix(name).split()) == len(heads)
    }


@pytest.fixture(scope="module")
def backtest(tmp_path_factory):
    """The folder of a backtest, what it printed, and its result in Python."""
    folder = tmp_path_factory.mktemp("numbers")
    bars = samples.regime_bars(1500, 3, seed=1)
    pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=list(bars.symbols)).to_csv(folder / "my.csv")
    done = call("backtest", "my.csv", "--rules", *RULES, "--start", "2003", cwd=folder)
    assert done.returncode == 0, done.stderr
    rules = [EqualWeight(), InverseVolatility(20), Momentum(50)]
    return folder, done.stdout, walk_forward(rules, load(folder / "my.csv")["2003":], costs="10bp", progress=False)


def test_the_page_says_what_the_object_says(backtest):
    folder, _, result = backtest
    table = result.table()
    found = tables_of_strategies((folder / "report.html").read_text(), list(table.index))
    assert {metric for each in found for row in each.values() for metric in row} >= set(METRICS), "all have a column"
    text = formatted(table)
    for each in found:
        for name, row in each.items():
            for metric, cell in row.items():
                assert cell == text.loc[name, metric], (name, metric)


def test_the_terminal_says_what_the_object_says(backtest):
    _, printed, result = backtest
    table = result.table()
    text, found = formatted(table), table_of_terminal(printed, list(table.index))
    assert set(found) == set(table.index)
    for name, row in found.items():
        assert set(row) == set(SHORT)
        assert row == {metric: text.loc[name, metric] for metric in SHORT}


def test_mlflow_keeps_what_the_object_says_to_the_last_bit(backtest):
    folder, _, result = backtest
    import mlflow

    address = f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}"
    with mock.patch.dict(os.environ):  # MLflow writes the address into it
        client = mlflow.MlflowClient(tracking_uri=address)
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        runs = {run.info.run_name: run.data.metrics for run in client.search_runs(ids)}
    for name, metrics in result.table().iterrows():
        kept = next(values for run, values in runs.items() if run == name or run.startswith(f"{name} ("))
        for metric, value in metrics.dropna().items():
            assert kept[metric.lower().replace(" ", "_")] == value, (name, metric)
