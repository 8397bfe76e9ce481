"""``us74``: 74 US stocks, daily closes from 2000 to 2023, each day with its quoted bid–ask spread.

From the tests of cvxsimulator. The file repeats the day before on 221 holidays of New York, closes and all; what is left are
the 5,970 sessions of the exchange. A spread of zero (0.6 % of them, nearly all before 2012) is a locked or an absent quote: it is
read as not quoted, so that no trade is free.
"""

from __future__ import annotations

import numpy as np

from markets.bars.bars import Source
from markets.data.tables import Table
from markets.data.universes.futures import CVXSIMULATOR
from markets.data.universes.universe import Member, Universe, table, wide_csv

FOLDER = "tests/test_applications/test_reference/resources"


def parse(member: Member) -> Table:
    """Closes and spreads of the sessions: the rows on which any close differs from the row before."""
    close = wide_csv(member(f"{FOLDER}/prices.csv"))
    spread = wide_csv(member(f"{FOLDER}/spreads.csv")).reindex(index=close.index, columns=close.columns)
    session = (close != close.shift()).any(axis=1)
    quoted = spread[session].to_numpy(np.float64)
    return table(close[session], spread=np.where(quoted > 0, quoted, np.nan))


US74 = Universe(
    "us74",
    CVXSIMULATOR,
    parse,
    Source(
        survivorship="74 US stocks that are listed from 2000 to 2023: survivorship bias flatters every long-only result",
        adjusted=True,
        origin="Daily closes and quoted spreads of 74 US stocks, 2000 to 2023, from the tests of cvxsimulator 1.5.1 (MIT)",
        caveats=(
            "names are hidden (T0 to T100), but 16 of them have the prices of the set stocks, dividends included: from 2000 to "
            "2022 the two sets are not independent evidence",
            "the quoted spread of a stock fell from 21 bp (median of 2000) to 1 bp (2023), and was 11 bp in 2008",
        ),
        costs="1bp+quoted",
    ),
)
