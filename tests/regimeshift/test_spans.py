import pandas as pd
import samples

from regimeshift.spans import spans


def test_long_data_is_cut_at_turns_of_the_year(stocks):
    assert spans(stocks, None, None) == (pd.Timestamp("2000-01-01"), pd.Timestamp("2008-01-01"))


def test_short_data_is_cut_by_shares_of_what_comes_after_the_warm_up():
    bars = samples.regime_bars(1000, 1, seed=0)
    assert spans(bars, None, None) == (bars.index[252 + 224], bars.index[252 + 411])


def test_what_is_asked_for_is_taken(stocks):
    assert spans(stocks, "1999-06-01", "2010").validation == pd.Timestamp("1999-06-01")
