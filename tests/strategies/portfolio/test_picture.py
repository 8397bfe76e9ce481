import numpy as np
import samples

from markets import HiddenMarkovRegimes
from strategies import PortfolioPolicy, PortfolioSettings, PortfolioStrategy
from strategies.portfolio import Pool, draw_adapted


def test_half_lives_are_drawn_over_the_regimes():
    bars = samples.regime_bars(400, 3, seed=1)
    pool = Pool(volatilities=(3, 8), correlations=(5, 15), window=25, shortest=6)
    table = PortfolioStrategy(PortfolioPolicy(PortfolioSettings(pool=pool))).adapted(bars[100:])
    regimes = HiddenMarkovRegimes(2, restarts=2).fit(bars[:300]).filter(bars)
    figure = draw_adapted(table, regimes)
    np.testing.assert_allclose(figure.data[0].y, table["volatility halflife"])
    assert {trace.name for trace in figure.data if trace.showlegend is None} == set(regimes.names)
    inside = regimes.labels[100 : bars.index.searchsorted(table.index[-1]) + 1]
    assert (
        len(figure.layout.shapes) == 4 * (1 + (np.diff(inside) != 0).sum())
        or len(figure.layout.shapes) == 1 + (np.diff(inside) != 0).sum()
    )
    assert len(draw_adapted(table).data) == 4
