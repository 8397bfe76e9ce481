"""``regimeshift infer``: what a trader optimises, from what he held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regimeshift.options import DataOptions, NamedSource, named

if TYPE_CHECKING:
    from datetime import tzinfo

    import pandas as pd

FAR = 100  # bars that he is taken to look ahead, unless he plainly does not
WEAK = 2.0  # t-statistic of the forecast, below which what is found rests on sand


@dataclass
class Infer(DataOptions):
    """Find out what a trader optimises: his risk aversion, the cost that he acts as if he paid, and how far he looks ahead."""

    source: NamedSource = None
    positions: str | None = None
    """CSV file of what he held: a column of times, and one for each symbol, as fractions of equity after the close of the bar."""
    forecast: str | None = None
    """CSV file of the return of the next bar that he expected, in the same form. By default the trend of the data."""
    horizon: int | None = None
    """Bars that he looks ahead. By default 100, or the most likely number where what he did excludes that."""
    places: int = 21
    """Positions to tell apart, from the smallest to the largest that he held."""

    def run(self) -> None:
        import pandas as pd

        from markets import InputError
        from regimeshift.console import say, show, step

        source = named(self.source, "infer FILE.csv --positions POSITIONS.csv")
        if self.positions is None:
            raise InputError("name what he held, as in: regimeshift infer FILE.csv --positions POSITIONS.csv")
        if self.horizon is not None and self.horizon < 1:
            raise InputError(f"--horizon {self.horizon}: give 1 bar or more")
        if self.places < 3:
            raise InputError(f"--places {self.places}: give 3 places or more")
        bars = self.load(source)
        held = _table(self.positions, "--positions", bars.index.tz)
        expected = None if self.forecast is None else _table(self.forecast, "--forecast", bars.index.tz)
        with step("inferring"):
            from metalearner.inverse import history, horizon, infer

            past = history(bars, held, expected, places=self.places)
            ahead = None if self.horizon else horizon(past.decisions, past.grid, progress=True)
            far = self.horizon or (FAR if ahead is None or ahead.holds(FAR) else ahead.bars)
            found = infer(past.decisions, past.grid, discount=1 - 1 / far)
        rows = {}
        for parameter in found.parameters:
            low, high = parameter.interval()
            unit, scale = ("", 1.0) if parameter.name == "risk aversion" else ("bp", 1e4)
            known = not parameter.reason
            rows[parameter.name] = {
                "value": f"{parameter.value * scale:.3g} {unit}".strip() if known else "not identified",
                "95 % interval": f"{low * scale:.3g} to {high * scale:.3g}" if known else "",
                "why": parameter.reason,
            }
        count = int(sum(d.counts.sum() for d in past.decisions))
        show(pd.DataFrame(rows).T, f"What he optimises, from {count:,} decisions on {', '.join(past.symbols)}", "")
        if ahead is not None:
            sure = "" if ahead.unknown else ", with 95 % confidence"
            say(f"How far he looks ahead: {ahead}{sure}. The table takes {far:g} bars; --horizon takes another number.")
        say(f"He is taken to expect {past.forecast} (t-statistic {past.t:.1f}).")
        if abs(past.t) < WEAK:
            say(
                "It says little of these returns, so what is found rests on it more than on him; give his own by --forecast."
            )
        if not found["cost"].reason:
            bp = found["cost"].value * 1e4
            say(f"The cost is per unit traded: to backtest with what he acts as if he paid, say --costs {bp:.3g}bp.")


def _table(file: str, option: str, zone: tzinfo | None) -> pd.DataFrame:
    """A table of numbers by time, from a CSV file."""
    import pandas as pd

    from markets import InputError

    try:
        table = pd.read_csv(file, index_col=0)
        index = pd.DatetimeIndex(pd.to_datetime(table.index, utc=zone is not None))
        if zone is not None:
            index = index.tz_convert(zone)
        return table.set_axis(index).astype("float64")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{option} {file}: not a table of numbers by time ({error})") from None
