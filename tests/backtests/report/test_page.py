import os
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from backtests import walk_forward
from backtests.report.page import _figure
from backtests.report.remarks import grouped
from markets import Bars, HiddenMarkovRegimes, InputError
from strategies import EqualWeight, Momentum, Plan


@pytest.fixture(scope="module")
def result(bars):
    regimes = HiddenMarkovRegimes(3, restarts=2).fit(bars[:900])
    return walk_forward([EqualWeight(), Momentum(50)], bars[900:], regimes=regimes.filter(bars[900:]), progress=False)


def test_the_page_needs_no_network_and_says_what_was_done(result, tmp_path):
    page = result.report(tmp_path / "r.html", notes=["a < b"]).read_text()
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="http', page)
    for text in (
        "equal weight",
        "momentum 50",
        "0.10% per side",
        "a &lt; b",
        "max drawdown",
        "regimes as they were seen live",
    ):
        assert text in page


def test_the_same_result_gives_the_same_bytes(result, tmp_path):
    assert result.report(tmp_path / "a.html").read_bytes() == result.report(tmp_path / "b.html").read_bytes()


def test_survivorship_stands_beside_the_result(stocks, tmp_path):
    page = walk_forward([EqualWeight()], stocks["2022":], progress=False).report(tmp_path / "r.html").read_text()
    assert "Survivorship: 20 US stocks that are still listed" in page


def test_a_place_that_cannot_be_written_is_named(result, tmp_path):
    with pytest.raises(InputError, match=r"none/r.html: the page cannot be written"):
        result.report(tmp_path / "none" / "r.html")
    assert list(tmp_path.iterdir()) == []


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.process
@pytest.mark.skipif(BROWSER is None and not os.environ.get("CI"), reason="needs chromium (.ci/run installs it)")
def test_a_real_browser_draws_it(result, tmp_path):
    assert BROWSER, "CI must have a browser"
    page = result.report(tmp_path / "r.html")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}/profile",
             "--virtual-time-budget=20000", "--dump-dom"]  # fmt: skip
    done = subprocess.run([BROWSER, *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    page = done.stdout
    assert page.count('class="main-svg"') >= 2
    assert "Drawdown</text>" in page
    assert len(re.findall(r'class="trace scatter', page)) == 6  # two strategies in three plots
    assert "fill: rgb(240, 176, 168)" in page  # a crisis is shaded


class Twin(EqualWeight):
    name = "my twin"


def test_regression_equal_curves_do_not_hide_each_other(bars, tmp_path):
    """Sixteen equal curves were drawn on top of each other, and each had a row of its own without a word."""
    result = walk_forward([EqualWeight(), Momentum(50), Twin()], bars[1200:], progress=False)
    figure = _figure(grouped(result.backtests), bars[1200:], 63, None)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["equal weight = my twin", "momentum 50"]
    page = result.report(tmp_path / "r.html").read_text()
    assert "my twin (same as equal weight)" in page
    assert "Same as equal weight: my twin." in page


def test_a_curve_that_lies_on_another_is_dashed(bars):
    near = walk_forward([EqualWeight(), Banded()], bars[1400:], progress=False)
    figure = _figure(grouped(near.backtests), bars[1400:], 63, None)
    assert [trace.line.dash for trace in figure.data if trace.showlegend] == ["solid", "dash"]


class Banded(EqualWeight):
    name = "banded"

    def plan(self, bars):
        return Plan(super().plan(bars).aim, np.full(bars.shape, 0.01))


def test_regression_a_phone_shows_title_curves_and_legend(result, tmp_path):
    """The legend stood above the plots, and on a narrow screen grew over the title and the curve."""
    layout = _figure(grouped(result.backtests), result.bars, 63, result.regimes).layout
    assert (layout.legend.yref, layout.legend.y, layout.legend.yanchor) == ("container", 0, "bottom")
    assert all(title.x == 0 and title.xanchor == "left" for title in layout.annotations)
    assert "name=viewport" in result.report(tmp_path / "r.html").read_text()


def test_regression_many_bars_make_a_small_page_with_the_same_figures(tmp_path):
    """A million bars made a page of 174 MB."""
    rng = np.random.default_rng(0)
    close = np.exp(np.cumsum(rng.normal(0, 1e-4, (60_000, 1)), axis=0))
    bars = Bars.make(pd.date_range("2024-01-01", periods=len(close), freq="min"), ["A"], close)
    result = walk_forward([EqualWeight(), Momentum(50)], bars, costs="0", progress=False)
    assert result.report(tmp_path / "many.html").stat().st_size < 6e6  # of which 4.8 MB are plotly
    equity = result["equal weight"].equity / result["equal weight"].equity[0]
    curve = next(trace for trace in _figure(grouped(result.backtests), bars, 63, None).data)
    assert max(curve.y) == equity.max()
    assert min(curve.y) == equity.min()


def test_counts_have_their_plural(tmp_path):
    bars = Bars.make(pd.date_range("2024-01-01", periods=40, freq="D"), ["A"], np.linspace(1, 2, 40)[:, None])
    page = walk_forward([EqualWeight()], bars, every=1, progress=False).report(tmp_path / "r.html").read_text()
    assert "40 bars of 1 symbol, costs of 0.10% per side, adapted every 1 bar." in page
