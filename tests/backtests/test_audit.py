"""The log of decisions: chained, whole after a kill, one chain however many write."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtests import audit
from markets import InputError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
records = st.dictionaries(st.text().filter(lambda name: name != "previous"), json_values, max_size=4)


@settings(max_examples=50, deadline=None)
@given(st.lists(records, max_size=6))
def test_what_is_appended_is_read(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("log") / "decisions.jsonl"
    for record in written:
        audit.append(path, record)
    found = audit.read(path)
    assert [{k: v for k, v in record.items() if k != "previous"} for record in found] == written


def test_each_line_holds_the_hash_of_the_one_before(tmp_path):
    path = tmp_path / "log.jsonl"
    returned = [audit.append(path, {"decision": k, "what": "x" * 10_000 * k}) for k in range(4)]  # longer than a block
    lines = path.read_bytes().splitlines()
    assert [json.loads(line)["previous"] for line in lines] == [
        audit.FIRST, *(hashlib.sha256(line).hexdigest() for line in lines[:-1]),
    ]  # fmt: skip
    assert audit.read(path) == returned


@pytest.mark.parametrize(
    ("tamper", "line"),
    [
        (lambda lines: [lines[0], lines[1].replace(b":1}", b":7}"), *lines[2:]], 3),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], lines[0], *lines[1:]], 2),
        (lambda lines: [lines[0], b"", *lines[1:]], 2),
        (lambda lines: [lines[0], b"[1]", *lines[1:]], 2),
        (lambda lines: [lines[0], b"\xff", *lines[1:]], 2),
    ],
)
def test_a_broken_chain_is_named(tmp_path, tamper, line):
    path = tmp_path / "log.jsonl"
    for k in range(4):
        audit.append(path, {"k": k})
    path.write_bytes(b"\n".join(tamper(path.read_bytes().splitlines())) + b"\n")
    with pytest.raises(InputError, match=rf"log\.jsonl: line {line} "):
        audit.read(path)


def test_a_torn_last_line_is_left_out_wherever_it_was_torn(tmp_path):
    path, whole = tmp_path / "log.jsonl", tmp_path / "whole.jsonl"
    for file in (path, whole):
        audit.append(file, {"k": 0})
    start = path.stat().st_size
    audit.append(whole, {"k": 1, "text": "ä"})
    content = whole.read_bytes()
    for cut in range(start, len(content)):
        path.write_bytes(content[:cut])
        assert [record["k"] for record in audit.read(path)] == [0]
        audit.append(path, {"k": 1, "text": "ä"})
        assert path.read_bytes() == content
    path.write_bytes(content[:5])  # the very first line
    assert audit.read(path) == []
    audit.append(path, {"k": 0})
    assert path.read_bytes() == content[:start]


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    audit.append(path, {"k": 0})
    before, write = path.read_bytes(), os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, line: write(handle, line[:9]))
        with pytest.raises(OSError, match="No space left") as found:
            audit.append(path, {"k": 1})
    assert found.value.errno == errno.ENOSPC
    assert path.read_bytes() == before


def test_what_cannot_be_written_leaves_no_file(tmp_path):
    assert audit.read(tmp_path / "none.jsonl") == []
    with pytest.raises(ValueError, match="previous"):
        audit.append(tmp_path / "a.jsonl", {"previous": ""})
    with pytest.raises(ValueError, match="JSON compliant"):
        audit.append(tmp_path / "a.jsonl", {"weight": float("nan")})
    assert not (tmp_path / "a.jsonl").exists()
    with pytest.raises(InputError, match=r"the log cannot be written \(No such file or directory\)"):
        audit.append(tmp_path / "nowhere" / "a.jsonl", {})
    for use in (audit.read, lambda path: audit.append(path, {})):
        with pytest.raises(InputError, match=r"\(Is a directory\)"):
            use(tmp_path)


def test_threads_write_one_chain(tmp_path):
    path = tmp_path / "log.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: audit.append(path, {"k": k}), range(64)))
    assert sorted(record["k"] for record in audit.read(path)) == list(range(64))


WRITER = """
import sys
from backtests import audit
for k in range(int(sys.argv[2])):
    audit.append(sys.argv[1], {"writer": sys.argv[3], "k": k, "text": "x" * 5000})
    print(k, flush=True)
"""


@pytest.mark.process
def test_two_processes_and_a_kill_leave_one_chain_with_all_that_was_reported(tmp_path):
    path = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", WRITER, str(path)]
    with (
        subprocess.Popen([*command, "100000", "killed"], stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen([*command, "200", "other"], stdout=subprocess.PIPE, text=True) as other,
    ):
        killed.stdout.readline()
        time.sleep(0.2)
        killed.send_signal(signal.SIGKILL)
        reported = 1 + len(killed.stdout.read().splitlines())
        other.communicate(timeout=60)
    audit.append(path, {"writer": "last", "k": 0})
    found = audit.read(path)
    counts = {name: [r["k"] for r in found if r["writer"] == name] for name in ("killed", "other", "last")}
    assert counts["other"] == list(range(200))
    assert counts["killed"] == list(range(len(counts["killed"])))
    assert len(counts["killed"]) - reported in (0, 1)  # one may be written and not yet reported
    assert found[-1]["writer"] == "last"
