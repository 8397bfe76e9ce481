"""The model card: what it says must be what the strategy, the contract, the certificate and the backtest say."""

import dataclasses
import hashlib
import json
import re

import mlflow
import numpy as np
import pandas as pd
import pytest
from policies import random_strategy

from backtests import registry, tracking, walk_forward
from backtests.card import ModelCard, limitations
from backtests.certificate import Certificate, Check, certify
from backtests.deployment import make_contract
from backtests.metrics import drawdowns, formatted
from backtests.versions import files_of, stored_tags
from markets import Bars, Costs, HiddenMarkovRegimes
from markets.bars.bars import Source
from strategies import (
    Blend,
    BuyAndHold,
    EqualWeight,
    InverseVolatility,
    Momentum,
    RegimeGated,
    WeightLimit,
    load_strategy,
)

SECTIONS = ["What it is", "What it was trained on", "How it was tested", "Fails when", "Use"]
TAGS = {
    "own_files": "{}", "data_hash": "d" * 64, "span_hash": "e" * 64, "fingerprint": "f" * 64, "git_commit": "abc",
    "package_torch": "2.11",
}  # fmt: skip
CHECKS = (Check("look-ahead", True, 9, "no look-ahead: 9 rows"), Check("warm-up", None, 0, "5 bars are too few"))


def card_of(strategy, bars, checks=CHECKS, model=None, **more):
    """The card of a strategy under a certificate with these checks, without a registry."""
    found = Certificate("f", "d", "e", "c", "2001-01-01 00:00:00 to 2006-01-01 00:00:00", 0, checks)
    tags = TAGS | more.pop("tags", {})
    return ModelCard("trends", model or strategy, strategy, make_contract(strategy, bars), bars, found, tags, **more)


