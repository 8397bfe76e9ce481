import pytest

from regimeshift.console import kept


def test_an_interrupt_says_how_to_go_on_if_anything_was_kept(tmp_path):
    file = tmp_path / "checkpoint"
    for there in (False, True):
        if there:
            file.touch()
        with pytest.raises(KeyboardInterrupt) as caught, kept("go on", file):
            raise KeyboardInterrupt
        assert caught.value.args == (("go on",) if there else ())
