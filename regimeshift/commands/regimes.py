"""``regimeshift regimes``: fit a regime detector and show the regimes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from regimeshift.options import DataOptions, Source

if TYPE_CHECKING:
    import pandas as pd

    from markets import Bars


@dataclass
class Regimes(DataOptions):
    """Fit a regime detector on early years, and show the regimes before and after, as filtered live (without look-ahead)."""

    source: Source = "stocks"
    detector: Literal["hmm", "volatility", "jump", "changepoints"] = "hmm"
    """hmm: hidden Markov model; volatility: levels of realised volatility and sign of the trend;
    jump: statistical jump model; changepoints: Bayesian online change points."""
    fit_until: str | None = None
    """End of the data used for the fit, such as 2007 or 2007-12-31; by default the first 30 % of the data."""
    n_regimes: int | None = None
    """Number of regimes, ordered by volatility; by default 3 (fewer for hmm if there are not 20 bars to fit each on), or 4 for
    the volatility detector.
    For the volatility detector, an even number is volatility levels times two signs of the trend, an odd one levels only."""
    seed: int = 0
    """Seed of the random starts of the fit."""
    page: str | None = None
    """Write an .html page: prices with the regimes shaded, a table of the regimes, and the bias of labels made in hindsight."""
    out: str | None = None
    """Write the time, label and regime probabilities of each bar to this .csv file."""

    def run(self) -> None:
        import pandas as pd

        from markets import InputError
        from markets.common.files import replacing
        from markets.common.words import count
        from markets.regimes.named import detector_from_name
        from markets.regimes.page import write_regime_page
        from regimeshift.console import console, page_file, step, table_file
        from regimeshift.steps import show_regimes, show_supported, usual_regimes

        if self.page:
            page_file(self.page, "--page")
        if self.out:
            table_file(self.out, "--out")
        bars = self.load(self.source)
        past = bars[: self.fit_until or _first_part(bars)]
        if len(past) == len(bars):
            given = f"--fit-until {self.fit_until}: " if self.fit_until else ""
            raise InputError(
                f"{given}the fit would use all of {bars.name} ({count(len(bars), 'bar')}); leave some bars after it"
            )
        with step("fitting regimes"):
            n_regimes = self.n_regimes
            if n_regimes is None and self.detector == "hmm":
                n_regimes = usual_regimes(past)
            detector = detector_from_name(self.detector, n_regimes, self.seed)
            try:
                regimes = detector.fit(past)
            except InputError as error:
                usual = "" if self.fit_until else ", by default after the first 30 % of the bars"
                raise InputError(f"{error}. The fit ends on {past.index[-1]} (--fit-until{usual})") from None
        after = bars[len(past) :]
        show_regimes(past, regimes, f"Fitted on {past.index[0]:%Y-%m-%d} to {past.index[-1]:%Y-%m-%d}")
        show_regimes(
            after, regimes, f"Filtered from {after.index[0]:%Y-%m-%d} to {after.index[-1]:%Y-%m-%d}, never fitted on"
        )
        if self.detector == "hmm":
            show_supported(past)
        if self.page:
            with step(f"writing {self.page}"):
                page = write_regime_page(bars, past, regimes, self.page)
            console.print(f"Wrote {page}")
        if self.out:
            path = regimes.filter(bars)
            frame = pd.DataFrame(path.probabilities, index=path.index, columns=list(path.names))
            frame.insert(0, "regime", [path.names[k] for k in path.labels])
            try:
                with replacing(self.out) as beside:
                    frame.to_csv(beside)
            except OSError as error:
                raise InputError(f"{self.out}: cannot be written ({error.strerror}); choose another place") from None
            console.print(f"Wrote {self.out}")


def _first_part(bars: Bars) -> pd.Timestamp | int:
    """Default end of the fit: where `regimeshift train` starts validation, or 30 % of the bars if there are too few to train."""
    from markets import InputError
    from regimeshift.spans import spans

    try:
        return spans(bars, None, None).validation
    except InputError:  # too few bars to train on; the detector will say how many it needs
        return max(len(bars) * 3 // 10, 1)
