"""A growing source is read when it has grown, and not in the middle of a write."""

import threading
import time

import pytest

from backtests.watch import Following
from markets import InputError, load

HEAD = "Date,AAA\n2024-01-02,100\n2024-01-03,101\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "bars.csv"
    path.write_text(HEAD)
    return path


def write(path, *texts, pause=0.1):
    with path.open("a") as stream:
        for text in texts:
            stream.write(text)
            stream.flush()
            time.sleep(pause)


def test_a_file_is_read_when_it_has_grown_and_not_else(file):
    following = Following(str(file), load, settled=0.05)
    assert len(following.bars()) == 2
    assert following.look() is None
    write(file, "2024-01-04,102.5\n")
    assert following.look().close[-1, 0] == 102.5
    assert following.look() is None


def test_a_number_that_is_being_written_is_waited_for(file):
    """102.5 comes digit by digit; at no moment is a bar of 1, 10 or 102 read."""
    following = Following(str(file), load, settled=0.3)
    following.bars()
    writing = threading.Thread(target=write, args=(file, "2024-01-04,", "1", "0", "2", ".", "5\n"))
    writing.start()
    time.sleep(0.05)
    assert following.look().close[-1, 0] == 102.5
    writing.join()


def test_a_new_file_in_a_folder_is_seen(tmp_path):
    (tmp_path / "AAA.csv").write_text(HEAD.replace("AAA", "Close"))
    following = Following(str(tmp_path), load, settled=0.05)
    following.bars()
    (tmp_path / "BBB.csv").write_text(HEAD.replace("AAA", "Close"))
    assert following.look().symbols == ("AAA", "BBB")


def test_regression_a_file_that_vanishes_between_two_looks_at_it(tmp_path):
    """As one that a writer is about to rename: it was seen in the folder, and is gone when it is asked for its size."""
    (tmp_path / "AAA.csv").write_text(HEAD.replace("AAA", "Close"))
    (tmp_path / ".BBB.csv").symlink_to(tmp_path / "nowhere")
    following = Following(str(tmp_path), lambda source: load(f"{source}/AAA.csv"), settled=0.05)
    assert len(following.bars()) == 2
    assert following.look() is None


def test_what_is_no_file_is_read_at_each_look(file):
    following = Following("vendor:X", lambda source: load(file))
    assert len(following.look()) == len(following.look()) == 2


def test_a_file_that_is_gone_says_so(file):
    following = Following(str(file), load, settled=0.05)
    following.bars()
    file.unlink()
    with pytest.raises(InputError, match="no such file"):
        following.look()