def section(text, title):
    return re.split(rf"\n## {title}\n", text)[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def result(bars):
    return walk_forward([EqualWeight(), Momentum(60)], bars[700:], costs="10bp", progress=False)


def test_a_card_has_five_sections_and_says_what_a_strategy_is_made_of(bars):
    strategy = WeightLimit(Blend([Momentum(60), InverseVolatility(20)], "trends"), 0.25)
    text = card_of(strategy, bars).text(3)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert text.startswith("# trends, version 3\n")
    about = section(text, "What it is")
    rows = [line.strip("| ").split(" | ") for line in about.splitlines() if line.startswith("| `")]
    assert [row[1] for row in rows] == ["WeightLimit", "Blend", "Momentum", "InverseVolatility"]
    assert rows[0][2] == "largest 0.25"
    assert rows[2][2:] == ["window 60", "Long-only time-series momentum."]
    assert "the weight of a symbol is at most 0.25 of equity" in about
    assert "a target weight for each of 3 symbols" in about
    assert "the closes of the last 61 bars, 1 day apart" in about
    assert "| S0, S1, S2 |" in about
    assert "It declares no limit" in card_of(EqualWeight(), bars).text()


def test_what_depends_on_all_bars_or_holds_a_detector_says_so(bars):
    gated = RegimeGated(HiddenMarkovRegimes(2, restarts=1), [EqualWeight(), InverseVolatility(20)]).adapt(bars)
    text = card_of(gated, bars).text()
    assert f"the closes of all bars since {bars.index[0]:%Y-%m-%d}" in text
    assert "holds a regime detector, HiddenMarkovRegimes, of calm, crisis" in text
    path = gated.detector.filter(bars)
    assert f"calm on {(path.labels == 0).mean():.0%}, crisis on {(path.labels == 1).mean():.0%} of the bars" in text
    assert f"they do not begin at {bars.index[0]:%Y-%m-%d}" in text
    calm = bars[np.flatnonzero(path.labels == 0)[0] :][:2]
    assert "It never was crisis" in next(limitations.of_regimes(gated, calm, "two bars"))


def test_checks_that_failed_or_are_not_known_come_first_among_the_failures(bars):
    failed = Check("limits", False, 1, "weights change by 0.1")
    text = card_of(EqualWeight(), bars, (*CHECKS, failed)).text()
    assert "- look-ahead, passed: no look-ahead: 9 rows." in section(text, "How it was tested")
    assert "- limits, **failed**: weights change by 0.1." in text
    assert "- warm-up, **not known**: 5 bars are too few." in text
    first, second, *rest = section(text, "Fails when").strip().splitlines()
    assert first == "- It is not known whether it passes the check of warm-up: 5 bars are too few."
    assert second == "- It did not pass the check of limits: weights change by 0.1."
    assert "look-ahead" not in "".join(rest)


def test_survivorship_and_caveats_of_the_data_are_failures(bars):
    biased = dataclasses.replace(bars, source=Source(survivorship="3 survivors", caveats=("names are hidden",)))
    text = section(card_of(EqualWeight(), biased).text(), "Fails when")
    assert "- Its data are 3 survivors.\n- Of its data: names are hidden.\n" in text
    assert "Its data are" not in card_of(EqualWeight(), bars).text()


def test_what_the_contract_refuses_has_its_own_figures(bars):
    close = bars.close.copy()
    close[-40:-34, 1] = np.nan  # a week of silence
    gaps = Bars.make(bars.index, bars.symbols, close)
    text = limitations.of_contract(EqualWeight(), make_contract(EqualWeight(), gaps))
    year = bars.index[bars.index >= bars.index[-1] - pd.Timedelta("366D")]
    usual, silent = (2 * times.to_series().diff().max().days for times in (year, bars.index.delete(range(-40, -34))))
    assert f"a symbol has been silent for more than {usual} days to {silent} days, by symbol" in text
    assert "there is no last close of S0, S2, which had no gaps" in text
    assert f"they end before {bars.index[-1]:%Y-%m-%d}" in text


def test_the_backtest_and_where_it_lost_are_those_of_the_result(bars, result):
    tested = result["momentum 60"]
    tags = tracking.backtest_tags(result, tested)
    text = card_of(Momentum(60), bars, tags=tags, result=result, tested=tested).text()
    found = section(text, "How it was tested")
    shown = formatted(result.table())
    for metric in ("Sharpe", "CAGR", "max drawdown", "turnover"):
        assert f"| {metric} | {shown[metric]['momentum 60']} | {shown[metric]['equal weight']} |" in found
    assert f"from {bars.index[700]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d} (800 bars). Costs: commission 0.001." in found
    lost = section(text, "Fails when")
    fall = drawdowns(tested, 1).iloc[0]
    assert f"fell by {fall['depth']:.1%} from {fall['start']:%Y-%m-%d} to {fall['bottom']:%Y-%m-%d}" in lost
    equity = pd.Series(tested.equity, tested.index)
    years = equity.groupby(equity.index.year).last() / equity.groupby(equity.index.year).last().shift(
        fill_value=equity.iloc[0]
    )
    assert f"Its worst year was {years.idxmin()}, with {years.min() - 1:.1%}" in lost
    assert f"it lost money in {(years < 1).sum()} of {len(years)} years" in lost


def test_a_backtest_that_mlflow_holds_is_told_from_its_tags_alone(bars, result):
    tags = tracking.backtest_tags(result, result["momentum 60"]) | {"backtest_run": "1234"}
    text = card_of(Momentum(60), bars, tags=tags).text()
    assert "MLflow's run `1234` holds it" in text
    assert f"| Sharpe | {result['momentum 60'].metrics['Sharpe']:.2f} |" in text
    assert "worst year" not in text
    without = card_of(Momentum(60), bars).text()
    assert "No backtest of it is on record" in without
    assert "not known: no backtest of it is on record" in section(without, "Fails when")


def test_the_costs_that_take_the_growth_are_growth_over_turnover():
    (found,) = limitations.of_backtest({"CAGR": 0.06, "turnover": 4.0}, str(Costs(commission=0.001)))
    assert "gone if each trade costs about 150 bp more than its backtest paid" in found
    (free,) = limitations.of_backtest({"CAGR": 0.06, "turnover": 4.0}, str(Costs()))
    assert "about 150 bp to trade, which cost nothing in its backtest" in free
    (lost,) = limitations.of_backtest({"CAGR": -0.02, "turnover": 4.0}, str(Costs()))
    assert lost == "It lost money in its backtest: -2.0% per year."
    assert not list(limitations.of_backtest({"CAGR": 0.02, "turnover": 0.0}, str(Costs())))


def test_only_settings_that_were_changed_are_told():
    assert limitations.changed(str(Costs()), Costs) == []
    assert limitations.changed(str(Costs(commission=0.001, borrow_rate=0.02)), Costs) == [
        "commission 0.001",
        "borrow rate 0.02",
    ]


def test_what_was_learnt_is_in_sample(bars):
    strategy = random_strategy()
    strategy.seen_until = bars.index[1200]
    tags = {"backtest_span": f"{bars.index[1100]} to {bars.index[-1]}", "backtest_CAGR": "0.1", "backtest_turnover": "1",
            "backtest_Sharpe": "1", "costs": "Costs()", "execution": "Execution()"}  # fmt: skip
    text = card_of(strategy, bars, tags=tags).text()
    day, first = f"{bars.index[1200]:%Y-%m-%d}", f"{bars.index[1100]:%Y-%m-%d}"
    assert f"Its weights were trained and selected on bars up to {day}" in text
    assert f"Results on bars up to {day} are in sample: it was chosen on them. Its backtest begins at {first}" in text
    assert "in sample" not in card_of(EqualWeight(), bars).text()


def test_files_of_the_users_own_are_named_with_their_hashes(bars, tmp_path):
    code = (
        "from strategies import EqualWeight, Plan, Strategy\n\n\nclass Mine(Strategy):\n    name = 'mine'\n\n"
        "    def plan(self, bars):\n        return EqualWeight().plan(bars)\n"
    )
    (tmp_path / "mine.py").write_text(code)
    strategy = load_strategy(f"{tmp_path / 'mine.py'}:Mine")()
    digest = hashlib.sha256(code.encode()).hexdigest()
    text = card_of(strategy, bars, tags={"own_files": json.dumps({"mine.py": digest})}).text()
    assert f"| `mine.py` | `{digest}` |" in text
    assert "| `mine` | Mine | file mine.py, calls Mine |  |" in text


def test_regression_a_description_fits_into_the_database_and_loses_no_sentence(bars):
    """MLflow's database holds 5,000 characters of a description, and 300 symbols are more."""
    names = [f"SYMBOL{i}.XNYS" for i in range(300)]
    wide = Bars.make(bars.index[-80:], names, np.tile(bars.close[-80:, :1], 300))
    card = card_of(EqualWeight(), wide)
    whole, short = card.text(7), card.description(7)
    assert len(whole) > 5000 >= len(short)
    assert names[-1] in whole
    assert names[-1] not in short

    def sentences(text):
        return [line for line in text.splitlines() if line and not line.startswith("|")]

    assert sentences(short) == sentences(whole)
    endless = dataclasses.replace(
        card, certificate=dataclasses.replace(card.certificate, checks=(Check("x", None, 0, "y " * 3000),))
    )
    assert len(endless.description(7)) <= 5000


def test_the_weights_that_are_drawn_are_the_strategys_own(bars):
    strategy = Momentum(60)
    card = card_of(strategy, bars)
    np.testing.assert_array_equal(card._plan.aim, strategy.plan(bars[-252:]).aim)
    held = BuyAndHold()
    np.testing.assert_array_equal(card_of(held, bars)._plan.aim, held.plan(bars).aim[-252:])
    assert len(card_of(strategy, bars[-100:].without_past())._plan.aim) == 40


@pytest.fixture(scope="module")
def root(short_certificates, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = tmp_path_factory.mktemp("card") / "mlruns"
        mlflow.set_tracking_uri(tracking.connect(root))
        yield root
        mlflow.set_tracking_uri(None)


def test_a_version_holds_its_card_and_mlflow_describes_it(bars, result, root, monkeypatch):
    written = []
    monkeypatch.setattr(
        mlflow.MlflowClient, "set_model_version_tag",
        lambda self, name, number, key, value, set_=mlflow.MlflowClient.set_model_version_tag: (
            written.append(key), set_(self, name, number, key, value)),
    )  # fmt: skip
    version = registry.register("momo", Momentum(60), result, root=root)
    assert written[-1] == "certificate", "a version without it is not whole"
    tags, folder = stored_tags(version), files_of(version)
    card = folder / "artifacts" / "card"
    pictures = {path.name for path in card.glob("*.png")}
    assert pictures == {"weights.png", "equity.png", "months.png"}
    assert {f"artifacts/card/{name}" for name in {*pictures, "card.md"}} <= json.loads(tags["files"]).keys()
    text = (card / "card.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((.*?)\)", text)) == pictures
    for check in certify(Momentum(60), result.bars).checks:
        assert f"- {check.name}, passed: {check.sentence}." in text
    client = mlflow.MlflowClient()
    description = client.get_model_version("momo", "1").description
    assert description.startswith("# momo, version 1\n")
    assert ".png" not in description
    assert tags["fingerprint"] in description
    assert "regimeshift signal --model momo/1" in description
    assert "champion" in client.get_registered_model("momo").description
    client.update_registered_model("momo", "mine")
    registry.register("momo", Momentum(60), bars=bars, root=root)
    assert "registered without one" in client.get_model_version("momo", "2").description
    assert client.get_registered_model("momo").description == "mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backtests.versions.prove", lambda *_: 0.0)
        patch.setattr("backtests.registry.prove", lambda *_: 0.0)
        assert registry.promote(version, root=root).version == version


def test_a_version_of_before_there_were_cards_is_loaded(bars, root):
    import shutil

    version = registry.register("old", EqualWeight(), bars=bars, root=root)
    folder, client = files_of(version), mlflow.MlflowClient()
    shutil.rmtree(folder / "artifacts" / "card")
    files = {k: v for k, v in json.loads(stored_tags(version)["files"]).items() if "/card/" not in k}
    client.set_model_version_tag("old", "1", "files", json.dumps(files))
    model = registry.load("old/1", root=root)
    assert registry.target_weights(model, bars)["target_weight"].tolist() == pytest.approx([1 / 3] * 3)
    assert registry.promote(version, root=root).difference <= 1e-6
