"""The loop: a replay is the walk-forward, and whatever is killed when, each bar is decided on once."""

import json
import multiprocessing
import os
import signal
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtests import walk_forward
from backtests.watch import Schedule, Watch, replay
from markets import Bars, Execution, Features, HiddenMarkovRegimes, InputError
from metalearner import MAML, Inner, Training
from strategies import (
    Blend,
    BuyAndHold,
    Donchian,
    EqualWeight,
    InverseVolatility,
    MinimumVariance,
    PolicySettings,
    RegimeGated,
    Stops,
    load_strategy,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SOME = ["AAPL", "BAC", "GE", "JNJ", "PG", "XOM"]

DRIFTING = """
from dataclasses import dataclass

import numpy as np

from strategies import Plan, Strategy


@dataclass
class Drifting(Strategy):
    share: float = 0.5
    adapts = True

    def adapt(self, bars):
        return Drifting(float(np.nanmean(bars.with_past().close[-20:] > bars.with_past().close[-21:-1])))

    def plan(self, bars):
        return Plan(np.full(bars.shape, self.share / bars.shape[1]))
"""


def gated():
    return RegimeGated(HiddenMarkovRegimes(2, restarts=2), [EqualWeight(), InverseVolatility(20)])


def maml(tasks):
    shape = PolicySettings(memory="none", features=Features.standard((1, 5), 20, 5, (10,)), base="equal_weight")
    training = Training(steps=2, evaluate_every=2, evidence=-1e9)
    return MAML(policy=shape, inner=Inner(steps=2, support=40), training=training).fit(*tasks, progress=False)


def watched(folder, model, bars, every=63, **options):
    """Follow all visible bars, and return the watch after them; its folder is free again."""
    detector = options.pop("detector", None)
    with Watch(folder, model, Schedule(every, detector, **options.pop("when", {})), **options) as watch:
        watch.see(bars)
    return watch


def journal(folder):
    return (folder / "journal.jsonl").read_bytes()


def same_account(watch, bars, expected):
    found = watch.standing(bars).account
    np.testing.assert_allclose(found.equity, expected.equity, rtol=1e-9)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-9, atol=1e-9)


class TestReplayIsTheWalkForward:
    @pytest.mark.parametrize("kind", ["regime gated", "MAML"])
    def test_over_2019_to_2022_through_four_adaptations(self, kind, stocks, tasks, tmp_path):
        """Done-when 4: every figure of the account to 1e-9."""
        span = stocks.select(SOME)["2014":].without_past()["2019":"2022"]
        model = gated() if kind == "regime gated" else maml(tasks)
        if kind == "MAML":
            model.trained_on = model.seen_until = None  # it was trained on bars that are no stocks
        expected = walk_forward([model], span, every=252, check=False, progress=False)[0]
        watch = watched(tmp_path, model, span, every=252)
        same_account(watch, span, expected)
        adapted = watch.journal.adapted
        assert [record.why for record in adapted] == ["first", "schedule", "schedule", "schedule"]
        assert len({record.after for record in adapted}) == 4, "it has learnt nothing, so nothing was shown"
        for record, event in zip(adapted[1:], expected.events[1:], strict=True):
            change = np.abs(np.subtract(record.aim_after, record.aim_before)).sum()
            assert change == pytest.approx(event.change, abs=1e-9)

    @pytest.mark.parametrize(
        "model",
        [
            MinimumVariance(60),
            BuyAndHold(),
            Stops(InverseVolatility(20), loss=0.02, trailing=0.05),
            Blend([EqualWeight(), Donchian(10)]),
        ],
        ids=lambda model: model.name,
    )
    def test_of_rules(self, model, bars, tmp_path):
        span = bars[1000:1200]
        expected = walk_forward([model], span, every=50, check=False, progress=False)[0]
        same_account(watched(tmp_path, model, span, every=50), span, expected)

    def test_of_a_file_of_the_users_own_and_limits(self, bars, tmp_path):
        (tmp_path / "mine.py").write_text(DRIFTING)
        model, execution = load_strategy(f"{tmp_path / 'mine.py'}:Drifting")(), Execution(gross=0.4, cash=1e5)
        span = bars[900:1000]
        expected = walk_forward([model], span, every=30, costs="3bp", execution=execution, check=False, progress=False)[
            0
        ]
        watch = watched(tmp_path / "state", model, span, every=30, costs="3bp", execution=execution)
        same_account(watch, span, expected)
        assert len(watch.journal.adapted) == 4

    def test_what_the_unadapted_model_would_have_done_since_is_recorded(self, bars, tmp_path):
        """The gain of either account from one adaptation to the next, on the way and at the end."""
        span = bars[900:1100]
        watch = watched(tmp_path, gated(), span, every=60)
        found = watch.standing(span)
        rows = [0, 60, 120, 180]
        for record, since, until in zip(watch.journal.adapted[1:], rows, rows[1:], strict=False):
            for gain, account in ((record.growth, found.account), (record.unadapted, found.unadapted)):
                assert gain == pytest.approx(account.equity[until] / account.equity[since] - 1, abs=1e-12)


