import numpy as np
import pytest
from browser import needs_browser, visit
from policies import random_strategy

from backtests.explain import counterfactual, explain, explain_span, occlude
from backtests.explain.page import write_explanation, write_occlusion, write_span
from backtests.explain.sentences import rows, sentences
from markets import InputError
from strategies import Blend, EqualWeight, InverseVolatility, WeightLimit

PROBE = """return {plots: document.querySelectorAll('.js-plotly-plot').length,
bars: document.querySelectorAll('#sum .bars .point').length, text: document.body.innerText,
dark: getComputedStyle(document.body).backgroundColor}"""


@pytest.fixture(scope="module")
def strategy():
    parts = [random_strategy(1, context=5), random_strategy(2, context=4, memory="belief"), EqualWeight()]
    return WeightLimit(Blend(parts), 0.35)


def test_rows_add_up_to_the_decision(bars, strategy):
    found = explain(strategy, bars)
    table = rows(found, "S1")
    assert table["sum"][:-1].sum() == pytest.approx(table["sum"]["decision"], abs=1e-4)
    assert list(table.index[:2]) == ["base", "resting tilt"]
    assert list(table.index[-2:]) == ["limits", "decision"]
    assert table.columns.tolist() == ["sum", "the symbol", "the market", "gross limit"]
    features = table.iloc[2:-2]
    np.testing.assert_allclose(features.iloc[:, 1:].sum(axis=1), features["sum"])
    assert features["sum"].abs().is_monotonic_decreasing


def test_sentences_say_what_moved_it(bars, strategy):
    text = list(sentences(explain(strategy, bars), "S1", counterfactual(strategy, bars, "S1")))
    assert text[0].startswith("Half of what features moved comes from the last ")
    assert text[1].startswith("Belief of random about S1, its latent variables: ")
    assert "The nearest change that would have turned the tilt on S1 is " in text[-1]
    none = list(sentences(explain(strategy, bars), "S1", None))
    assert none[-1].startswith("No change of S1's features at the last bar within 5 standard deviations")


@needs_browser
@pytest.mark.process
def test_a_decision_in_a_browser(bars, strategy, tmp_path):
    found, turning = explain(strategy, bars), counterfactual(strategy, bars, "S0")
    page = write_explanation(found, "S0", turning, tmp_path / "explain.html", "why <S0>")
    seen = visit(page, tmp_path, PROBE, width=400)
    assert seen["wrong"] == []
    assert seen["scrolls"] <= seen["width"]
    assert seen["found"]["plots"] == 2
    assert seen["found"]["bars"] == len(rows(found, "S0"))
    for text in ("why <S0>", "What would have turned it", "resting tilt", f"{found.decision[0]:.2%}"):
        assert text in seen["found"]["text"]


@needs_browser
@pytest.mark.process
def test_a_span_and_single_bars_in_a_browser(bars, strategy, tmp_path):
    span = explain_span(strategy, bars[-8:])
    for symbol in (None, "S2"):
        seen = visit(write_span(span, symbol, tmp_path / "span.html", "span"), tmp_path, PROBE, width=400)
        assert (seen["wrong"], seen["found"]["plots"]) == ([], 2)
        assert seen["scrolls"] <= seen["width"]
        assert "8 decisions" in seen["found"]["text"]
    page = write_occlusion(occlude(InverseVolatility(20), bars, most=4), "S0", tmp_path / "bars.html", "single bars")
    seen = visit(page, tmp_path, PROBE)
    assert (seen["wrong"], seen["found"]["plots"]) == ([], 1)


def test_a_page_that_cannot_be_written_is_one_line(bars, strategy, tmp_path):
    found = explain(strategy, bars)
    with pytest.raises(InputError, match=r"nowhere/explain.html: the page cannot be written"):
        write_explanation(found, "S0", None, tmp_path / "nowhere" / "explain.html", "why")
    with pytest.raises(InputError, match="no symbol 'X'"):
        write_explanation(found, "X", None, tmp_path / "explain.html", "why")
