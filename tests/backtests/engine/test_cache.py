"""What was computed once is read; what differs in anything that counts is computed again."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import samples
import walkers

from backtests import walk_forward
from backtests.engine import walk_forward as module
from backtests.engine.task_cuts import WindowTasks
from markets import InputError
from strategies import BuyAndHold, EqualWeight, Momentum

TASKS = WindowTasks(40, 20, 60)


@pytest.fixture(scope="module")
def panel():
    return samples.regime_bars(1500, 3, seed=1)


@pytest.fixture
def computed(monkeypatch):
    """The jobs that were run."""
    found = []

    def run(job, bars):
        found.append(job)
        return real(job, bars)

    real = module.run
    monkeypatch.setattr(module, "run", run)
    return found


def study(bars, cache, strategies=None, **options):
    strategies = strategies or [walkers.MeanLearner(), Momentum(50), BuyAndHold()]
    options = {"every": 40, "retrain_every": "6M", "tasks": TASKS, "controls": True} | options
    return walk_forward(strategies, bars, cache=cache, progress=False, **options)


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        assert (a.name, a.folds, a.fingerprint, a.remark) == (b.name, b.folds, b.fingerprint, b.remark)
        assert list(map(repr, a.events)) == list(map(repr, b.events))
        for x, y in ((a.equity, b.equity), (a.plan.aim, b.plan.aim)):
            np.testing.assert_array_equal(x, y)
        assert (a.plan.band is None) == (b.plan.band is None)


def test_the_second_time_nothing_is_computed_and_all_is_the_same(panel, tmp_path, computed):
    first = study(panel[1000:], tmp_path)
    jobs = len(computed)
    assert jobs == len(list(tmp_path.glob("*.npz"))) == len(first[0].folds) + 2
    assert_same(first, study(panel[1000:], tmp_path))
    assert len(computed) == jobs
    assert_same(first, study(panel[1000:], None))


def test_costs_and_names_of_data_do_not_count_and_an_extended_study_goes_on(panel, tmp_path, computed):
    study(panel[1000:1300], tmp_path)
    before = len(computed)
    study(replace(panel[1000:1300], name="other"), tmp_path, costs="50bp")
    assert len(computed) == before
    longer = study(panel[1000:], tmp_path, [walkers.MeanLearner(), EqualWeight()])
    again = [job for job in computed[before:] if isinstance(job.strategy, walkers.MeanLearner)]
    assert 0 < len(again) < len(longer[0].folds)
    assert_same(longer, study(panel[1000:], None, [walkers.MeanLearner(), EqualWeight()]))


@pytest.mark.parametrize(
    "change",
    [{"every": 41}, {"tasks": WindowTasks(41, 20, 60)}, {"controls": False}, {"purge": 1}, {"check": False},
     {"strategies": [walkers.MeanLearner(scale=99), Momentum(51), EqualWeight()]}],
)  # fmt: skip
def test_what_counts_is_computed_again(panel, tmp_path, computed, change):
    first = study(panel[1300:], tmp_path)
    before = len(computed)
    study(panel[1300:], tmp_path, **change)
    learnt = [job for job in computed[before:] if isinstance(job.strategy, walkers.MeanLearner)]
    assert len(learnt) == len(first[0].folds)


def test_other_prices_are_computed_again(panel, tmp_path, computed):
    study(panel[1300:], tmp_path)
    before = len(computed)
    held = panel.with_past()
    close = held.close.copy()
    close[5, 1] *= 1.001
    study(held.with_values(close=close)[1300:], tmp_path)
    assert len(computed) == 2 * before


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None])
def test_a_damaged_file_is_computed_again(panel, tmp_path, computed, damage):
    first = study(panel[1300:], tmp_path)
    before = len(computed)
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    assert_same(first, study(panel[1300:], tmp_path))
    assert len(computed) == 2 * before
    assert_same(first, study(panel[1300:], tmp_path))
    assert len(computed) == 2 * before


def test_ctrl_c_keeps_what_is_finished_and_says_so(panel, tmp_path, monkeypatch):
    expected, real, calls = study(panel[1000:], None), module.run, []

    def interrupted(job, bars):
        calls.append(job)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(job, bars)

    monkeypatch.setattr(module, "run", interrupted)
    with pytest.raises(
        KeyboardInterrupt, match=r"2 of 6 jobs were finished, and are kept in .*; the same call goes on"
    ):
        study(panel[1000:], tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 2
    assert_same(expected, study(panel[1000:], tmp_path))
    assert len(calls) == 3 + 4
    calls.clear()
    with pytest.raises(KeyboardInterrupt, match="are lost; with a cache they are kept"):
        study(panel[1000:], None)


def test_what_cannot_be_told_is_not_kept(panel, tmp_path):
    rule = EqualWeight()
    rule.lock = threading.Lock()
    study(panel[1400:], tmp_path, [rule])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(panel, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write there .*; choose another folder"):
        study(panel[1400:], tmp_path / "file" / "cache")


def test_regression_the_time_zone_of_the_bars_counts(panel, tmp_path, computed):
    """A month begins at another bar in another zone, but bars of the same instants had one key."""
    held = panel.with_past()
    there = replace(held, _index=held._index.tz_localize("UTC") if held._index.tz is None else held._index)
    for zone, runs in (("UTC", 1), ("Asia/Tokyo", 2), ("UTC", 2)):
        walk_forward([EqualWeight()], there.in_zone(zone)[1000:], cache=tmp_path, progress=False)
        assert len(computed) == runs


def test_regression_a_file_damaged_anywhere_is_computed_again(panel, tmp_path, computed):
    """A flipped bit in the directory of the file raised NotImplementedError or TokenError."""
    expected = study(panel[1400:], tmp_path, [EqualWeight()])
    (file,) = tmp_path.glob("*.npz")
    whole = file.read_bytes()
    for place in (whole.index(b"PK\x01\x02") + 8, whole.index(b"PK\x01\x02") + 10):  # flags, and method of compression
        damaged = bytearray(whole)
        damaged[place] ^= 32
        file.write_bytes(damaged)
        assert_same(expected, study(panel[1400:], tmp_path, [EqualWeight()]))
    assert len(computed) == 3
