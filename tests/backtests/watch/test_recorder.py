"""The flight recorder: adaptations and decisions come out as recorded, to the bit, or are named."""

import shutil

import pandas as pd
import pytest
import samples

from backtests.watch import Journal, Schedule, Watch, replay
from backtests.watch.shelf import Shelf
from markets import Bars, HiddenMarkovRegimes, InputError
from strategies import Donchian, EqualWeight, InverseVolatility, RegimeGated


def gated(window=20):
    return RegimeGated(HiddenMarkovRegimes(2, restarts=1), [EqualWeight(), InverseVolatility(window)])


@pytest.fixture
def watch(bars, tmp_path):
    with Watch(tmp_path, gated(), Schedule(30)) as found:
        found.see(bars[900:980])
    return found


def test_all_comes_out_as_recorded_whatever_came_later(watch, bars):
    shown = []
    found = replay(Journal(watch.folder), watch.shelf, gated(), bars, lambda done, total: shown.append((done, total)))
    assert found == (3, 80, ())
    assert shown[-1] == (83, 83)


def test_another_model_is_named_at_each_adaptation(watch, bars):
    found = replay(watch.journal, watch.shelf, gated(21), bars)
    assert [m.bar for m in found.mismatches] == [r.bar for r in watch.journal.adapted]
    assert "other settings or weights" in found.mismatches[0].what


def test_bars_before_the_watch_that_were_revised_are_named(watch, bars):
    """The closes of the watch are as they were, but those that it adapted to are not."""
    close = bars.close.copy()
    close[400] *= 1.001
    other = Bars.make(bars.index, bars.symbols, close, name="revised")
    found = replay(watch.journal, watch.shelf, gated(), other)
    assert len([m for m in found.mismatches if "not those that it was made from" in m.what]) == 3


def test_regression_strategies_that_were_removed_are_named(watch, bars):
    """They were taken for a registered version's, and nothing of theirs was replayed."""
    shutil.rmtree(watch.shelf.folder)
    with pytest.raises(InputError, match="not a saved strategy"):
        replay(Journal(watch.folder), Shelf(watch.shelf.folder), gated(), bars)


def test_regression_an_hour_that_comes_twice(tmp_path):
    """In the hour after summer time, 01:00-05:00 is later than 01:30-04:00, though not as a text."""
    index = pd.date_range("2022-10-30 19:00", periods=400, freq="30min", tz="America/New_York")
    close = samples.regime_bars(400, 2, seed=3).close
    span = Bars.make(index, ["A", "B"], close, name="hourly")[300:]
    model = RegimeGated(HiddenMarkovRegimes(2, restarts=1), [Donchian(10), InverseVolatility(20)])
    with Watch(tmp_path, model, Schedule(1)) as watch:
        watch.see(span[:12])
    assert {record.bar[-6:] for record in watch.journal.decided} == {"-04:00", "-05:00"}
    assert [record.bar[11:] for record in watch.journal.decided[1:3]] == ["01:30:00-04:00", "01:00:00-05:00"]
    assert replay(watch.journal, watch.shelf, model, span) == (12, 12, ())


def test_a_decision_that_was_written_by_other_means_is_named(watch, bars, tmp_path_factory):
    """A journal that was written anew, with its chain, but a weight changed."""
    import json

    from backtests import audit

    folder = tmp_path_factory.mktemp("forged")
    for line in (watch.folder / "journal.jsonl").read_text().splitlines():
        record = json.loads(line)
        record.pop("previous")
        if record.get("bar") == bars.index[950].isoformat() and record["kind"] == "decided":
            record["plan"]["aim"][0] += 1e-12
        audit.append(folder / "journal.jsonl", record)
    found = replay(Journal(folder), watch.shelf, gated(), bars)
    assert [m.bar for m in found.mismatches] == [bars.index[950].isoformat()]
