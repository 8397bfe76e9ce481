import os
import re
import shutil
import subprocess

import pytest

from backtests import walk_forward
from markets import HiddenMarkovRegimes, InputError
from strategies import EqualWeight, Momentum


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
