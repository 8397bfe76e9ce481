import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import needs_browser, visit

from backtests import walk_forward
from backtests.metrics import METRICS, SHORT, formatted
from backtests.report.page import write_report
from backtests.section import Section
from markets import Bars, HiddenMarkovRegimes, InputError
from strategies import EqualWeight, InverseVolatility, Momentum

PLOTS = ("equity", "rolling", "weights", "trades", "turnover", "months", "years", "distribution")


@pytest.fixture(scope="module")
def result(bars):
    regimes = HiddenMarkovRegimes(3, restarts=2).fit(bars[:900])
    strategies = [EqualWeight(), Momentum(50), InverseVolatility()]
    return walk_forward(strategies, bars[900:], regimes=regimes.filter(bars[900:]), progress=False)


def costs_section():
    import plotly.graph_objects as go

    figures = pd.DataFrame({"factor": [1.0, 2.0], "Sharpe": [0.612345, 0.4]}, index=pd.Index(["as they are", "twice"]))
    return Section(
        "Costs <twice>", "It loses .2 of its Sharpe ratio.", "That costs matter.", "What they were.", figures,
        lambda: go.Figure(go.Bar(x=figures["factor"], y=figures["Sharpe"])),
    )  # fmt: skip


class Verdict:
    benchmark = "equal weight"
    finding = "None of 2 strategies is better than equal weight."

    def __init__(self, result):
        self.sentences = {b.name: f"verdict on {b.name}" for b in result}

    def section(self):
        return costs_section()


