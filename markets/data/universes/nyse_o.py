"""``nyse_o``: 36 stocks of the New York Stock Exchange, 1962 to 1984, the set of Cover (1991) and of Helmbold et al. (1998).

From universal-portfolios. The file holds cumulative price relatives, dividends and splits included, and no dates: its 5,651 rows
are the sessions of the exchange from 1962-07-03 to 1984-12-31, which `markets.data.nyse` and the library
exchange-calendars know. Aligned so, the mean return moves with that of the S&P 500.
"""

from __future__ import annotations

import io

import pandas as pd

from markets.bars.bars import Source
from markets.common.errors import InputError
from markets.data.nyse import nyse_sessions
from markets.data.tables import Table
from markets.data.universes.archive import Archive
from markets.data.universes.universe import Member, Universe, table

UNIVERSAL_PORTFOLIOS = Archive(
    project="universal-portfolios",
    filename="universal_portfolios-0.4.17-py3-none-any.whl",
    size=5_243_126,
    sha256="5da294f188c08a911815f5e406907563fbdf0319890da47aaf4134473845ac67",
)
FIRST, LAST = pd.Timestamp("1962-07-03"), pd.Timestamp("1984-12-31")


def parse(member: Member) -> Table:
    """Cumulative relatives, dated by the sessions of the exchange.

    Raises
    ------
    InputError
        When there are not as many rows as sessions, as a calendar of another version might have them.
    """
    close = pd.read_csv(io.BytesIO(member("universal/data/nyse_o.csv")))
    days = nyse_sessions(FIRST, LAST)
    if len(days) != len(close):
        raise InputError(
            f"nyse_o has {len(close):,} rows, but the calendar has {len(days):,} sessions from {FIRST:%Y-%m-%d} to "
            f"{LAST:%Y-%m-%d}, so its dates are not known; install another version of exchange-calendars"
        )
    return table(close.set_axis(days, axis=0))


NYSE_O = Universe(
    "nyse_o",
    UNIVERSAL_PORTFOLIOS,
    parse,
    Source(
        survivorship="36 NYSE stocks that are listed from 1962 to 1984: survivorship bias flatters every long-only result",
        adjusted=True,
        origin="Cumulative price relatives of 36 NYSE stocks, 1962 to 1984, from universal-portfolios 0.4.17",
        caveats=(
            "the file has no dates: they are the sessions of the exchange in that span, as many as there are rows",
            "names are letters; dividends and splits are in the prices",
            "commissions were fixed until May 1975, and prices moved by eighths",
        ),
        costs="40bp",
    ),
)
