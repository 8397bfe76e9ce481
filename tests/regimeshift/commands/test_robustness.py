"""Robustness on the command line: a sentence per question, and a page of the same sentences."""

import html

import pandas as pd
import pytest
import samples
from command import call, refused

from backtests.robustness import robustness
from markets import load
from strategies import Momentum


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    bars = samples.regime_bars(1500, 3, seed=1)
    pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=list(bars.symbols)).to_csv(folder / "my.csv")
    return folder


def test_every_question_is_answered_in_the_terminal_and_on_the_page(desk):
    options = ("--costs", "20bp", "--resamples", "4", "--seed", "3", "--report", "deep/r.html")
    done = call("robustness", "my.csv", "--strategy", "momentum:50", "--from", "2003", *options, cwd=desk)
    assert done.returncode == 0, done.stderr
    assert "momentum 50 on my, 2003-01-01 to 2006-09-29, net of costs" in done.stdout
    bars = load(desk / "my.csv")["2003":]
    sections = robustness(Momentum(50), bars, costs="20bp", resamples=4, seed=3, progress=False)
    page = (desk / "deep/r.html").read_text()
    for section in sections:
        finding = section.finding.removeprefix("momentum 50: ")
        assert f"{section.title}\n{finding[0].upper()}{finding[1:]}\n" in done.stdout
        assert html.escape(section.finding) in page
    assert f"Report: {(desk / 'deep/r.html').resolve()}" in done.stdout


def test_what_cannot_be_asked_is_said_in_a_line(desk):
    def ask(*words):
        return call("robustness", "my.csv", *words, cwd=desk)

    refused(ask("--strategy", "luck"), "--strategy luck", "unknown")
    refused(ask("--report", "r.pdf"), "--report r.pdf", "pages are HTML")
    refused(ask("--jobs", "0"), "--jobs 0")
    refused(ask("--metric", "luck"), "metric 'luck' is unknown")
    refused(ask("--every", "0"), "every is 0")
