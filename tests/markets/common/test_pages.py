import pytest

from markets import InputError
from markets.common.pages import table, write_page


def test_a_page_is_whole_and_its_title_is_text(tmp_path):
    path = write_page(tmp_path / "a.html", "A <b> & C", "<p>body</p>", "p{margin:0}")
    text = path.read_text(encoding="utf-8")
    assert "<title>A &lt;b&gt; &amp; C</title>" in text
    assert text.endswith("<p>body</p>")
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]  # nothing is left beside it


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"b\.html: the page cannot be written \(No such file or directory\)"):
        write_page(tmp_path / "no" / "b.html", "title", "")


def test_a_table_escapes_its_texts_and_scrolls():
    found = table(
        ["a<b", "n"],
        [["x & y", "1"]],
        titles={"n": 'the "count"'},
        row_classes=["error"],
        column_classes={"n": "number"},
    )
    assert found.startswith("<div class=wide><table>")
    assert "<th>a&lt;b</th>" in found
    assert '<th class="number" title="the &quot;count&quot;">n</th>' in found
    assert '<tr class=error><td>x &amp; y</td><td class="number">1</td></tr>' in found
