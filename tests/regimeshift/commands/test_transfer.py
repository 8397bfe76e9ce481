"""``regimeshift transfer``: what it prints, and that the saved model is one like any other."""

import pandas as pd
import pytest
import samples
from command import call, refused

from metalearner import load_meta

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's at import


@pytest.fixture(scope="module")
def desk(tmp_path_factory, meta):
    """A folder with a model, and with bars of another market."""
    folder = tmp_path_factory.mktemp("handed-over")
    meta.save(folder / "home")
    bars = samples.regime_bars(900, 2, seed=5)
    index = (bars.index + pd.DateOffset(years=8)).rename("date")
    pd.DataFrame(bars.close, index=index, columns=["X", "Y"]).to_csv(folder / "away.csv")
    return folder


def test_a_model_is_handed_over_and_used_as_any_other(desk):
    done = call("transfer", "away.csv", "--model", "home", "--costs", "2bp", "--end", "2012-01", cwd=desk)
    assert done.returncode == 0, done.stderr
    assert "adapted, transferred from synthetic, bars 1 day apart up to" in done.stdout
    assert "against unadapted" in done.stdout
    assert "against base" in done.stdout
    following = done.stdout.strip().splitlines()[-1]
    assert following.startswith("Saved home-on-away. Next: ")
    assert "--costs 2bp --end 2012-01" in following
    moved = load_meta(desk / "home-on-away")
    assert moved.transferred_from.trained_on.symbols == ("S0", "S1", "S2")
    assert moved.objective.costs.commission == 0.0002
    # the past ends where the test begins, and the next command is right
    words = following.partition("regimeshift ")[2].split()
    start = pd.Timestamp(words[words.index("--start") + 1])
    assert moved.seen_until < start
    assert call("adapt", "away.csv", "--model", "home-on-away", "--end", "2012-01", cwd=desk).returncode == 0


def test_a_learner_is_trained_anew_beside_it(desk):
    options = ("--test", "2011-06", "--anew", "finetune", "--steps", "2", "--out", "there")
    done = call("transfer", "away.csv", "--model", "home", *options, cwd=desk)
    assert done.returncode == 0, done.stderr
    assert "against trained anew" in done.stdout
    assert load_meta(desk / "there").seen_until < pd.Timestamp("2011-06-01")


def test_wrong_options_are_one_line(desk):
    refused(call("transfer", "--model", "home", cwd=desk), "regimeshift transfer FILE.csv --model home")
    refused(
        call("transfer", "away.csv", "--model", "home", "--test", "1990", cwd=desk),
        "--test 1990: it must be inside away",
    )
    refused(call("transfer", "away.csv", "--model", "nothing", cwd=desk), "no trained model there")
    refused(call("transfer", "away.csv", "--model", "home", "--test", "2009-06", cwd=desk), "are needed")
