"""``regimeshift signal``: target weights of a registered model for the next bar, and the orders that lead to them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from regimeshift.options import DataOptions

if TYPE_CHECKING:
    import pandas as pd

    from markets import Bars

CHECKED = 260  # bars whose prices are checked, at least: a year of days, so that the check knows what is usual
RECENT = 5  # last bars in which a wrong price is a reason for no signal; older ones have been decided on before
HEADS = {"band": "no-trade band ±", "price": "last close"}
PRICES = ("split", "spike", "outlier")  # findings about closes; gaps and silence are the contract's
PLAIN = ("held", "order", "price", "cooldown")  # columns that are no shares of the account
FALLBACK = 3  # exit status of a decision that was the fallback


@dataclass
class Signal(DataOptions):
    """Print the target weights for the next bar, from a registered model and the latest bars.

    The exit status is 0 for a decision of the model, 3 for the fallback, and 2 if there is none; a line on stderr says why.
    """

    model: Annotated[str, tyro.conf.arg(aliases=["-m"])]
    """Model in the registry: NAME (its champion), NAME@ALIAS, or NAME/VERSION."""
    bars: str | None = None
    """The latest bars of the symbols that the model was made for: a data set, as for `regimeshift data`. It must be named."""
    series: str | None = None
    """CSV file of the external series that the model reads: a column of times at which values got known, and one for each series.
    It is needed for what came after the model was registered."""
    format: Literal["table", "json", "csv"] = "table"
    """What to print: a table to read, one line of JSON, or CSV with a row for each symbol."""
    json: bool = False
    """Short for --format json."""
    request: bool = False
    """Print only the JSON request to send to a model server (regimeshift serve) for the same decision."""
    news: bool = False
    """Decide although the check takes a close of the last bars for a split or a bad price: it was news."""
    fallback: Literal["refuse", "hold", "flat"] = "refuse"
    """What to answer where the model cannot decide safely: an error; or, flagged, to leave positions alone or to close them."""
    max_age: float | None = None
    """Largest age of the last bar, in bars, counted from the end of its day; by default any is decided on."""
    log: str | None = None
    """File to which a line is appended for the decision, before it is printed (JSON, one a line, chained by hashes)."""
    holdings: str | None = None
    """CSV file of what is held, with the columns symbol and shares and a row called cash: print orders in shares, too."""
    costs: str = "10bp"
    """With --holdings: commission per side, for which cash is left."""
    leverage: float = 1.0
    """With --holdings: largest gross weight, as a multiple of equity. Above 1, cash may be borrowed."""
    lot: float = 1.0
    """With --holdings: shares per lot; positions are rounded towards zero."""

    def run(self) -> None:
        from markets import InputError

        if self.bars is None:
            raise InputError(f"name the latest bars, as in: regimeshift signal --model {self.model} --bars FILE.csv")

        import json

        import pandas as pd

        from regimeshift.console import step

        bars = self.load(self.bars)
        with step(f"loading {self.model}"):
            from backtests import versions

            model = versions.load(self.model)
        series = None if self.series is None else _read_series(self.series)
        doubt, found = self._doubt(bars, model.contract.needed)
        if self.request:
            asked = versions.request(model, bars, series)
            if doubt:
                raise InputError(doubt)
            print(json.dumps({"dataframe_records": [asked]}))
            return
        answer, orders = self._answered(model, bars, series, doubt)
        hours, age = _age(bars.index, pd.Timestamp.now("UTC"))
        table = {
            key: dict(zip(answer["symbols"], values, strict=True))
            for key, values in answer.items()
            if isinstance(values, list) and key not in ("symbols", "limits")
        } | orders
        about: dict[str, Any] = {key: answer[key] for key in ("flag", "reason", "regimes", "limits") if key in answer}
        if self.json or self.format == "json":
            facts = {"model": self.model, "after": str(bars.index[-1]), "age_hours": round(hours, 1), "check": found}
            print(json.dumps(facts | {"version": model.name} | about | table))
        elif self.format == "csv":
            print(_frame(table, bars.symbols).to_csv(index_label="symbol"), end="")
        else:
            self._show(_frame(table, bars.symbols), about, bars, age, found)
        if "flag" in answer:
            print(f"regimeshift: {answer['flag']}: {answer['reason']}", file=sys.stderr)
            sys.exit(FALLBACK)

    def _doubt(self, bars: Bars, needed: int) -> tuple[str, str]:
        """Why not to decide on the prices, empty if there is no reason; and what their check found, in a line."""
        from markets import check

        found = check(bars[-max(CHECKED, needed) :])
        since = bars.index[-RECENT:][0]
        wrong = [f for f in found.findings if f.severity == "error" and f.kind in PRICES and f.last >= since]
        if not wrong or self.news:
            return "", found.line
        return f"{bars.name}: {wrong[0].symbol}: {wrong[0].detail}; if it was news, say --news", found.line

    def _answered(
        self, model: Any, bars: Bars, series: pd.DataFrame | None, doubt: str
    ) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
        """The answer, as of a server; and with holdings what is held, the orders, and the prices, by symbol."""
        import numpy as np

        from backtests import audit, orders
        from backtests.carried import Deployed
        from backtests.decider import Decider
        from backtests.deployment import as_series
        from markets import Execution
        from regimeshift.console import naming

        if self.log is not None:
            with naming("--log"):
                audit.prepare(self.log)
        decider = Decider(Deployed(model.strategy, model.contract), model.name, self.fallback, self.max_age, self.log)
        given = None if series is None else as_series(series)
        if self.holdings is None:
            answer, _ = decider.respond(bars, given, doubt=doubt)
            decider.write(bars, answer)
            return answer, {}
        execution = Execution(
            sizing="whole_lots", lot=self.lot, gross=self.leverage, borrowing=self.leverage > 1
        )  # refuses what is out of range before anything is logged
        with naming("--holdings"):
            held = orders.read_holdings(self.holdings, bars.symbols)
            prices = bars.marks[-1]
            weights = dict(zip(bars.symbols, held.weights(prices), strict=True))
        order = [weights[symbol] for symbol in model.contract.aligned(bars).symbols]
        answer, _ = decider.respond(bars, given, held=np.array(order), doubt=doubt)
        found = orders.orders(answer, prices, held, self.costs, execution)
        decider.write(bars, answer)
        columns = {"held": held.shares, "order": found, "price": prices}
        return answer, {name: dict(zip(bars.symbols, values.tolist(), strict=True)) for name, values in columns.items()}

    def _show(self, frame: pd.DataFrame, about: dict[str, Any], bars: Bars, age: str, found: str) -> None:
        """Print the decision as a table, and what there is to say of it."""
        from regimeshift.console import console, say, show

        text = frame.apply(lambda column: column.map("{:g}".format if column.name in PLAIN else _share))
        text.columns = [HEADS.get(name, name.replace("_", " ")) for name in text.columns]
        if "order" in text:  # what is to be done comes first, where a terminal is narrow
            text = text[["order", *(name for name in text.columns if name != "order")]]
        show(
            text, f"{self.model}: for the bar after {bars.index[-1]}", "symbol", "use --format csv, or a wider terminal"
        )
        for sentence in about.get("limits") or ():
            say(f"Limit: {sentence}.")
        for name, chances in about.get("regimes", {}).items():
            say(
                f"Regime, as {name} sees it: {', '.join(f'{regime} {chance:.0%}' for regime, chance in chances.items())}."
            )
        if frame["target_weight"].notna().all():
            console.print(f"In cash: {1 - frame['target_weight'].sum():.2%}. {age}")
        else:
            console.print(age)
        console.print(f"{found}.", markup=False)


def _frame(table: dict[str, dict[str, float | None]], symbols: tuple[str, ...]) -> pd.DataFrame:
    """A row for each symbol; what has no end is infinite, and a weight that nobody knows NaN."""
    import numpy as np
    import pandas as pd

    endless = {key: np.nan if key in ("target_weight", "trade_to") else np.inf for key in table}
    values = {k: [endless[k] if column[s] is None else column[s] for s in symbols] for k, column in table.items()}
    return pd.DataFrame(values, index=list(symbols), dtype=np.float64)


def _share(weight: float) -> str:
    """A weight, rate or level in per cent; a no-trade band without end leaves the position alone."""
    return "no end" if weight == float("inf") else "as it is" if weight != weight else f"{weight:.4%}"


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
