"""Looks are appended before anything is computed, and never changed."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.real_market import looks
from markets import InputError

ROOT = Path(__file__).parents[3]


def test_looks_are_appended(tmp_path):
    file = tmp_path / "results" / "looks.csv"
    looks.record({"stocks": ("2008", "2022"), "fx": ("2008", "2026")}, "abc", "c0", "first, with a comma", file)
    before = file.read_bytes()
    looks.record({"stocks": ("2008", "2022")}, "def", "c1", "second", file)
    assert file.read_bytes().startswith(before)
    found = looks.recorded(file)
    assert [(look.universe, look.protocol) for look in found] == [("stocks", "abc"), ("fx", "abc"), ("stocks", "def")]
    assert found[0].span == "2008 to 2022"
    assert found[0].computed == "first, with a comma"
    assert looks.count_of(found, "stocks", "def") == (2, 1)
    assert looks.count_of(found, "futures", "def") == (0, 0)


def test_a_look_that_cannot_be_recorded_opens_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no test span is opened"):
        looks.record({"stocks": ("2008", "2022")}, "abc", "c0", "first", tmp_path / "file" / "looks.csv")


def test_earlier_looks_head_the_record():
    found = looks.recorded()
    assert [look.universe for look in found[:3]] == ["stocks"] * 3
    assert {look.protocol for look in found[:10]} == {"none"}
    assert looks.count_of(found[:10], "futures", "x") == (2, 0)


def test_a_test_span_is_recorded_before_its_bars_are_loaded(tmp_path, monkeypatch):
    """The look stands even if the run ends at the very first thing it does."""
    from benchmarks.real_market import __main__ as command
    from benchmarks.real_market.protocol import Protocol

    order = []
    monkeypatch.setattr(Protocol, "check_submitted", lambda *_: order.append("submitted"))
    monkeypatch.setattr(looks, "FILE", tmp_path / "looks.csv")
    record = looks.record

    def recorded(*arguments):
        order.append("recorded")
        return record(*arguments, tmp_path / "looks.csv")

    def fails(rules, protocol, part, quick=False):
        order.append(f"{part} of {rules.name}")
        raise InputError("stopped here")

    monkeypatch.setattr(looks, "record", recorded)
    monkeypatch.setattr(looks, "recorded", lambda: [])
    monkeypatch.setattr(command, "of_protocol", fails)
    monkeypatch.setattr(
        command, "missing", lambda name: "" if name == "stocks" else "fetch it"
    )  # nothing across universes
    monkeypatch.setattr(sys, "argv", ["real_market", "--universe", "stocks"])
    with pytest.raises(SystemExit, match="stopped here"):
        command.main()
    assert order == ["submitted", "recorded", "test of stocks"]
    assert (tmp_path / "looks.csv").read_text().count("stocks") == 1


@pytest.mark.process
def test_development_records_nothing():
    before = looks.FILE.read_bytes()
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.real_market", "--development", "--universe", "no.csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("real_market: no.csv: no such file")
    assert looks.FILE.read_bytes() == before