class TestOncePerBar:
    @settings(max_examples=15)
    @given(cuts=st.lists(st.integers(1, 79), min_size=1, max_size=6), every=st.integers(1, 40))
    def test_it_does_not_matter_in_what_portions_bars_come(self, tmp_path_factory, bars, cuts, every):
        """The journal is the same to the byte, with restarts in between, and whatever is shown twice."""
        span, model = bars[900:980], InverseVolatility(20)
        detector = HiddenMarkovRegimes(2, restarts=1).fit(bars[:900])
        whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
        watched(whole, model, span, every=every, detector=detector)
        for cut in [*sorted(cuts), 80]:
            part = bars[900 : 900 + cut]
            watched(parts, model, part, every=every, detector=detector)
            watched(parts, model, part, every=every, detector=detector)
        assert journal(whole) == journal(parts)

    def test_later_bars_change_nothing_that_was_decided(self, bars, tmp_path):
        """No look-ahead: what comes later is turned upside down."""
        span = bars[900:980]
        turned = np.concatenate([bars.close[:940], bars.close[940:][::-1] * 1.3])
        other = Bars.make(bars.index, bars.symbols, turned, name=bars.name)[900:980]
        lines = [journal(watched(tmp_path / name, gated(), b, every=20).folder).splitlines() for name, b in
                 (("one", span), ("other", other))]  # fmt: skip
        decided = [[json.loads(line) for line in each] for each in lines]
        early = [[r for r in each if r["kind"] == "decided"][:40] for each in decided]
        assert [r["plan"] for r in early[0]] == [r["plan"] for r in early[1]]
        assert [r["plan"] for r in decided[0][-20:] if "plan" in r] != [
            r["plan"] for r in decided[1][-20:] if "plan" in r
        ]

    @pytest.mark.process
    def test_ten_kills_leave_the_journal_of_one_run(self, bars, tmp_path):
        killed_at_random(bars, tmp_path, kills=10)

    @pytest.mark.slow
    def test_a_hundred_kills_leave_the_journal_of_one_run(self, bars, tmp_path):
        """Done-when 3."""
        killed_at_random(bars, tmp_path, kills=100)

    def test_a_kill_between_any_two_writes(self, bars, tmp_path, monkeypatch):
        """After each record and each saved strategy the process dies, once; nothing is lost or doubled."""
        span, model = bars[900:930], gated()
        whole = journal(watched(tmp_path / "whole", model, span, every=10).folder)
        from backtests import audit
        from strategies import stored

        class Killed(BaseException):
            pass

        left = {"writes": 0}

        def dying(call):
            def write(*arguments, **options):
                found = call(*arguments, **options)
                left["writes"] -= 1
                if left["writes"] == 0:
                    raise Killed
                return found

            return write

        with monkeypatch.context() as patch:
            patch.setattr(audit, "append", dying(audit.append))
            patch.setattr(stored, "save", dying(stored.save))
            for after in range(1, 12):
                left["writes"], folder = after, tmp_path / str(after)
                with pytest.raises(Killed):
                    watched(folder, model, span, every=10)
                watched(folder, model, span, every=10)
                assert journal(folder) == whole, after

    def test_a_torn_line_is_cut_off(self, bars, tmp_path):
        span = bars[900:920]
        whole = journal(watched(tmp_path / "whole", EqualWeight(), span).folder)
        watched(tmp_path / "torn", EqualWeight(), span[:10])
        with (tmp_path / "torn" / "journal.jsonl").open("ab") as file:
            file.write(b'{"previous":"12ab')
        watched(tmp_path / "torn", EqualWeight(), span)
        assert journal(tmp_path / "torn") == whole


