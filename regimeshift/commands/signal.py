"""``regimeshift signal``: target weights of a registered model for the next bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from regimeshift.options import DataOptions

if TYPE_CHECKING:
    import pandas as pd

CHECKED = 260  # bars whose prices are checked, at least: a year of days, so that the check knows what is usual
RECENT = 5  # last bars in which a wrong price is a reason for no signal; older ones have been decided on before
HEADS = {"band": "no-trade band ±"}
PRICES = ("split", "spike", "outlier")  # findings about closes; gaps and silence are the contract's


@dataclass
class Signal(DataOptions):
    """Print the target weights for the next bar, from a registered model and the latest bars."""

    model: Annotated[str, tyro.conf.arg(aliases=["-m"])]
    """Model in the registry: NAME (its champion), NAME@ALIAS, or NAME/VERSION."""
    bars: str | None = None
    """The latest bars of the symbols that the model was made for: a data set, as for `regimeshift data`. It must be named."""
    series: str | None = None
    """CSV file of the external series that the model reads: a column of times at which values got known, and one for each series.
    It is needed for what came after the model was registered."""
    json: bool = False
    """Print JSON instead of a table."""
    request: bool = False
    """Print only the JSON request to send to a model server (mlflow models serve) for the same decision."""
    news: bool = False
    """Decide although the check takes a close of the last bars for a split or a bad price: it was news."""

    def run(self) -> None:
        from markets import InputError, check

        if self.bars is None:
            raise InputError(f"name the latest bars, as in: regimeshift signal --model {self.model} --bars FILE.csv")

        import json
        from math import isfinite

        import pandas as pd

        from regimeshift.console import console, show, step

        bars = self.load(self.bars)
        with step(f"loading {self.model}"):
            from backtests import registry

            model = registry.load(self.model)
        # the contract first, which says what is more basically wrong
        series = None if self.series is None else _read_series(self.series)
        asked = registry.request(model, bars, series)
        found = check(bars[-max(CHECKED, model.contract.needed) :])
        since = bars.index[-RECENT:][0]
        wrong = [f for f in found.findings if f.severity == "error" and f.kind in PRICES and f.last >= since]
        if wrong and not self.news:
            raise InputError(f"{bars.name}: {wrong[0].symbol}: {wrong[0].detail}; if it was news, say --news")
        if self.request:
            print(json.dumps({"dataframe_records": [asked]}))
            return
        weights, last = registry.target_weights(model, bars, series), bars.index[-1]
        hours, age = _age(bars.index, pd.Timestamp.now("UTC"))
        if self.json:
            # JSON has no infinity
            plain = {key: [w if isfinite(w) else None for w in values.tolist()] for key, values in weights.items()}
            answer = {key: dict(zip(bars.symbols, values, strict=True)) for key, values in plain.items()}
            about = {"model": self.model, "after": str(last), "age_hours": round(hours, 1), "check": found.line}
            print(json.dumps(about | answer))
            return
        text = pd.DataFrame(weights, index=list(bars.symbols))
        text = text.apply(lambda column: column.map("{:g}".format if column.name == "cooldown" else _share))
        text.columns = [HEADS.get(name, name.replace("_", " ")) for name in text.columns]
        show(text, f"{self.model}: for the bar after {last}", "symbol")
        console.print(f"In cash: {1 - weights['target_weight'].sum():.2%}. {age}")
        console.print(f"{found.line}.", markup=False)


def _share(weight: float) -> str:
    """A weight, rate or level in per cent; a no-trade band without end leaves the position alone."""
    return "no end" if weight == float("inf") else f"{weight:.4%}"


def _read_series(file: str) -> pd.DataFrame:
    """A table by time, from a CSV file."""
    import pandas as pd

    from markets import InputError

    try:
        table = pd.read_csv(file, index_col=0)
        return table.set_axis(pd.DatetimeIndex(table.index))
    except (OSError, ValueError) as error:
        raise InputError(f"--series {file}: not a table by time ({error})") from None


def _age(index: pd.DatetimeIndex, now: pd.Timestamp) -> tuple[float, str]:
    """Hours from the last bar to `now`, and a sentence that says so.

    A date stands for the end of its day. Times without a zone are taken for UTC.
    """
    from pandas import Timedelta

    from markets.bars.time_spans import duration

    last, dates = index[-1], bool((index == index.normalize()).all())
    end = last + Timedelta("1D") if dates else last
    age = now - (end if end.tz else end.tz_localize("UTC"))
    what = "day of the last bar" if dates else "last bar"
    doubt = "" if dates or end.tz else ", if its times are UTC"
    seconds = age.total_seconds()
    if seconds < 0:
        text = f"The {what} {'ends' if dates else 'is'} {duration(-seconds)} from now{doubt}."
    else:
        text = f"The {what} {'ended' if dates else 'was'} {duration(seconds)} ago{doubt}."
    return seconds / 3600, text
