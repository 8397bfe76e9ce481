from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from markets import InputError
from markets.common.pages import COLOURS, figure_html, plotly_script, rows_to_draw, segments_to_draw, table, write_page


def test_a_page_is_whole_and_its_title_is_text(tmp_path):
    path = write_page(tmp_path / "a.html", "A <b> & C", "<p>body</p>", "p{margin:0}")
    text = path.read_text(encoding="utf-8")
    assert "<title>A &lt;b&gt; &amp; C</title>" in text
    assert text.endswith("<p>body</p>")
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]  # nothing is left beside it


def test_a_page_is_light_or_dark_and_can_be_switched(tmp_path):
    text = write_page(tmp_path / "a.html", "t", "").read_text(encoding="utf-8")
    assert "color-scheme:light dark" in text
    assert "<button id=theme" in text
    assert "@media print" in text


def test_a_figure_is_drawn_by_a_script_that_the_page_holds_once():
    import plotly.graph_objects as go

    script = plotly_script()
    assert len(script) < 1.6e6
    assert script.count("</script") == 1  # nothing within would end it
    assert "Licensed under the MIT license" in script
    text = figure_html(go.Figure(go.Scatter(y=[1, 2])), "curves", displayModeBar=False)
    assert 'id="curves"' in text
    assert "plotly.js" not in text
    assert COLOURS[0] in text
    assert '"modeBarButtonsToRemove": ["sendChartToCloud"]' in text  # data stay here
    assert '"displayModeBar": false' in text


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"b\.html: the page cannot be written \(No such file or directory\)"):
        write_page(tmp_path / "no" / "b.html", "title", "")


def test_a_table_escapes_its_texts_and_scrolls():
    found = table(
        ["a<b", "n"],
        [["x & y", "1"]],
        titles={"n": 'the "count"'},
        row_classes=["error"],
        column_classes={"n": "number"},
    )
    assert found.startswith("<div class=wide><table>")
    assert "<th>a&lt;b</th>" in found
    assert '<th class="number" title="the &quot;count&quot;">n</th>' in found
    assert '<tr class=error><td>x &amp; y</td><td class="number">1</td></tr>' in found


def minutes(bars):
    return pd.date_range("2020-01-01", periods=bars, freq="min")


def test_a_curve_keeps_the_lowest_and_highest_of_each_column():
    values = np.random.default_rng(0).standard_normal(100_000).cumsum()
    rows = rows_to_draw(minutes(len(values)), values, 500)
    assert len(rows) <= 2000
    assert (np.diff(rows) > 0).all()
    assert {0, len(values) - 1} <= set(rows)
    columns = np.minimum(np.arange(len(values)) * 500 // (len(values) - 1), 499)
    whole, kept = pd.Series(values).groupby(columns), pd.Series(values[rows]).groupby(columns[rows])
    for figure in ("first", "min", "max", "last"):
        np.testing.assert_array_equal(getattr(kept, figure)(), getattr(whole, figure)())


def test_a_curve_that_fits_the_screen_is_drawn_whole():
    np.testing.assert_array_equal(rows_to_draw(minutes(400), np.zeros(400), 100), np.arange(400))


def test_columns_are_of_equal_time_not_of_equally_many_bars():
    index = pd.date_range("2000", periods=5000, freq="D").append(
        pd.date_range("2013-12-01", periods=50_000, freq="min")
    )
    rows = rows_to_draw(index.sort_values(), np.random.default_rng(0).standard_normal(55_000), 1000)
    assert (index.sort_values()[rows] < "2013-11").sum() > 3000


def test_a_gap_of_a_curve_stays_a_gap():
    values = np.random.default_rng(0).standard_normal(10_000)
    values[3000:6000] = np.nan
    values[::7] = np.nan  # too short to be seen
    shown = values[rows_to_draw(minutes(len(values)), values, 100)]
    gap = np.flatnonzero(np.isnan(shown))
    assert 28 <= len(gap) <= 30
    assert (np.diff(gap) == 1).all()


def test_segments_cover_every_row_once():
    labels = np.array([0, 0, 1, 1, 1, 0, 2])
    assert segments_to_draw(minutes(7), labels) == [(0, 2, 0), (2, 5, 1), (5, 6, 0), (6, 7, 2)]
    assert segments_to_draw(minutes(1), labels[:1]) == [(0, 1, 0)]
    assert segments_to_draw(minutes(0), labels[:0]) == []
    labels = (np.random.default_rng(0).random(100_000) < np.repeat([0.1, 0.9, 0.1, 0.9], 25_000)).astype(int)
    merged = segments_to_draw(minutes(100_000), labels, 200)
    assert [label for _, _, label in merged] == [0, 1, 0, 1]
    assert merged[0][0] == 0
    assert merged[-1][1] == 100_000
    assert all(a[1] == b[0] for a, b in pairwise(merged))
