import os
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from markets import Bars, ChangePoints, HiddenMarkovRegimes, InputError, JumpRegimes, RegimePath, VolatilityTrendRegimes
from markets.common.pages import COLUMNS
from markets.regimes.colours import shade
from markets.regimes.page import _figure, _ticks, _towers, described, look_ahead, write_regime_page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(bars, tmp_path_factory):
    detector = HiddenMarkovRegimes(2, restarts=2).fit(bars[:600])
    return write_regime_page(bars, bars[:600], detector, tmp_path_factory.mktemp("page") / "r.html")


def test_the_page_needs_no_network_and_says_what_was_fitted(page, bars):
    text = page.read_text()
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="http', text)
    for words in (
        "HiddenMarkovRegimes(n_regimes=2, degrees_of_freedom=5.0, persistence=100.0, restarts=2",
        f"Fitted on {bars.index[0]:%Y-%m-%d} to {bars.index[599]:%Y-%m-%d}, left of the dashed line",
        f"As seen live from {bars.index[600]:%Y-%m-%d} on",
        "in hindsight, fitted on everything",
        "Sharpe of the rule",
        "to crisis",
        "duration",
    ):
        assert words in text


@pytest.mark.skipif(BROWSER is None and not os.environ.get("CI"), reason="needs chromium (.ci/run installs it)")
def test_the_page_draws_in_a_browser(page, tmp_path):
    # a separate profile, since two browsers cannot share one
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.count('class="trace scatter') >= 6  # two shades and a price in each of two charts


@pytest.mark.parametrize(
    "detector",
    [VolatilityTrendRegimes(2, trend=0), JumpRegimes(2), ChangePoints(2)],
    ids=lambda detector: type(detector).__name__,
)
def test_every_detector_has_a_page(detector, bars, tmp_path):
    written = write_regime_page(bars, bars[:600], detector.fit(bars[:600]), tmp_path / "r.html")
    assert "What hindsight would have flattered" in written.read_text()


def test_a_page_that_cannot_be_written_is_one_line(bars, tmp_path):
    detector = VolatilityTrendRegimes(2, trend=0).fit(bars[:600])
    with pytest.raises(InputError, match=r"r\.html: the page cannot be written"):
        write_regime_page(bars, bars[:600], detector, tmp_path / "no" / "r.html")


def test_the_rule_decides_at_a_bar_and_earns_over_the_next():
    returns = np.array([0.1, -0.2, 0.1, 0.3])
    close = 50 * np.append(1.0, np.cumprod(1 + returns))
    bars = Bars.make(pd.date_range("2020", periods=5), ["A"], close[:, None])

    def path(*labels):
        return RegimePath(bars.index, np.eye(2)[list(labels)], ("calm", "crisis"))

    live, after = path(0, 0, 1, 0, 0), path(0, 1, 0, 0, 0)  # hindsight avoids the fall, live labels are a bar late
    table = look_ahead(bars, live, {"in hindsight": after})
    assert table.loc["seen live", "drawdown"] == pytest.approx(-0.2)
    assert table.loc["in hindsight", "drawdown"] == 0
    assert table.loc["in hindsight", "switches"] == 2
    assert table.loc["in hindsight", "agreement"] == pytest.approx(0.6)
    earned = np.array([0.1, -0.2, 0, 0.3])
    expected = earned.mean() / earned.std(ddof=1) * np.sqrt(bars.bars_per_year)
    assert table.loc["seen live", "Sharpe"] == pytest.approx(expected)
    assert table["Sharpe"].idxmax() == "in hindsight"


def test_shades_cover_each_bar_once():
    index = pd.date_range("2020", periods=6)
    x, y = _towers(index, [(0, 2), (4, 6)])
    assert list(x) == [index[i] for i in (0, 0, 2, 2, 4, 4, 5, 5)]
    assert y.tolist() == [0, 1, 1, 0] * 2
    assert len(_towers(index, [])[0]) == 0


def test_ticks_are_round():
    assert _ticks(np.array([0.9, 3.0, np.nan, 11.0])) == [0.5, 1, 2, 5, 10, 20]


def test_regression_a_page_holds_what_a_screen_can_show():
    rng = np.random.default_rng(0)
    index = pd.date_range("2022-01-01", periods=200_000, freq="min")
    bars = Bars.make(index, ["A"], np.exp(np.cumsum(1e-4 * rng.standard_normal(len(index))))[:, None], name="minutes")
    labels = (rng.random(len(index)) < 0.3).astype(int)  # tens of thousands of switches
    path = RegimePath(index, np.eye(2)[labels], ("calm", "crisis"))
    figure = _figure(bars, path, path, index[60_000])
    curves = [trace for trace in figure.data if trace.fill is None]
    assert max(len(trace.x) for trace in curves) <= 4 * COLUMNS
    assert min(curves[0].y) == bars.close.min()
    assert max(curves[0].y) == bars.close.max()
    assert max(len(trace.x) for trace in figure.data) <= 4 * COLUMNS
    assert len(figure.to_json()) < 2_500_000


def test_a_regime_is_drawn_in_the_colour_of_its_name(bars):
    path = RegimePath(bars.index, np.eye(2)[np.arange(len(bars)) // 100 % 2], ("calm", "crisis"))
    figure = _figure(bars, path, path, bars.index[600])
    fills = {trace.name: trace.fillcolor for trace in figure.data if trace.fill}
    assert fills == {name: shade(name, ("calm", "normal", "crisis")) for name in ("calm", "crisis")}


def test_a_fit_for_comparison_alone_warns_of_nothing(bars, tmp_path):
    """The page also fits on everything; what is wrong with that is none of the user's concern."""
    detector = HiddenMarkovRegimes(2, restarts=2).fit(bars[:600])
    close = bars.close.copy()
    close[1000] *= 100
    write_regime_page(Bars.make(bars.index, bars.symbols, close), bars[:600], detector, tmp_path / "r.html")


def test_regression_bad_prices_earn_nothing_on_the_page(bars):
    bars = bars[:300]
    close = bars.close.copy()
    close[200] *= 100
    ticks = Bars.make(bars.index, bars.symbols, close, name="ticks")
    bad = np.isin(np.arange(300), (200, 201))
    path = RegimePath(ticks.index, np.eye(2)[np.arange(300) // 100 % 2], ("calm", "crisis"), bad=bad)
    growth = look_ahead(ticks, path, {"again": RegimePath(path.index, path.probabilities, path.names)})["growth"]
    assert growth.abs().max() < 2
    assert list(described(path.table(ticks)).columns)[2:4] == ["mean per year", "volatility per year"]