def _child(folder, bars):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watched(folder, gated(), bars, every=20)


def killed_at_random(bars, tmp_path, kills):
    """Run a watch again and again, each time killed (SIGKILL) at a random moment, until so many kills have hit it."""
    span, rng = bars[900:1020], np.random.default_rng(0)
    start = time.perf_counter()
    whole = journal(watched(tmp_path / "whole", gated(), span, every=20).folder)
    usual = time.perf_counter() - start
    context, done, rounds = multiprocessing.get_context("fork"), 0, 0
    while done < kills:
        folder = tmp_path / f"killed-{rounds}"
        rounds += 1
        while True:
            process = context.Process(target=_child, args=(folder, span))
            process.start()
            process.join(rng.uniform(0, 0.5 * usual))
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
                done += 1
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
        assert journal(folder) == whole


class TestRegimes:
    def test_a_change_that_lasts_is_a_reason_to_adapt(self, tmp_path):
        """Calm, then wild: adapted on the first bar, and when the wild regime was the most probable for `confirm` bars."""
        rng = np.random.default_rng(3)
        returns = np.concatenate([0.003 * rng.normal(size=(400, 2)), 0.03 * rng.normal(size=(100, 2))] * 2)
        index = pd.bdate_range("2015-01-01", periods=1000)
        bars = Bars.make(index, ["A", "B"], 100 * np.exp(returns.cumsum(axis=0)), name="two regimes")
        detector = HiddenMarkovRegimes(2, restarts=3).fit(bars[:600])
        span = bars[850:950]
        when = {"on_change": True, "confirm": 4}
        watch = watched(tmp_path, InverseVolatility(20), span, every=None, detector=detector, when=when)
        assert [r.why for r in watch.journal.adapted] == ["first"], "a rule that does not adapt trades on"
        watch = watched(tmp_path / "gated", gated(), span, every=None, detector=detector, when=when)
        assert [r.why for r in watch.journal.adapted] == ["first", "regime: calm to crisis"]
        labels = detector.filter(span).labels
        switch = int(np.argmax([labels[t - 3 : t + 1].tolist() == [1] * 4 for t in range(100)]))
        assert watch.journal.adapted[1].bar == span.index[switch].isoformat()
        assert 50 <= switch < 65
        assert watch.journal.adapted[1].belief["crisis"] > 0.5

    def test_the_detector_that_it_began_with_is_kept(self, bars, tmp_path):
        first, other = (HiddenMarkovRegimes(2, restarts=1).fit(b) for b in (bars[:600], bars[:800]))
        watched(tmp_path, EqualWeight(), bars[900:910], detector=first)
        watch = watched(tmp_path, EqualWeight(), bars[900:930], detector=other)
        beliefs = [list(r.belief.values()) for r in watch.journal.decided]
        np.testing.assert_array_equal(beliefs, first.filter(bars[900:930]).probabilities)


