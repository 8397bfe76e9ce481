"""`MarketEnv`: one account as a gymnasium environment.

End of data or of the episode is ``truncated``; ruin is ``terminated``. An action is decided at the close that the observation
shows, and filled after it. The environment is registered as ``regimeshift/Market-v0`` when `markets` is imported.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pandas as pd

from markets.accounting.kernels import EQUITY, ROW
from markets.bars.bars import Bars
from markets.envs.accounts import Accounts
from markets.envs.config import EnvConfig


class MarketEnv(gymnasium.Env):
    """Trade a universe bar by bar; one regime of it, if one is named.

    Parameters
    ----------
    bars : Bars or str
        What to trade, or what `markets.load` takes.
    config : EnvConfig, optional
    render_mode : {"ansi", "rgb_array"}, optional
    **options
        Fields of `EnvConfig`, in place of those of `config`: ``MarketEnv(bars, regime="crisis", fit_until="2007")``.

    Raises
    ------
    InputError
        See `EnvConfig` and `Accounts`.

    Notes
    -----
    Observation: Box of shape (A·F + A,), float32: the features of each symbol, then the current weights. `info` has equity,
    cost and traded value of the bar, the row of the panel, and ``scaled``: on how many bars of the episode the action was
    beyond the limits and was scaled to them.
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
        self._accounts = Accounts(1, bars, replace(config or EnvConfig(), **options))
        self._history: list[float] = []
        self.observation_space = self._accounts.observation_space
        self.action_space = self._accounts.actions.space
        self.render_mode = render_mode

    @property
    def fitted_until(self) -> pd.Timestamp | None:
        """Last bar that a detector was fitted on by the environment itself; episodes start after it."""
        return self._accounts.fitted_until

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=None if seed is None else int(seed))
        return self.start(None)

    def start(self, span: tuple[int, int] | None) -> tuple[np.ndarray, dict]:
        """Begin an episode at a random start, or at the first row of `span` (first, after the last)."""
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
        """Prices (start = 1) above, equity below, of the episode so far; uint8 of shape (360, 480, 3)."""
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
