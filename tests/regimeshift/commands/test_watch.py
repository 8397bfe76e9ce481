"""`regimeshift watch` and `regimeshift replay`, as they are typed."""

import json
import os
import signal
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
import samples
from command import COMMAND, call

WORDS = ("watch", "bars.csv", "--strategy", "inverse_volatility:20", "--compare", "equal_weight")


def rows(count):
    bars = samples.regime_bars(400, 2, seed=4)
    frame = pd.DataFrame(bars.close, index=bars.index.rename("Date"), columns=list(bars.symbols))
    return frame[:count].round(6).to_csv()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bars.csv").write_text(rows(350))
    return tmp_path


def journal(folder, state="watch"):
    return [json.loads(line) for line in (folder / state / "journal.jsonl").read_text().splitlines()]


def decided(folder, state="watch"):
    return [record["bar"] for record in journal(folder, state) if record["kind"] == "decided"]


def test_once_decides_on_what_is_new(folder):
    done = call(*WORDS, "--once", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert len(decided(folder)) == 1, "it begins at the last bar"
    (folder / "bars.csv").write_text(rows(353))
    assert call(*WORDS, "--once", cwd=folder).returncode == 0
    assert call(*WORDS, "--once", cwd=folder).returncode == 0
    assert len(decided(folder)) == len(set(decided(folder))) == 4
    assert all(record["at"] for record in journal(folder))
    assert "<h1>inverse volatility on bars</h1>" in (folder / "watch" / "status.html").read_text()


def test_a_replay_is_written_without_clocks_and_replayed_to_the_bit(folder):
    words = (*WORDS, "--replay", "2002:2002-03", "--every", "20")
    done = call(*words, "--state", "one", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "the account has gained" in done.stdout
    call(*words, "--state", "two", cwd=folder)
    assert (folder / "one/journal.jsonl").read_bytes() == (folder / "two/journal.jsonl").read_bytes()
    done = call("replay", "one", cwd=folder)
    assert done.returncode == 0
    assert f"1 adaptations and {len(decided(folder, 'one'))} decisions came out as recorded" in done.stdout
    frame = pd.read_csv(folder / "bars.csv", index_col=0)
    frame.iloc[100, 0] *= 1.001
    frame.to_csv(folder / "bars.csv")
    done = call("replay", "one", cwd=folder)
    assert done.returncode == 1
    assert "the bars up to it are not those" in done.stdout


def test_regression_a_kill_before_the_first_line_is_no_beginning(folder):
    """The file is there, and empty: the watch begins at its last bar, and not at the first that the source has."""
    (folder / "watch").mkdir()
    (folder / "watch/journal.jsonl").touch()
    assert call(*WORDS, "--once", cwd=folder).returncode == 0
    assert len(decided(folder)) == 1


def test_regression_a_young_source(folder):
    """Rules that it cannot warm up are left out, and what follows from its age does not change as it grows."""
    (folder / "bars.csv").write_text(rows(2))
    done = call("watch", "bars.csv", "--strategy", "equal_weight", "--once", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Left out: momentum 252, which needs 252 bars to warm up." in done.stdout
    (folder / "bars.csv").write_text(rows(350))
    assert call("watch", "bars.csv", "--strategy", "equal_weight", "--once", cwd=folder).returncode == 0
    assert len(decided(folder)) == 349


def test_regression_the_interval_that_it_began_with_is_kept(folder):
    assert call(*WORDS, "--every", "7", "--once", cwd=folder).returncode == 0
    (folder / "bars.csv").write_text(rows(352))
    assert call(*WORDS, "--once", cwd=folder).returncode == 0
    assert len(decided(folder)) == 3


def test_regression_a_file_of_the_users_own_is_found_from_anywhere(folder, tmp_path_factory):
    """A series beside it, too; and a folder of the name of a packaged data set is not taken for it."""
    (folder / "series.csv").write_text("Date,x\n2000-01-03,1\n")
    (folder / "mine.py").write_text(
        "from pathlib import Path\nimport numpy as np\nfrom markets import External\nfrom strategies import Plan, Strategy\n\n"
        "class Mine(Strategy):\n    name = 'mine'\n\n    def plan(self, bars):\n"
        "        return Plan(np.full(bars.shape, 0.25))\n"
    )
    words = ("watch", "bars.csv", "--strategy", "mine.py:Mine", "--once", "--compare", "equal_weight")
    done = call(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    about = journal(folder)[0]["about"]
    assert about == {"source": str(folder / "bars.csv"), "strategy": f"{folder / 'mine.py'}:Mine"}
    done = call("replay", str(folder / "watch"), cwd=tmp_path_factory.mktemp("elsewhere"))
    assert done.returncode == 0, done.stderr


def test_the_page_rests_nine_times_as_long_as_it_took(monkeypatch):
    from regimeshift.commands import watch as command

    now, written = [0.0], []

    def write(self, bars, *, live):
        written.append((now[0], bars))
        now[0] += 2.0

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(command._Beside, "write", write)
    beside = command._Beside(None, [], "")
    for second in range(50):
        now[0] = max(now[0], float(second))
        beside.keep_up(second if second < 30 else None)
    assert written == [(0.0, 0), (20.0, 20), (40.0, 29)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("watch",), "name the data"),
        (("watch", "bars.csv"), "takes --model FOLDER or --strategy RULE"),
        (("watch", "bars.csv", "--strategy", "momentum", "--model", "m"), "takes --model FOLDER or --strategy RULE"),
        ((*WORDS, "--replay", "2019"), "--replay 2019: write a span, such as 2019:2022"),
        ((*WORDS, "--replay", "2002:2003", "--start", "2002"), "leave out --start and --end"),
        ((*WORDS, "--poll", "0"), "--poll 0: give seconds above 0"),
        ((*WORDS, "--every", "0", "--once"), "every is 0"),
        ((*WORDS, "--name", "nobody", "--once"), "no champion of 'nobody'"),
        (("watch", "none.csv", "--strategy", "momentum"), "none.csv: no such file"),
        (("replay", "nowhere"), "nowhere: no journal of a watch"),
    ],
)
def test_what_is_wrong_is_one_line(folder, words, message):
    done = call(*words, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.process
def test_it_follows_a_file_that_grows_until_ctrl_c(folder):
    """In a process of its own: bars come one by one, a wrong one is named and looked at again, and Ctrl-C says how to go on."""
    lines = rows(354).splitlines(keepends=True)
    process = subprocess.Popen(
        [*COMMAND, *WORDS, "--poll", "0.2"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C
    )  # fmt: skip

    def wait_for(count):
        until = time.monotonic() + 90
        while not (folder / "watch/journal.jsonl").exists() or len(decided(folder)) < count:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until, "no decision"
            time.sleep(0.1)

    try:
        wait_for(1)
        with (folder / "bars.csv").open("a") as file:
            file.write(lines[351])
        wait_for(2)
        good = (folder / "bars.csv").read_text()
        (folder / "bars.csv").write_text(good + lines[352].partition(",")[0] + ",-5,-5\n")
        time.sleep(2.5)
        (folder / "bars.csv").write_text(good + lines[352])
        wait_for(3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Watching bars.csv; the page is watch/status.html" in out
    assert "bars.csv" in err, "the wrong bar was named"
    assert "row" in err
    assert err.rstrip().endswith("interrupted; the same command goes on where it was")
    closes = [record["close"] for record in journal(folder) if record["kind"] == "decided"]
    np.testing.assert_allclose(closes[-1], [float(x) for x in lines[352].split(",")[1:]])
