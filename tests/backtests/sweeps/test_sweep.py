import numpy as np
import pytest
import samples

from backtests import walk_forward
from backtests.metrics import METRICS
from backtests.sweeps import sweep
from markets import Execution, InputError, Plan
from strategies import Donchian, Momentum, MovingAverageCross, Strategy

GRID = {"fast": [2, 5, 9], "slow": [9, 20, 40, 60]}


def below(fast, slow):
    return fast < slow


@pytest.fixture(scope="module")
def swept():
    return sweep(MovingAverageCross, GRID, samples.regime_bars(500, 3, seed=3), where=below, equity=True)


class Adapting(Strategy):
    """Holds the symbol that rose most over the last `window` bars before it adapted."""

    adapts = True

    def __init__(self, window, held=None):
        self.window, self.name, self.held, self.warmup = window, f"adapting {window}", held, window

    def plan(self, bars):
        aim = np.zeros(bars.shape)
        if self.held is not None:
            aim[:, self.held] = 1.0
        return Plan(aim)

    def adapt(self, bars):
        close = bars.with_past().close
        return Adapting(self.window, int(np.argmax(close[-1] / close[-min(self.window, len(close))])))


def test_each_row_is_the_backtest_of_its_setting(swept):
    assert swept.trials == len(swept.table) == 11
    assert list(swept.table) == list(METRICS)
    for i, setting in enumerate(swept.grid.settings):
        alone = walk_forward([MovingAverageCross(**setting)], swept.bars, progress=False)[0]
        np.testing.assert_array_equal(swept.equity[i], alone.equity)
        row = swept.table.loc[tuple(setting.values())]
        np.testing.assert_allclose(row.to_numpy(), [alone.metrics[name] for name in METRICS], rtol=1e-12)


def test_costs_and_execution_are_those_given():
    bars = samples.regime_bars(200, 3, seed=4)
    execution = Execution(sizing="post_fee", cash=5e4)
    found = sweep(Momentum, {"window": [5, 9]}, bars, costs="50bp", execution=execution, equity=True)
    alone = walk_forward([Momentum(9)], bars, costs="50bp", execution=execution, progress=False)[0]
    np.testing.assert_array_equal(found.equity[1], alone.equity)
    assert found.table.index.names == ["window"]


@pytest.mark.parametrize("strategy", [Donchian, lambda window: Donchian(window), Adapting])
def test_any_strategy_can_be_swept(strategy):
    bars = samples.regime_bars(300, 3, seed=5)[100:]
    found = sweep(strategy, {"window": [4, 20]}, bars, metrics=("Sharpe",), equity=True, every=30)
    for window, equity in zip((4, 20), found.equity, strict=True):
        alone = walk_forward([strategy(window)], bars, every=30, progress=False)[0]
        np.testing.assert_array_equal(equity, alone.equity)


@pytest.mark.process
def test_jobs_change_nothing(swept):
    found = sweep(MovingAverageCross, GRID, swept.bars, where=below, equity=True, jobs=2)
    np.testing.assert_array_equal(found.equity, swept.equity)
    assert found.table.equals(swept.table)


def test_the_peak_is_the_best_and_the_plateau_has_the_best_worst_neighbour(swept):
    sharpe = swept.table["Sharpe"]
    peak, plateau, worst = swept.best(), swept.plateau(), swept.neighbours()
    assert peak.value == sharpe.max() == sharpe.loc[tuple(peak.setting.values())]
    assert plateau.worst == worst.max() == worst.loc[tuple(plateau.setting.values())]
    assert plateau.worst >= peak.worst
    assert worst.loc[(2, 9)] == sharpe.loc[[(2, 9), (2, 20), (5, 9), (5, 20)]].min()
    assert (worst <= sharpe).all()


def test_of_a_drawdown_less_is_better(swept):
    drawdown = swept.table["max drawdown"]
    assert swept.best("max drawdown").value == drawdown.min()
    assert (swept.neighbours("max drawdown") >= drawdown).all()


def test_the_heat_map_shows_every_setting(swept):
    figure = swept.heat_map("CAGR")
    cells = figure.data[0]
    assert (cells.x, cells.y) == (("9", "20", "40", "60"), ("2", "5", "9"))
    assert np.isnan(cells.z[2][0])  # 9 is not below 9
    assert cells.z[1][3] == swept.table["CAGR"].loc[(5, 60)]
    peak = next(trace for trace in figure.data if trace.name == "peak")
    assert (int(peak.y[0]), int(peak.x[0])) == tuple(swept.best("CAGR").setting.values())
    turned = swept.heat_map("CAGR", x="fast").data[0]
    assert turned.z[3][1] == cells.z[1][3]


def test_a_curve_is_drawn_over_one_parameter():
    found = sweep(Momentum, {"window": [3, 8, 13]}, samples.regime_bars(200, 2, seed=6), metrics=("Sharpe",))
    np.testing.assert_array_equal(found.heat_map().data[0].y, found.table["Sharpe"])


def test_the_section_states_peak_plateau_and_trials(swept):
    section = swept.section("Sharpe")
    assert f"{swept.best().value:.2f}" in section.finding
    assert f"{swept.plateau().worst:.2f}" in section.finding
    assert "11 trials" in section.does_not_show
    assert section.table.index[0] == tuple(swept.best().setting.values())
    assert section.draw().data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ("sharp",)}, "metric 'sharp' is unknown"),
        ({"where": None}, "fast 9, slow 9: fast is 9 and slow is 9.*where"),
        ({"grid": {"fast": [2], "slow": [900]}}, "slow 900.*needs 899 bars to warm up"),
        ({"jobs": 0}, "jobs is 0"),
    ],
)
def test_what_cannot_be_swept_is_refused(swept, change, message):
    options = {"grid": GRID, "where": below} | change
    with pytest.raises(InputError, match=message):
        sweep(MovingAverageCross, options.pop("grid"), swept.bars, **options)


def test_a_metric_that_was_not_kept_is_refused(swept):
    found = sweep(Momentum, {"window": [3]}, swept.bars, metrics=("CAGR",))
    with pytest.raises(InputError, match="has no metric 'Sharpe'; it has CAGR"):
        found.best()
    with pytest.raises(InputError, match="no parameter 'speed'"):
        found.heat_map("CAGR", x="speed")
