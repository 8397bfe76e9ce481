"""`MarketEnv`: one account as a gymnasium environment.

The end of the data or of the episode is ``truncated``; ruin is ``terminated``. An action is decided at the close shown by the
observation and filled according to `Execution`. Importing `markets` registers the environment as ``regimeshift/Market-v0``.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pandas as pd

from markets.accounting.kernels import EQUITY, ROW
from markets.bars.bars import Bars
from markets.envs.accounts import Accounts
from markets.envs.config import EnvConfig


class MarketEnv(gymnasium.Env):
    """Trade a universe of symbols bar by bar, optionally within one regime.

    Parameters
    ----------
    bars : Bars or str
        The bars to trade, or a source for `markets.load`.
    config : EnvConfig, optional
    render_mode : {"ansi", "rgb_array"}, optional
    **options
        Fields of `EnvConfig` that override those of `config`: ``MarketEnv(bars, regime="crisis", fit_until="2007")``.

    Raises
    ------
    InputError
        See `EnvConfig` and `Accounts`.

    Notes
    -----
    The observation is a float32 Box of shape (A·F + A,): the features of each symbol, then the current weights. `info` holds
    the equity, the cost and traded value of the bar, the row of the panel, and ``scaled``, the number of bars of the episode on
    which the action exceeded the limits.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012 (gymnasium asks for this form)

    def __init__(
        self,
        bars: Bars | str = "stocks",
        config: EnvConfig | None = None,
        *,
        render_mode: str | None = None,
        **options: Any,
    ):
        self._accounts = Accounts(1, bars, EnvConfig.of(config, options))
        self._history: list[float] = []
        self.observation_space = self._accounts.observation_space
        self.action_space = self._accounts.actions.space
        self.render_mode = render_mode

    @property
    def fitted_until(self) -> pd.Timestamp | None:
        """Last bar of the fit, if the environment fitted a detector itself, else None; episodes start after it."""
        return self._accounts.fitted_until

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=None if seed is None else int(seed))
        return self.start(None)

    def start(self, span: tuple[int, int] | None) -> tuple[np.ndarray, dict]:
        """Begin an episode at a random row, or at the first row of `span` (first, after the last)."""
        accounts = self._accounts
        accounts.start(np.array([0]), [self.np_random], span)
        self._history = [float(accounts.money[EQUITY, 0])]
        return accounts.observe(np.array([0]))[0], {key: value[0].item() for key, value in accounts.infos().items()}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        seen, reward, terminated, truncated, info = self._accounts.step_one(action)
        if self.render_mode is not None:
            self._history.append(info["equity"])
        return seen, reward, terminated, truncated, info

    def render(self) -> str | np.ndarray | None:
        if self.render_mode == "rgb_array":
            return self._picture()
        if self.render_mode != "ansi":
            return None
        a, row, equity = self._accounts, self._accounts.counts[ROW, 0], self._accounts.money[EQUITY, 0]
        held = ", ".join(
            f"{symbol} {shares * mark / equity:+.1%}"
            for symbol, shares, mark in zip(a.panel.symbols, a.shares[0], a.market.mark[row], strict=True)
            if shares
        )
        return f"{a.panel.index[row]}  equity {equity:,.2f}  {held or 'flat'}\n"

    def _picture(self) -> np.ndarray:
        """Image of the prices (start = 1) and the equity of the episode so far; uint8 of shape (360, 480, 3)."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        a, last = self._accounts, int(self._accounts.counts[ROW, 0])
        rows = slice(last - len(self._history) + 1, last + 1)
        times, mark = a.panel.index[rows], a.market.mark[rows]
        figure = Figure(figsize=(4.8, 3.6), dpi=100, layout="constrained")
        prices, equity = figure.subplots(2, sharex=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            prices.plot(times, mark / mark[0], lw=0.8)
        prices.set_title(f"{times[-1]:%Y-%m-%d}", fontsize=9)
        prices.set_ylabel("prices")
        equity.plot(times, self._history, color="black")
        equity.set_ylabel("equity")
        figure.autofmt_xdate()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()