class TestBarsThatWereDecidedOn:
    @pytest.fixture
    def folder(self, bars, tmp_path):
        return watched(tmp_path, EqualWeight(), bars[900:920]).folder

    def again(self, folder, bars, close, index=None):
        other = Bars.make(bars.index[:940] if index is None else index, bars.symbols, close, name="source.csv")
        return watched(folder, EqualWeight(), other)

    def test_a_revised_close_is_refused(self, folder, bars):
        close = bars.close[:940].copy()
        close[910, 1] *= 1.01
        with pytest.raises(InputError, match=rf"source.csv: {bars.symbols[1]} closed at .* on {bars.index[910]}"):
            self.again(folder, bars, close)

    def test_one_factor_for_all_that_came_before_is_a_split(self, folder, bars):
        close = bars.close[:940].copy()
        close[:920, 0] /= 4
        assert len(self.again(folder, bars, close).journal.decided) == 40

    def test_regression_the_watch_goes_on_after_a_split_and_a_dividend(self, folder, bars):
        """Each is noted once; afterwards closes from before and after it are held against the source together."""
        close = bars.close[:940].copy()
        for decided, factor in ((20, 0.25), (25, 0.997), (30, 0.9995)):
            close[: 900 + decided, 0] *= factor
            for more in (2, 5):
                watch = watched(folder, EqualWeight(), Bars.make(bars.index[: 900 + decided + more], bars.symbols,
                                                                 close[: 900 + decided + more], name="source.csv"))  # fmt: skip
        noted = [json.loads(line) for line in journal(folder).splitlines() if b"rebased" in line]
        np.testing.assert_allclose([r["factor"] for r in noted], [[f, 1, 1] for f in (0.25, 0.997, 0.9995)], rtol=1e-12)
        assert [r["bar"] for r in noted] == [bars.index[900 + row].isoformat() for row in (19, 24, 29)]
        np.testing.assert_allclose(watch.journal.closes, close[900:935], rtol=1e-12)
        np.testing.assert_allclose(watch.standing(self.source(bars, close)).account.equity[-1] / 1e6,
                                   watched(folder / "whole", EqualWeight(), self.source(bars, close)[900:935]).standing(
                                       self.source(bars, close)).account.equity[-1] / 1e6)  # fmt: skip
        close[922, 0] *= 1.01
        with pytest.raises(InputError, match=f"on {bars.index[922]}"):
            self.again(folder, bars, close)

    @staticmethod
    def source(bars, close):
        return Bars.make(bars.index[: len(close)], bars.symbols, close, name="source.csv")

    def test_a_lost_bar_is_refused(self, folder, bars):
        rows = np.delete(np.arange(940), 910)
        with pytest.raises(InputError, match=f"without the bar of {bars.index[910]}"):
            self.again(folder, bars, bars.close[rows], bars.index[rows])

    def test_a_bar_that_comes_late_is_left_out(self, bars, tmp_path):
        rows = np.delete(np.arange(920), 910)
        part = Bars.make(bars.index[rows], bars.symbols, bars.close[rows], name="late")[900:]
        watched(tmp_path, EqualWeight(), part)
        watch = self.again(tmp_path, bars, bars.close[:940])
        assert len(watch.journal.decided) == 39
        assert bars.index[910] not in watch.standing(bars[:940]).account.index

    def test_regression_a_bar_that_came_late_is_left_out_of_adaptations_too(self, bars, tmp_path):
        """The model is adapted to the bars that a replay sees, of as many rows as there are decisions."""
        rows = np.delete(np.arange(920), 910)
        part = Bars.make(bars.index[rows], bars.symbols, bars.close[rows], name="late")[900:]
        watched(tmp_path, gated(), part, every=25)
        watch = watched(tmp_path, gated(), bars[:940], every=25)
        assert [record.bar for record in watch.journal.adapted] == [bars.index[row].isoformat() for row in (900, 926)]
        assert replay(watch.journal, watch.shelf, gated(), bars[:940]).mismatches == ()

    def test_a_symbol_that_the_source_has_got_since_is_left_out(self, bars, tmp_path):
        watched(tmp_path, EqualWeight(), bars.select(bars.symbols[:2])[900:910])
        watch = watched(tmp_path, EqualWeight(), bars[:920])
        assert watch.journal.plan.aim.shape == (20, 2)

    def test_other_symbols_are_refused_and_another_order_is_not(self, folder, bars):
        assert len(watched(folder, EqualWeight(), bars.select(bars.symbols[::-1])[:930]).journal.decided) == 30
        with pytest.raises(InputError, match="the watch began with"):
            watched(folder, EqualWeight(), bars.select(bars.symbols[:2]))


