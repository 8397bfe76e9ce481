import pandas as pd
import pytest

from markets import InputError
from regimeshift.commands.signal import _read_series


def test_series_are_read_by_time(tmp_path):
    (tmp_path / "vix.csv").write_text("known,vix,rate\n2024-01-02,13.2,4.0\n2024-01-03,14.0,\n")
    table = _read_series(str(tmp_path / "vix.csv"))
    assert table.index.tolist() == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")]
    assert table["vix"].tolist() == [13.2, 14.0]
    assert table["rate"].notna().tolist() == [True, False]


@pytest.mark.parametrize("text", [None, "known,vix\nsoon,13.2\n", ""])
def test_what_is_no_table_by_time_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "vix.csv").write_text(text)
    with pytest.raises(InputError, match=r"--series .*vix.csv: not a table by time"):
        _read_series(str(tmp_path / "vix.csv"))
