"""Headroom on the command line: the ladder, a sentence per question, and a page of the same sentences."""

import html

import numpy as np
import pandas as pd
import pytest
import samples
from browser import needs_browser, visit
from command import call, refused


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    bars = samples.regime_bars(900, 3, seed=1)
    frame = pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=list(bars.symbols))
    frame.to_csv(folder / "my.csv")
    frame[["S0"]].to_csv(folder / "one.csv")
    holes = frame.copy()
    holes.iloc[100:140, 1] = np.nan
    holes.to_csv(folder / "holes.csv")
    (0 * frame + 5).to_csv(folder / "flat.csv")
    return folder


def test_the_ladder_is_printed_and_on_the_page(desk):
    done = call(
        "headroom", "my.csv", "--draws", "20", "--long-only", "--until", "2004-05", "--report", "deep/h.html", cwd=desk
    )
    assert done.returncode == 0, done.stderr
    assert "Headroom: the equal-weight market of my, 2001-01-02 to 2004-05-31, per year and net of costs" in done.stdout
    for words in (
        "knows the regime",
        "never adapts, best constant exposure",
        "certainty equivalent at γ = 5",
        "walk-forward",
    ):
        assert words in done.stdout
    page = (desk / "deep/h.html").read_text()
    finding = next(line for line in done.stdout.splitlines() if line.startswith("The most that adapting the exposure"))
    assert html.escape(finding[1:]) in page
    again = call("headroom", "my.csv", "--draws", "20", "--long-only", "--end", "2004-05", cwd=desk)
    assert again.stdout.partition("Report:")[0] == done.stdout.partition("Report:")[0]


@needs_browser
def test_the_page_fits_a_phone(desk, tmp_path):
    assert call("headroom", "one.csv", "--draws", "20", "--report", "phone.html", cwd=desk).returncode == 0
    seen = visit(desk / "phone.html", tmp_path, "return document.querySelectorAll('.js-plotly-plot').length;", 390)
    assert seen == {"found": 3, "wrong": [], "width": 390, "scrolls": 390}


def test_one_symbol_gaps_and_a_base_are_fine(desk):
    assert "Headroom: one, " in call("headroom", "one.csv", "--draws", "20", cwd=desk).stdout
    assert call("headroom", "holes.csv", "--draws", "20", cwd=desk).returncode == 0
    done = call("headroom", "my.csv", "--draws", "20", "--base", "momentum:50", cwd=desk)
    assert "momentum 50 on my" in done.stdout, done.stderr


def test_what_a_learner_reaches_is_said_after_the_ladder(desk, monkeypatch):
    from metalearner.evaluation import exposure

    monkeypatch.setattr(exposure, "RISK_STEPS", 4)
    words = ("headroom", "one.csv", "--draws", "20", "--long-only", "--report", "share.html")
    done = call(*words, "--learner", "risk", cwd=desk)
    assert done.returncode == 0, done.stderr
    assert "What adaptive risk reaches of it" in done.stdout
    assert "adaptive risk" in (desk / "share.html").read_text()
    # all else is as it was
    without = call(*words, cwd=desk)
    parts = done.stdout.split("What adaptive risk reaches of it")
    assert without.stdout.startswith(parts[0])
    assert without.stdout.partition("Years that show it")[2] == parts[1].partition("Years that show it")[2]


def test_what_cannot_be_asked_is_said_in_a_line(desk):
    def ask(*words):
        return call("headroom", *words, cwd=desk)

    refused(ask("flat.csv"), "prices stand still")
    refused(ask("my.csv", "--until", "2001-06"), "cannot tell two regimes apart", "250")
    refused(ask("my.csv", "--base", "luck"), "--base luck", "unknown")
    refused(ask("my.csv", "--learner", "luck"), "--learner luck: unknown learner; use rl2")
    refused(ask("my.csv", "--report", "h.pdf"), "--report h.pdf", "pages are HTML")
    refused(ask("my.csv", "--draws", "3"), "draws is 3")
    refused(ask("my.csv", "--risk-aversion", "0"), "risk_aversion must be above 0")
