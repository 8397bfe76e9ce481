from benchmarks.splits import measured


def test_regression_planted_splits_are_found_and_real_moves_are_not(stocks):
    """0 to 11 of 60 were found. The thresholds were chosen on half of the symbols; both halves must pass."""
    table = measured({"stocks": stocks}, plants=6, seed=1)
    assert (table["found"] >= 0.95 * table["planted"]).all()
    assert (table["false"] <= table["symbol_years"] / 50).all()
    assert table["planted"].sum() == 120
