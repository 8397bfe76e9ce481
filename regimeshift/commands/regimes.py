"""``regimeshift regimes``: fit a detector and show what it sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass
class Regimes:
    """Fit a regime detector on early years and show the regimes before and after, as it would have seen them live."""

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """stocks, sp500, nasdaq, a file or a folder of CSV or Parquet, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""
    until: str | None = None
    """Last time that the fit may see, as 2007 or 2007-12-31; by default the first 30 % of the data."""
    n_regimes: int = 3
    """Number of regimes, ordered from calm to wild."""
    seed: int = 0
    """Of the random starts of the fit."""
    out: str | None = None
    """Write each bar's time, label and probabilities to this .csv file."""

    def run(self) -> None:
        import pandas as pd

        from markets import HiddenMarkovRegimes, InputError, load
        from regimeshift.console import console
        from regimeshift.spans import spans
        from regimeshift.steps import show_regimes

        bars = load(self.source)
        past = bars[: self.until] if self.until else bars[: spans(bars, None, None).validation]
        if len(past) == len(bars):
            raise InputError(f"--until {self.until}: the fit would see all of {bars.name}; leave some bars to look at")
        regimes = HiddenMarkovRegimes(self.n_regimes, seed=self.seed).fit(past)
        after = bars[len(past) :]
        show_regimes(past, regimes, f"Fitted on {past.index[0]:%Y-%m-%d} to {past.index[-1]:%Y-%m-%d}")
        show_regimes(
            after, regimes, f"Filtered from {after.index[0]:%Y-%m-%d} to {after.index[-1]:%Y-%m-%d}, never fitted on"
        )
        if self.out:
            path = regimes.filter(bars)
            frame = pd.DataFrame(path.probabilities, index=path.index, columns=list(path.names))
            frame.insert(0, "regime", [path.names[k] for k in path.labels])
            try:
                frame.to_csv(self.out)
            except OSError as error:
                raise InputError(f"{self.out}: cannot be written ({error.strerror}); choose another place") from None
            console.print(f"Wrote {self.out}")
