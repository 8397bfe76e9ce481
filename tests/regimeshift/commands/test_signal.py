import io
import json

import numpy as np
import pandas as pd
import pytest
import samples
from command import call, refused

from backtests import audit, registry
from markets import InputError
from regimeshift.commands.signal import _read_series
from strategies import InverseVolatility, WeightLimit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's at import


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a registered model, its bars and holdings."""
    folder = tmp_path_factory.mktemp("signals")
    bars = samples.regime_bars(400, 3, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        registry.register("ours", WeightLimit(InverseVolatility(20), 0.3), bars=bars[:390], root=folder / "mlruns")
    frame = pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=list(bars.symbols))
    frame.to_csv(folder / "my.csv")
    frame.iloc[:-1].assign(S1=frame["S1"].where(frame.index < frame.index[-2])).to_csv(folder / "gap.csv")
    (folder / "held.csv").write_text("symbol,shares\nS0,1000\nS2,50\ncash,20000\n")
    return folder


def signal(desk, *words, bars="my.csv"):
    return call("signal", "--model", "ours/1", "--bars", bars, *words, cwd=desk)


def test_a_table_json_and_csv_say_the_same(desk):
    table, text = signal(desk), signal(desk, "--format", "csv")
    found = json.loads(signal(desk, "--format", "json").stdout)
    assert json.loads(signal(desk, "--json").stdout) == found
    frame = pd.read_csv(io.StringIO(text.stdout), index_col="symbol")
    assert frame.columns.tolist() == ["target_weight", "band", "rate"]
    for column in frame:
        assert frame[column].to_dict() == found[column]
    assert found["version"] == "ours/1"
    assert found["limits"][0].startswith("weights to 0.3: S")
    assert f"Limit: {found['limits'][0]}." in table.stdout
    assert f"{frame['target_weight']['S0']:.4%}" in table.stdout
    assert (table.returncode, table.stderr, text.stderr) == (0, "", "")


def test_holdings_lead_to_orders_in_whole_shares(desk):
    frame = pd.read_csv(
        io.StringIO(signal(desk, "--format", "csv", "--holdings", "held.csv").stdout), index_col="symbol"
    )
    assert frame["held"].to_dict() == {"S0": 1000, "S1": 0, "S2": 50}
    equity = 20_000 + (frame["held"] * frame["price"]).sum()
    after = (frame["held"] + frame["order"]) * frame["price"] / equity
    assert (frame["order"] % 1 == 0).all()
    np.testing.assert_allclose(after, frame["trade_to"], atol=(frame["price"] / equity).max() + 1e-3)
    assert (after <= frame["trade_to"] + 1e-9).all()  # towards zero
    lots = pd.read_csv(io.StringIO(signal(desk, "--format", "csv", "--holdings", "held.csv", "--lot", "10").stdout))
    assert ((lots["held"] + lots["order"]) % 10 == 0).all()
    table = signal(desk, "--holdings", "held.csv").stdout.splitlines()
    assert table[1].split()[:2] == ["symbol", "order"]


def test_exit_statuses_are_fit_for_cron(desk):
    """0 is a decision of the model, 3 the fallback, 2 none; one line on stderr says why."""
    assert signal(desk, bars="gap.csv").returncode == 2
    refused(signal(desk, bars="gap.csv"), "S1 has no close at")
    done = signal(desk, "--format", "json", "--fallback", "hold", "--holdings", "held.csv", bars="gap.csv")
    assert done.returncode == 3
    assert done.stderr.startswith("regimeshift: hold: S1 has no close at")
    assert len(done.stderr.splitlines()) == 1
    found = json.loads(done.stdout)
    assert found["flag"] == "hold"
    assert found["order"] == {"S0": 0, "S1": 0, "S2": 0}
    flat = json.loads(signal(desk, "--json", "--fallback", "flat", "--holdings", "held.csv", bars="gap.csv").stdout)
    assert flat["order"] == {"S0": -1000, "S1": 0, "S2": -50}
    assert "as it is" in signal(desk, "--fallback", "hold", bars="gap.csv").stdout
    refused(signal(desk, "--max-age", "5"), "days ago, and 5 bars (5 days) are allowed")
    refused(
        signal(desk, "--fallback", "hold", "--symbols", "S0", "S1"), "is without S2"
    )  # the call is wrong, not the market


def test_each_decision_is_in_the_log(desk):
    answer = json.loads(signal(desk, "--json", "--log", "log.jsonl").stdout)
    signal(desk, "--fallback", "hold", "--log", "log.jsonl", bars="gap.csv")
    refused(signal(desk, "--log", "log.jsonl", bars="gap.csv"), "S1 has no close at")
    first, second = audit.read(desk / "log.jsonl")
    assert first["answer"]["target_weight"] == list(answer["target_weight"].values())
    assert second["answer"]["flag"] == "hold"
    refused(signal(desk, "--log", "nowhere/log.jsonl"), "--log: nowhere/log.jsonl: the log cannot be written")
    refused(signal(desk, "--holdings", "nobody.csv"), "--holdings: nobody.csv: not a table of holdings")


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