class TestRefusals:
    def test_other_settings_and_models(self, bars, tmp_path):
        watched(tmp_path, EqualWeight(), bars[900:910], every=63)
        with pytest.raises(InputError, match="is a watch whose every is 63, and not 21"):
            watched(tmp_path, EqualWeight(), bars[900:920], every=21)
        with pytest.raises(InputError, match="whose costs is"):
            watched(tmp_path, EqualWeight(), bars[900:920], costs="1bp")
        with pytest.raises(InputError, match="whose model is equal weight, and not inverse volatility"):
            watched(tmp_path, InverseVolatility(20), bars[900:920])
        watched(tmp_path / "rule", InverseVolatility(20), bars[900:910])
        with pytest.raises(InputError, match="has other settings, weights or code"):
            watched(tmp_path / "rule", InverseVolatility(21), bars[900:920])

    def test_regression_a_rule_of_the_same_name_but_other_settings(self, bars, tmp_path):
        for number, (one, other) in enumerate(
            [
                (InverseVolatility(20), InverseVolatility(60)),
                (gated(), RegimeGated(HiddenMarkovRegimes(3), [EqualWeight()] * 3)),
            ]
        ):
            watched(tmp_path / str(number), one, bars[900:910])
            with pytest.raises(InputError, match="has other settings, weights or code than when the watch began"):
                watched(tmp_path / str(number), other, bars[900:920])

    def test_regression_a_user_file_that_was_changed(self, bars, tmp_path):
        file = tmp_path / "mine.py"
        file.write_text(DRIFTING)
        watched(tmp_path / "state", load_strategy(f"{file}:Drifting")(), bars[900:910])
        file.write_text(DRIFTING.replace("-20:", "-10:").replace("-21:", "-11:"))
        with pytest.raises(InputError, match="strategy has other settings, weights or code"):
            watched(tmp_path / "state", load_strategy(f"{file}:Drifting")(), bars[900:920])

    def test_regression_what_is_left_of_a_watch_without_its_journal_is_not_used(self, bars, tmp_path):
        """Whoever removes the journal begins anew: not with the regimes and the backtest of the former watch."""
        watch = watched(tmp_path, gated(), bars[900:910], detector=HiddenMarkovRegimes(2, restarts=1).fit(bars[:600]))
        watch.standing(bars)
        assert {path.name for path in tmp_path.glob("*.json")} == {"regimes.json", "promise.json"}
        (tmp_path / "journal.jsonl").unlink()
        watch = watched(tmp_path, EqualWeight(), bars[900:910])
        assert not list(tmp_path.glob("*.json"))
        assert watch.journal.decided[0].belief == {}

    def test_regression_a_damaged_backtest_is_named(self, bars, tmp_path):
        watch = watched(tmp_path, EqualWeight(), bars[900:910])
        watch.standing(bars)
        (tmp_path / "promise.json").write_text('{"returns": [0.1')
        with pytest.raises(InputError, match=r"promise.json: is no backtest of a watch; remove it"):
            watch.standing(bars)

    def test_regression_too_few_bars_to_warm_up_are_no_silent_zero(self, bars, tmp_path):
        watch = watched(tmp_path, InverseVolatility(20), bars[15:30])
        notes = [record.note for record in watch.journal.decided]
        assert notes[0] == "inverse volatility needs 21 bars to warm up, and there are 16"
        assert [bool(note) for note in notes] == [True] * 6 + [False] * 9

    def test_two_at_once(self, bars, tmp_path):
        with Watch(tmp_path, EqualWeight(), Schedule()), pytest.raises(InputError, match="another process watches"):
            watched(tmp_path, EqualWeight(), bars[900:910])

    def test_a_changed_detector(self, bars, tmp_path):
        detector = HiddenMarkovRegimes(2, restarts=1).fit(bars[:600])
        watched(tmp_path, EqualWeight(), bars[900:910], detector=detector)
        HiddenMarkovRegimes(2, restarts=1).fit(bars[:700]).save(tmp_path / "regimes.json")
        with pytest.raises(InputError, match=r"regimes.json: it is not the detector that the watch began with"):
            watched(tmp_path, EqualWeight(), bars[900:920])

    def test_a_changed_journal_or_strategy(self, bars, tmp_path):
        watch = watched(tmp_path, EqualWeight(), bars[900:910])
        stored = tmp_path / "strategies" / watch.journal.adapted[0].after / "stored.json"
        stored.write_text(stored.read_text().replace("equal weight", "unequal weight"))
        with pytest.raises(InputError, match="its files were changed"):
            watched(tmp_path, EqualWeight(), bars[900:911])
        lines = journal(tmp_path).splitlines(keepends=True)
        (tmp_path / "journal.jsonl").write_bytes(b"".join([lines[0], *lines[2:]]))
        with pytest.raises(InputError, match=r"journal.jsonl: line 2"):
            watched(tmp_path, EqualWeight(), bars[900:911])

    def test_a_log_of_something_else(self, bars, tmp_path):
        from backtests import audit

        audit.append(tmp_path / "journal.jsonl", {"kind": "signal"})
        with pytest.raises(InputError, match="line 1 is no record of a watch"):
            watched(tmp_path, EqualWeight(), bars[900:911])

    def test_nonsense_in_a_schedule(self):
        with pytest.raises(InputError, match="every is 0"):
            Schedule(0)
        with pytest.raises(InputError, match="give one that is fitted"):
            Schedule(on_change=True)
