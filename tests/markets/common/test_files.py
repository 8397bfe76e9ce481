from concurrent.futures import ThreadPoolExecutor

import pytest

from markets.common.files import replacing


def test_a_file_is_there_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted():
        with replacing(path) as beside:
            beside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "a.txt") as beside:
        beside.write_text("x")


def test_links_and_permissions_stay(tmp_path):
    path, link = tmp_path / "a.txt", tmp_path / "link.txt"
    path.write_text("old")
    path.chmod(0o600)
    link.symlink_to(path)
    with replacing(link) as beside:
        beside.write_text("new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_regression_threads_do_not_share_a_temporary_file(tmp_path):
    path = tmp_path / "a.txt"
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda k: write(path, str(k % 10) * 10_000), range(100)))
    assert len(set(path.read_text())) == 1


def write(path, text):
    with replacing(path) as beside:
        beside.write_text(text)
