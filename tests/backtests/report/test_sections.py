import pandas as pd
import pytest

from backtests.report.sections import section_html, write_sections
from backtests.section import Section


def section(table):
    def draw():
        import plotly.graph_objects as go

        return go.Figure(go.Bar(y=[1, 2]))

    return Section("Title", "Finding.", "This.", "That.", table, draw)


def test_a_page_of_sections_holds_the_plots_script_once(tmp_path):
    figures = pd.DataFrame({"n": [1, 2]}, index=["a", "b"])
    path = write_sections([section(figures), section(figures)], tmp_path / "s.html", "Two")
    text = path.read_text()
    assert text.count("plotly.js (cartesian") == 1
    assert text.count("Plotly.newPlot(") >= 2
    assert text.index("section-0") < text.index("section-1")
    assert "<h1>Two</h1>" in text
    assert path.stat().st_size < 1.8e6


@pytest.mark.parametrize(
    ("table", "heads"),
    [
        (pd.DataFrame({"n": [1]}, index=["a"]), "<th></th><th>n</th>"),
        (pd.DataFrame({"n": [1]}, index=pd.Index([5], name="fast")), "<th>fast</th><th>n</th>"),
        (pd.DataFrame({"fast": [5], "slow": [50], "n": [1]}).set_index(["fast", "slow"]), "<th>fast</th><th>slow</th><th>n</th>"),
        (pd.DataFrame({"n": [1]}), "<thead><tr><th>n</th>"),
    ],
)  # fmt: skip
def test_the_index_of_a_table_is_shown_if_it_says_something(table, heads):
    assert heads in section_html(section(table), "s")


def test_a_long_table_is_folded_and_an_empty_one_is_left_out():
    assert "<details><summary>13 rows of figures</summary>" in section_html(
        section(pd.DataFrame({"n": range(13)})), "s"
    )
    empty = section_html(section(pd.DataFrame()), "s")
    assert "<table" not in empty
    assert "Plotly" not in empty
