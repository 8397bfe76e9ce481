"""Real prices that packages of the registry hold, one module per set: fetched once, checked by hash, then read offline.

To add a set, write a module with a `Universe` and list it in `UNIVERSES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from markets.common.errors import InputError
from markets.data.universes.futures import FUTURES
from markets.data.universes.fx import FX
from markets.data.universes.nyse_o import NYSE_O
from markets.data.universes.universe import Universe
from markets.data.universes.us74 import US74
from markets.data.vendors.base import progress

__all__ = ["UNIVERSES", "Universe", "fetch_universes"]

UNIVERSES: dict[str, Universe] = {universe.name: universe for universe in (FUTURES, US74, FX, NYSE_O)}


def fetch_universes(names: Sequence[str]) -> list[Universe]:
    """Bring sets from the package registry into the cache, those that are not there yet.

    Parameters
    ----------
    names : sequence of str
        Of `UNIVERSES`, or ``"all"``.

    Returns
    -------
    list of Universe
        Those named.

    Raises
    ------
    InputError
        When a name is not known, the registry cannot be reached, or a file has another hash than it had.
    """
    unknown = [name for name in names if name not in (*UNIVERSES, "all")]
    if unknown:
        raise InputError(f"there is no set {unknown[0]!r} to fetch; there are {', '.join(UNIVERSES)}, or all")
    wanted = [universe for name, universe in UNIVERSES.items() if name in names or "all" in names]
    archives = list(dict.fromkeys(universe.archive for universe in wanted))
    with progress("fetching", len(archives)) as step:
        for i, archive in enumerate(archives):
            archive.fetch(partial(step, i, archive.filename))
    return wanted
