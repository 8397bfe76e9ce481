"""A watch of a registered model: the champion decides, challengers are registered once and earn their place by the gates."""

import mlflow
import numpy as np
import pandas as pd
import pytest

from backtests import certificate, registry, tracking, walk_forward
from backtests.gates import Rules
from backtests.monitoring import ComparisonAlarm
from backtests.watch import Champion, Schedule, Watch, journal
from markets import Bars, Costs, Execution, HiddenMarkovRegimes, InputError
from strategies import EqualWeight, InverseVolatility, MinimumVariance, RegimeGated

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's at import
LENIENT = Rules(latency=60, deflated=0.0)


def gated():
    return RegimeGated(HiddenMarkovRegimes(2, restarts=1), [EqualWeight(), InverseVolatility(20)])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = tmp_path_factory.mktemp("watch") / "mlruns"
        patch.setattr(certificate, "ROWS", 5)
        patch.setattr(certificate, "FUZZED", 5)
        patch.setattr(registry, "prove", lambda *_: 0.0)  # a process each; test_registry.py starts them
        mlflow.set_tracking_uri(tracking.connect(root))
        yield root
        mlflow.set_tracking_uri(None)


def begin(name, root, bars, model=None):
    version = registry.register(name, model or gated(), bars=bars[:900], root=root)
    registry.promote(version, LENIENT, root=root)
    return version


def watched(folder, name, root, bars, adopt, rules=LENIENT, every=30):
    adoption = Champion(name, gated(), adopt, 60, Costs.parse("10bp"), Execution(), rules, root)
    with Watch(folder, gated(), Schedule(every), adoption) as watch:
        watch.see(bars)
    return watch


def versions_of(name):
    found = mlflow.MlflowClient().search_model_versions(f"name = '{name}'")
    return sorted(int(v.version) for v in found)


def duel(watch, span):
    """The evidence of champion against challenger, from their backtests."""
    last = watch.journal.adapted[-1]
    row = span.index.get_loc(pd.Timestamp(last.bar))
    champion, challenger = (watch.shelf.get(mark) for mark in (watch.unadapted, last.after))
    end = span.past + row + 1
    before = span.rows(end - round(span.with_past().bars_per_year), end)
    apart = [walk_forward([s], before, check=False, progress=False)[0].returns for s in (challenger, champion)]
    alarm = ComparisonAlarm(volatility=np.std(apart[0] - apart[1]), level=0.05 / 3)
    other = walk_forward([challenger], span, check=False, progress=False)[0]
    for k in range(row, len(span) - 1):
        alarm.update(span.index[k + 1], watch.standing(span).account.returns[k], other.returns[k])
    return alarm.value


class Killed(BaseException):
    pass


def test_the_champion_decides_until_a_challenger_passes_the_gates(root, bars, tmp_path, monkeypatch):
    """Each decision is that of whoever is the champion at that bar, and the registry's history says the same.

    The process is killed once, when the challenger is there and promoted, but the journal does not say so: nothing is done twice.
    """
    begin("gates", root, bars)
    append = journal.Journal.append

    def dies(self, kind, *arguments):
        if kind == "offered":
            raise Killed
        append(self, kind, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "append", dies)
        with pytest.raises(Killed):
            watched(tmp_path, "gates", root, bars[900:945], "gates")
    watch = watched(tmp_path, "gates", root, bars[900:945], "gates")
    by = [record.by for record in watch.journal.decided]
    assert by == ["models:/gates/1"] * 30 + ["models:/gates/2"] * 15
    (adapted,) = watch.journal.adapted
    assert adapted.why == "schedule"
    assert watch.journal.offered[adapted.bar] == "models:/gates/2 passed the gates and is the champion"
    assert versions_of("gates") == [1, 2]
    _, move = registry.history("gates", root=root)
    assert (move.version, move.before, move.kind) == (2, 1, "promote")
    assert "watch: schedule" in move.why
    assert move.gates["champion"].startswith("passed"), "it was compared with the champion on the same bars"
    for row, number in ((5, 1), (40, 2)):
        model = registry.load(f"gates/{number}", root=root)
        expected = registry.target_weights(model, bars[: 901 + row])["target_weight"]
        np.testing.assert_array_equal(watch.journal.plan.aim[row], expected)


def test_asked_it_leaves_the_champion_and_says_what_the_gates_find(root, bars, tmp_path):
    begin("ask", root, bars)
    watch = watched(tmp_path, "ask", root, bars[900:935], "ask")
    (outcome,) = watch.journal.offered.values()
    assert outcome.startswith(
        "models:/ask/2 is the challenger and passes the gates; to promote it: regimeshift promote ask 2"
    )
    assert {record.by for record in watch.journal.decided} == {"models:/ask/1"}
    found = {alarm.name: alarm for alarm in watch.standing(bars[900:935]).alarms}
    assert found["challenger"].limit == pytest.approx(60), "three alarms share the level of 5 %"
    assert found["challenger"].sentence == "no evidence of which is better"
    assert found["challenger"].value == pytest.approx(duel(watch, bars[900:935]))
    aliases = mlflow.MlflowClient().get_registered_model("ask").aliases
    assert {name: int(version) for name, version in aliases.items()} == {"champion": 1, "challenger": 2}
    registry.promote(registry.Version("ask", 2), LENIENT, root=root)  # someone follows
    watch = watched(tmp_path, "ask", root, bars[900:940], "ask")
    assert [record.by for record in watch.journal.decided[-6:]] == ["models:/ask/1", *["models:/ask/2"] * 5]


def test_what_does_not_pass_stays_the_challenger(root, bars, tmp_path):
    begin("refused", root, bars)
    watch = watched(tmp_path, "refused", root, bars[900:935], "gates", Rules(latency=1e-9))
    (outcome,) = watch.journal.offered.values()
    assert "latency: a decision takes" in outcome
    assert outcome.endswith("not promoted; it is the challenger")
    assert {record.by for record in watch.journal.decided} == {"models:/refused/1"}


def test_bars_that_the_contract_refuses_leave_the_positions_alone(root, bars, tmp_path):
    """A symbol falls silent: the note says so, and the account keeps what it holds."""
    begin("silent", root, bars, MinimumVariance(60))
    close = bars.close[:920].copy()
    close[912:, 1] = np.nan
    other = Bars.make(bars.index[:920], bars.symbols, close, name="silent")
    watch = watched(tmp_path, "silent", root, other[900:], "ask", every=None)
    notes = [record.note for record in watch.journal.decided]
    assert not any(notes[:12])
    assert all(bars.symbols[1] in note for note in notes[12:])
    assert f"{bars.symbols[1]} has no close at {bars.index[912]}" in notes[12]
    account = watch.standing(other).account
    assert account.traded[14:].sum() == 0
    assert (account.weights[-1] > 0).any()


def test_without_a_champion_it_says_what_to_do(root, bars, tmp_path):
    with pytest.raises(InputError, match="no champion of 'nobody'"):
        watched(tmp_path, "nobody", root, bars[900:905], "ask")
