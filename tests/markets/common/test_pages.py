import pytest

from markets import InputError
from markets.common.pages import write_page


def test_a_page_is_whole_and_its_title_is_text(tmp_path):
    path = write_page(tmp_path / "a.html", "A <b> & C", "<p>body</p>", "p{margin:0}")
    text = path.read_text(encoding="utf-8")
    assert "<title>A &lt;b&gt; &amp; C</title>" in text
    assert text.endswith("<p>body</p>")
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]  # nothing is left beside it


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"b\.html: the page cannot be written \(No such file or directory\)"):
        write_page(tmp_path / "no" / "b.html", "title", "")
