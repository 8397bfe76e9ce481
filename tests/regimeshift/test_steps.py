import io

import pytest
import samples
from rich.console import Console

from backtests import verdict, walk_forward
from markets import InputError
from metalearner import RL2, CertaintyEquivalent, MeanVariance, Reptile, Training
from regimeshift import console, steps
from regimeshift.options import LearningOptions, TradingOptions
from regimeshift.spans import spans
from regimeshift.windows import Windows
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


def test_regression_all_leaves_out_what_would_cut_the_test_of_the_others_short(capsys):
    """Of 580 bars, residual momentum warms up in 564, so all strategies were tested on the last 8."""
    bars = samples.regime_bars(580, 3, 0)
    windows = Windows.of(bars)
    rules = steps.rules_from_names(["all"], bars, windows)
    names = {rule.name for rule in rules}
    out = capsys.readouterr().out
    assert "Left out: residual momentum 252, which needs 564 bars of 580 to warm up" in out
    assert "add --strategies residual_momentum" in out
    assert {"equal weight", "momentum 252"} <= names
    assert "residual momentum 252" not in names
    assert len(steps.test_span(bars, [], None, max(rule.warmup for rule in rules))) > 100
    # who says where the test starts, or names the rule, gets it
    for given, started in ((["all"], True), (["all", "residual_momentum"], False)):
        assert "residual momentum 252" in {
            r.name for r in steps.rules_from_names(given, bars, windows, started=started)
        }


def test_regression_sentences_break_between_words_on_a_terminal(monkeypatch, capsys):
    """Remarks and findings ran on, and the terminal broke them within words."""
    out = io.StringIO()
    sentence = (
        "equal weight: limits cut what it wanted on 1,382 of 1,825 bars, to 0.85 of its gross weight in the mean [x]."
    )
    monkeypatch.setattr(
        console, "console", Console(file=out, force_terminal=True, width=80, highlight=False, soft_wrap=True)
    )
    console.say(sentence)
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert " ".join(out.getvalue().split()) == sentence
    monkeypatch.undo()
    console.say(sentence)
    assert capsys.readouterr().out == sentence + "\n"


@pytest.mark.parametrize(
    ("name", "kind"), [("mean_variance", MeanVariance), ("certainty_equivalent", CertaintyEquivalent)]
)
def test_the_utility_is_the_one_asked_for(name, kind):
    learning, windows = LearningOptions(utility=name), Windows.of(samples.regime_bars(600, 2, 0))
    for learner in ("rl2", "maml"):
        built = steps.build_learner(learner, windows, learning, TradingOptions(), steps=1, seed=0, device="cpu")
        assert built.objective.utility == kind()


def test_teachers_are_rules_files_and_models_adapted_to_what_comes_before_validation(tmp_path, tasks):
    bars = samples.regime_bars(1500, 3, seed=1)
    where, windows = spans(bars, "2004", "2005"), Windows.of(bars)
    file = tmp_path / "mine.py"
    file.write_text("from strategies import Momentum\n\n\ndef Mine():\n    return Momentum(33)\n")
    champion = RL2(context=20, training=Training(steps=1, batch=4, evidence=None)).fit(*tasks, progress=False)
    model = champion.save(tmp_path / "old")
    found = steps.with_teachers(RL2(), ("momentum", f"{file}:Mine", str(model)), bars, where, windows)
    first, second, third = found.teachers.strategies
    assert (first.name, second.name) == (f"momentum {windows.year}", "momentum 33")
    assert third.seen_until == champion.seen_until
    with pytest.raises(InputError, match="--teachers: Reptile takes none; use --learner rl2 or latent"):
        steps.with_teachers(Reptile(), ("momentum",), bars, where, windows)
    with pytest.raises(InputError, match="--teachers astrology: rule 'astrology' is unknown"):
        steps.with_teachers(RL2(), ("astrology",), bars, where, windows)
