import json

import pandas as pd
import pytest
import samples
from command import call, refused
from policies import random_strategy

from backtests import registry
from strategies import Blend, WeightLimit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's at import


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with bars, and a registered blend of two policies in a limit."""
    folder = tmp_path_factory.mktemp("explained")
    bars = samples.regime_bars(400, 3, seed=1)
    parts = [random_strategy(3, context=5), random_strategy(4, context=4, memory="belief")]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr("backtests.certificate.ROWS", 2)
        patch.setattr("backtests.certificate.FUZZED", 2)
        registry.register("ours", WeightLimit(Blend(parts), 0.4), bars=bars[:390], root=folder / "mlruns")
    frame = pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=list(bars.symbols))
    frame.to_csv(folder / "my.csv")
    return folder


def explain(desk, *words, model="ours/1"):
    return call("explain", model, "--bars", "my.csv", *words, cwd=desk)


def test_a_table_json_and_a_page_say_the_same(desk):
    table = explain(desk, "--symbol", "S1", "--page", "pages/why.html")
    found = json.loads(explain(desk, "--symbol", "S1", "--json").stdout)
    assert table.returncode == 0, table.stderr
    total = found["base"] + found["resting_tilt"] + sum(row["sum"] for row in found["features"].values())
    assert total + found["limited"] == pytest.approx(found["decision"], abs=1e-3)
    assert sum(found["bars"].values()) == pytest.approx(sum(row["sum"] for row in found["features"].values()))
    for name, row in found["features"].items():
        (line,) = [line for line in table.stdout.splitlines() if line.split()[:1] == [name]]
        assert f"{row['sum']:+.2%}" in line
    assert f"why {found['decision']:.2%} of S1" in table.stdout
    assert "Wrote pages/why.html" in table.stdout
    assert "resting tilt" in (desk / "pages" / "why.html").read_text()
    signal = json.loads(call("signal", "-m", "ours/1", "--bars", "my.csv", "--json", cwd=desk).stdout)
    assert signal["target_weight"]["S1"] == pytest.approx(found["decision"], abs=1e-9)


def test_a_decision_of_the_past_and_a_span(desk):
    at = json.loads(explain(desk, "--at", "2002-05-01", "--json").stdout)
    until = json.loads(explain(desk, "--until", "2002-05-01", "--json").stdout)
    assert at["after"].startswith("2002-05-01")
    assert at == until
    done = explain(desk, "--from", "2002-06-20", "--page", "span.html")
    assert "mean absolute contributions" in done.stdout
    assert "2002-06-20" in done.stdout
    span = json.loads(explain(desk, "--from", "2002-06-20", "--symbol", "S0", "--json").stdout)
    assert span["symbol"] == "S0"
    assert all(row["sum"] >= 0 for row in span["features"].values())


def test_a_rule_is_decided_again_without_single_bars(desk):
    done = explain(desk, "--page", "rule.html", model="inverse_volatility:20")
    assert "decided again without the returns of single bars: the last 21" in done.stdout
    found = json.loads(explain(desk, "--json", "--symbol", "S2", model="inverse_volatility:20").stdout)
    assert len(found["without"]) == 21
    assert "it would be the same" in explain(desk, model="equal_weight").stdout


def test_wrong_options_are_one_line(desk):
    refused(call("explain", "ours/1", cwd=desk), "regimeshift explain ours/1 --bars FILE.csv")
    refused(explain(desk, "--symbol", "X"), "--symbol X: my has S0, S1, S2")
    refused(explain(desk, "--at", "2002", "--from", "2001"), "--at names one decision")
    refused(explain(desk, "--at", "1990"), "--at: no bars from the start to 1990")
    refused(explain(desk, "--page", "why.txt"), "--page why.txt: pages are HTML")
    refused(explain(desk, model="nothing"), "model 'nothing' cannot be loaded", "registered models: ours")
    refused(explain(desk, "--from", "2002", model="momentum:20"), "reads no features", "--at")
    refused(explain(desk, "--symbols", "S0", "S1"), "is without S2")
