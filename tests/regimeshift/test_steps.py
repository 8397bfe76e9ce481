import io

import pytest
import samples
from rich.console import Console

from backtests import verdict, walk_forward
from regimeshift import console, steps
from strategies import BuyAndHold, EqualWeight, Momentum


@pytest.fixture(scope="module")
def result():
    bars = samples.regime_bars(600, 3, 0)
    return walk_forward([EqualWeight(), BuyAndHold(), Momentum(20)], bars, progress=False)


def test_the_verdict_stands_under_the_table_at_80_columns(result, monkeypatch):
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=80, color_system=None, highlight=False, soft_wrap=True)
    for module in (console, steps):
        monkeypatch.setattr(module, "console", terminal)
    found = verdict(result, trials=212)
    steps.show_result(result, found)
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "verdict, with 212 trials on these data" in text
    prose = " ".join(text.split())
    for sentence in found.sentences.values():
        assert all(word in prose for word in sentence.split())


def test_in_a_pipe_each_verdict_is_one_line(result, capsys):
    found = verdict(result)
    steps.show_result(result, found)
    lines = capsys.readouterr().out.splitlines()
    for name, sentence in found.sentences.items():
        assert any(name in line and sentence in line for line in lines), sentence


def test_without_a_verdict_there_is_the_table_alone(result, capsys):
    steps.show_result(result)
    assert "verdict" not in capsys.readouterr().out
