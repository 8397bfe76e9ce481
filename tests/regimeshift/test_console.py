import io
import sys
from pathlib import Path

import pandas as pd
import pytest
from command import call, refused
from rich.console import Console

from markets import InputError
from regimeshift import console
from regimeshift.console import kept


def test_an_interrupt_says_how_to_go_on_if_anything_was_kept(tmp_path):
    file = tmp_path / "checkpoint"
    for there in (False, True):
        if there:
            file.touch()
        with pytest.raises(KeyboardInterrupt) as caught, kept("go on", file):
            raise KeyboardInterrupt
        assert caught.value.args == (("go on",) if there else ())


def on_a_terminal(monkeypatch, width):
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=width, color_system=None, highlight=False, soft_wrap=True)
    monkeypatch.setattr(console, "console", terminal)
    return out


TABLE = pd.DataFrame({f"a long head {i}": ["1.00%", "-2.00%"] for i in range(8)}, index=["first", "second"])


def test_regression_a_table_in_a_pipe_has_its_full_width(capsys, monkeypatch):
    """It was cut to 80 columns: "volatili…", "-0.…"."""
    monkeypatch.setenv("COLUMNS", "80")
    console.show(TABLE, "title", "strategy")
    text = capsys.readouterr().out
    assert "…" not in text
    assert all(head in text for head in TABLE.columns)
    assert not any(line.endswith(" ") for line in text.splitlines())


@pytest.mark.parametrize("width", [40, 80])
def test_regression_a_narrow_terminal_gets_fewer_columns_and_their_names(monkeypatch, width):
    out = on_a_terminal(monkeypatch, width)
    console.show(TABLE, "title", "strategy", "widen it")
    table, _, left_out = out.getvalue().partition("Not shown: ")
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= width
    shown = [head for head in TABLE.columns if head in table]
    assert shown == list(TABLE.columns[: len(shown)])
    assert left_out == f"{', '.join(TABLE.columns[len(shown) :])}; widen it.\n"


def test_a_spinner_names_the_step_at_once_on_a_terminal_alone(monkeypatch, capsys):
    with console.step("reading"):
        pass
    assert capsys.readouterr().out == ""
    out = on_a_terminal(monkeypatch, 80)
    with console.step("reading"):
        assert "reading ..." in out.getvalue()


def test_a_command_to_copy_works_in_a_shell(monkeypatch):
    ours = Path(sys.executable).parent
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert console.command_line("regimeshift", "serve", "a b") == f"{ours}/regimeshift serve 'a b'"
    monkeypatch.setenv("PATH", f"{ours}:/usr/bin")
    assert console.command_line("regimeshift", "ui") == "regimeshift ui"


def test_regression_a_page_that_cannot_be_is_refused_before_anything_is_computed(tmp_path):
    for name, message in ((".", "a folder; name a file in it"), ("x.pdf", "ends in .html")):
        with pytest.raises(InputError, match=message):
            console.page_file(tmp_path / name, "--report")
        done = call("backtest", "none.csv", "--report", name, cwd=tmp_path)  # the data would be missed later
        refused(done, f"--report {name}", message)
    assert console.page_file(tmp_path / "new" / "x.html", "--report").parent.is_dir()
