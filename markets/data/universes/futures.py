"""``futures``: 46 futures, daily closes from 1970 to 2023, of which no one says which is which.

From the tests of cvxsimulator, whose source distribution is read as an archive. Prices are ratio back-adjusted (inferred: they
are positive, and their returns look like those of contracts held), and names are hashed. By weekly correlation there are
farm products, energy, metals, equity indices, currencies and interest rates among them. Of 49 series three are left out: one
is the same as another to the cent, and two follow another contract at a correlation of .98 from week to week.
"""

from __future__ import annotations

from markets.bars.bars import Source
from markets.data.tables import Table
from markets.data.universes.archive import Archive
from markets.data.universes.universe import Member, Universe, table, wide_csv

CVXSIMULATOR = Archive(
    project="cvxsimulator",
    filename="cvxsimulator-1.5.1.tar.gz",
    size=7_664_892,
    sha256="484f91c11eacaa8763f06c379fb016710eed97bf28e9ecf8f7f04085f730f340",
)
# Series left out, each with the one that it repeats.
REPEATED = {
    "-3821973461103346878": "-8613567276853356462",
    "1357648110831019395": "-7388024688113716737",
    "8316616838191337661": "-5638916713555730133",
}


def parse(member: Member) -> Table:
    """Closes of the 46 contracts; days on which no market was open are left out, other holidays are gaps."""
    close = wide_csv(member("tests/test_applications/test_talk/resources/prices_hashed.csv"))
    return table(close.drop(columns=list(REPEATED)).dropna(how="all"))


FUTURES = Universe(
    "futures",
    CVXSIMULATOR,
    parse,
    Source(
        survivorship="46 futures that still trade in 2023: survivorship bias, though contracts rarely die of bad returns",
        adjusted=True,
        origin="Daily closes of 46 futures, 1970 to 2023, from the tests of cvxsimulator 1.5.1 (MIT)",
        caveats=(
            "names are hashed: which future is which is not known, nor who made the series",
            "prices are ratio back-adjusted (inferred), so a return is that of a contract held, and a level means nothing",
            "15 series by 1975, 36 by 1990, all by 2009; about 2 % of a series' days are holidays of its exchange, and gaps",
        ),
        costs="2bp",
    ),
)