@pytest.fixture(scope="module")
def page(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "r.html"
    return write_report(result, path, notes=["a < b"], sections=[costs_section()], verdict=Verdict(result))


def payload(page):
    return json.loads(re.search(r"id=payload>(.*?)</script>", page.read_text(), re.DOTALL)[1])


def rows(text, start):
    """The first table after `start`: its heads, and its rows of text."""
    found = re.search(r"<table>(.*?)</table>", text[text.index(start) :], re.DOTALL)[1]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr[^>]*>(.*?)</tr>", found)]
    return cells[0], cells[1:]


def test_the_page_needs_no_network_and_says_what_was_done(page):
    text = page.read_text()
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="http', text)
    for words in (
        "equal weight",
        "momentum 50",
        "0.10% per side",
        "a &lt; b",
        "max drawdown",
        "regimes as they were seen live",
    ):
        assert words in text


def test_parts_stand_in_the_order_in_which_they_are_asked(page):
    text = page.read_text()
    order = ["id=verdict", *(f"id={name}" for name in ("equity", "rolling", "weights", "trades", "turnover", "months", "years")),
             "id=distribution", "id=drawdowns", "id=events", "id=regimes", "id=section-0", "id=section-1", "id=folds",
             "id=configuration"]  # fmt: skip
    places = [text.index(f"<section {part}") if part != "id=verdict" else text.index(part) for part in order]
    assert places == sorted(places)


def test_its_numbers_are_those_of_the_result(page, result):
    text = page.read_text()
    shown = formatted(result.table())
    heads, short = rows(text, "id=verdict")
    assert len(heads) == 1 + len(SHORT) + 1
    assert short == [[b.name, *shown.loc[b.name, list(SHORT)], f"verdict on {b.name}"] for b in result]
    heads, full = rows(text, "<summary>All metrics")
    assert len(heads) == 1 + len(METRICS)
    assert full == [[b.name, *shown.loc[b.name, list(METRICS)]] for b in result]


def test_a_section_shows_its_finding_its_limits_and_its_figures(page):
    text = page.read_text()
    assert "<h2>Costs &lt;twice&gt;</h2><p><b>It loses .2 of its Sharpe ratio.</b></p>" in text
    assert "It does not show: What they were." in text
    assert rows(text, "id=section-0")[1] == [["as they are", "1", "0.61"], ["twice", "2", "0.40"]]


def test_without_a_verdict_it_says_so(result, tmp_path):
    text = result.report(tmp_path / "r.html").read_text()
    assert "momentum 50: whether it was luck was not tested. Sharpe ratio" in text
    assert ">verdict</th>" not in text


def test_the_same_result_gives_the_same_bytes(result, tmp_path):
    assert result.report(tmp_path / "a.html").read_bytes() == result.report(tmp_path / "b.html").read_bytes()


def test_survivorship_stands_beside_the_result(stocks, tmp_path):
    page = walk_forward([EqualWeight()], stocks["2022":], progress=False).report(tmp_path / "r.html").read_text()
    assert "Survivorship: 20 US stocks that are still listed" in page


def test_a_place_that_cannot_be_written_is_named(result, tmp_path):
    with pytest.raises(InputError, match=r"none/r.html: the page cannot be written"):
        result.report(tmp_path / "none" / "r.html")
    assert list(tmp_path.iterdir()) == []


# What a reader does: chooses each strategy, zooms, sorts, and turns the light off.
VISIT = f"const plots = {json.dumps(PLOTS)};" + Path(__file__).with_name("visit.js").read_text()


@pytest.mark.process
@needs_browser
@pytest.mark.parametrize("width", [1250, 390])
def test_a_real_browser_draws_it(page, result, tmp_path, width):
    seen = visit(page, tmp_path, VISIT, width)
    assert seen["wrong"] == []  # no error, no warning, nothing asked for
    assert seen["width"] == width
    assert seen["scrolls"] <= width, seen["found"]["wide"]
    found = seen["found"]
    for backtest, shown in zip(result, found["strategies"], strict=True):
        assert all(shown["painted"][name] > 0 for name in PLOTS), shown["painted"]
        assert shown["verdict"].startswith(f"{backtest.name}: verdict on {backtest.name}. Sharpe ratio ")
        assert shown["bold"] == [backtest.name, backtest.name]  # in both tables of strategies
        assert backtest.name in shown["equity"]
        assert "equal weight" in shown["equity"]
        growth = backtest.metrics["total return"] + 1
        assert shown["last"] == pytest.approx(growth, rel=1e-4)
        depth = backtest.metrics["max drawdown"]
        assert f"{depth:.1%}" in shown["drawdowns"][0]
    assert all(high - low == pytest.approx(365.25 * 86_400_000) for low, high in found["ranges"])
    assert found["kept"] == found["ranges"][0]
    assert found["whole"] == [result.bars.index[i].timestamp() * 1000 for i in (0, -1)]
    assert found["sorted"] == sorted(found["sorted"], reverse=True)
    assert found["light"] != found["dark"]
    assert found["section"] == 2
    assert found["shaded"] >= 2


class Twin(EqualWeight):
    name = "my twin"


def test_regression_equal_curves_do_not_hide_each_other(bars, tmp_path):
    """Sixteen equal curves were drawn on top of each other, and each had a row of its own without a word."""
    result = walk_forward([EqualWeight(), Momentum(50), Twin()], bars[1200:], progress=False)
    page = result.report(tmp_path / "r.html")
    held = payload(page)
    assert [held["names"][k] for k in held["heads"]] == ["equal weight", "momentum 50"]  # the grey curves
    assert "my twin (same as equal weight)" in page.read_text()
    assert "Same as equal weight: my twin." in page.read_text()


def test_regression_many_bars_make_a_small_page_with_the_same_figures(tmp_path):
    """A million bars made a page of 174 MB."""
    rng = np.random.default_rng(0)
    close = np.exp(np.cumsum(rng.normal(0, 1e-4, (60_000, 1)), axis=0))
    bars = Bars.make(pd.date_range("2024-01-01", periods=len(close), freq="min"), ["A"], close)
    result = walk_forward([EqualWeight(), Momentum(50)], bars, costs="0", progress=False)
    assert result.report(tmp_path / "many.html").stat().st_size < 2e6  # of which 1.5 MB are plotly


def test_twenty_strategies_make_a_page_below_three_megabytes(stocks, tmp_path):
    result = walk_forward([EqualWeight(), *(Momentum(w) for w in range(20, 210, 10))], stocks["2000":], progress=False)
    assert len(result) == 20
    assert result.report(tmp_path / "r.html").stat().st_size < 2.75e6  # and room for the sections


def test_counts_have_their_plural(tmp_path):
    bars = Bars.make(pd.date_range("2024-01-01", periods=40, freq="D"), ["A"], np.linspace(1, 2, 40)[:, None])
    page = walk_forward([EqualWeight()], bars, every=1, progress=False).report(tmp_path / "r.html").read_text()
    assert "40 bars of 1 symbol, costs of 0.10% per side, adapted every 1 bar." in page


@pytest.mark.process
@needs_browser
def test_a_page_of_one_strategy_on_few_bars_is_drawn(tmp_path):
    bars = Bars.make(
        pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC"), ["</script>"], np.array([[1.0], [2.0], [1.5]])
    )
    page = walk_forward([EqualWeight()], bars, progress=False).report(tmp_path / "r.html")
    assert html.escape("</script>") in page.read_text()
    seen = visit(page, tmp_path, "return document.querySelectorAll('.js-plotly-plot').length")
    assert seen["wrong"] == []
    assert seen["found"] == len(PLOTS)


class Called(EqualWeight):
    """Equal weight under another name."""

    def __init__(self, name):
        self.name = name


@needs_browser
def test_regression_names_that_look_like_html_are_names(bars, tmp_path):
    """`<!--<script>` swallowed the end of the script that holds the curves, and legends left out what they took for tags."""
    names = ["<!--<script>", "</script><script>wrong.push(1)</script>", "<b>b</b>", "a\"b'&amp;c", "Ünï≥ %{y}"]
    symbols = ["<script>", "A&amp;B", "<i>"]
    renamed = Bars.make(bars.index[:300], symbols, bars.close[:300, :3])
    result = walk_forward(map(Called, names), renamed, progress=False)
    page = write_report(result, tmp_path / "r.html")
    assert [*payload(page)["names"]] == names
    probe = """
const select = document.getElementById("chosen");
const texts = (selector) => [...document.querySelectorAll(selector)].map((e) => e.textContent);
const found = [];
for (const k of [...select.options].keys()) {
  select.value = k; select.dispatchEvent(new Event("change")); await new Promise((go) => setTimeout(go, 200));
  found.push([texts("#plot-equity .legendtext").pop(), document.querySelector("#weights .name").textContent]);
}
return { found, symbols: texts("#plot-weights .ytick text") };"""
    seen = visit(page, tmp_path, probe)
    assert seen["wrong"] == []
    assert seen["found"] == {"found": [[name, name] for name in names], "symbols": symbols[::-1]}
