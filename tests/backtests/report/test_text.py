import numpy as np
import pandas as pd
import pytest

from backtests.report.text import cell, texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("word", "word"), (None, "–"), (pd.NaT, "–"), (np.nan, "–"), (np.inf, "–"), (True, "yes"), (np.bool_(False), "no"),
        (pd.Timestamp("2020-01-02"), "2020-01-02"), (np.datetime64("2020-01-02T03:04"), "2020-01-02 03:04"),
        (12345, "12,345"), (np.int64(7), "7"), (0.0123456, "0.01235"), (1234.5, "1,234"),
        (np.float32(0.5), "0.5"), (0.00041, "0.00041"),
    ],
)  # fmt: skip
def test_each_kind_of_figure_has_one_form(value, text):
    assert cell(value) == text


def test_metrics_are_written_as_in_every_table():
    table = pd.DataFrame({"Sharpe": [0.666, np.nan], "max drawdown": [0.1234, 0.5], "p": [0.0412345, 1.0]})
    assert texts(table) == [["0.67", "12.3%", "0.04123"], ["–", "50.0%", "1"]]
    assert texts(pd.DataFrame()) == []


def test_a_column_with_the_name_of_a_metric_that_is_text_already_stays_as_it_is():
    table = pd.DataFrame({"certainty equivalent": ["1.0% [0.5%, 2.0%]"], "Sharpe": [0.666]})
    assert texts(table) == [["1.0% [0.5%, 2.0%]", "0.67"]]
