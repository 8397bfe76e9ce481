"""`Series`: disk cache of a vendor's responses for one series, so that nothing is downloaded twice.

Each response is one Parquet file, written atomically and named after the time interval it covers, ``SINCE-UNTIL.parquet`` in
milliseconds since 1970. The covered intervals are thus known from the file names alone, an interrupted download resumes where
it stopped, and empty responses are cached too.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from markets.common.errors import InputError
from markets.common.files import replacing


def root() -> Path:
    """Folder of the cache: ``REGIMESHIFT_CACHE`` if that is set, else the platform's cache folder."""
    import platformdirs  # the import takes 0.1 s, and reading files does not need it

    return Path(os.environ.get("REGIMESHIFT_CACHE") or platformdirs.user_cache_path("regimeshift"))


@dataclass(frozen=True)
class Series:
    """Cached responses for one series, in one folder.

    Intervals are half-open, [since, until), in milliseconds since 1970.
    """

    folder: Path

    @classmethod
    def of(cls, *names: str) -> Series:
        """The series identified by the given names, such as vendor, exchange, symbol and timeframe."""
        return cls(root().joinpath(*(quote(name, safe="") for name in names)))

    def stretches(self) -> list[tuple[int, int]]:
        """Covered intervals, sorted."""
        names = (re.fullmatch(r"(-?\d+)-(-?\d+)\.parquet", path.name) for path in self.folder.glob("*.parquet"))
        return sorted((int(name[1]), int(name[2])) for name in names if name)

    def missing(self, since: int, until: int) -> tuple[int, int] | None:
        """First interval within [since, until) that is not covered; None if all is."""
        for first, last in self.stretches():
            if first > since:
                return since, min(first, until)
            since = max(since, last)
            if since >= until:
                return None
        return (since, until) if since < until else None

    def keep(self, since: int, until: int, rows: pd.DataFrame) -> None:
        """Store the response for an interval; `rows` has prices and a column ``time`` in milliseconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / f"{since}-{until}.parquet") as beside:
            rows.to_parquet(beside, index=False)

    def replace(self, since: int, until: int, rows: pd.DataFrame) -> None:
        """Store a response and delete all earlier ones."""
        old = [self.folder / f"{first}-{last}.parquet" for first, last in self.stretches()]
        self.keep(since, until, rows)
        for path in old:
            if path.name != f"{since}-{until}.parquet":
                path.unlink(missing_ok=True)

    def read(self, since: int, until: int) -> pd.DataFrame:
        """Cached rows of [since, until), sorted by time.

        Raises
        ------
        InputError
            When a file is damaged.
        """
        parts = [pd.DataFrame({"time": pd.Series(dtype="int64")})]
        for first, last in self.stretches():
            if last <= since or first >= until:
                continue
            path = self.folder / f"{first}-{last}.parquet"
            try:
                parts.append(pd.read_parquet(path))
            except (OSError, ValueError) as error:
                raise InputError(
                    f"{path}: the cached response is damaged ({error}); delete the file and load again"
                ) from None
        rows = pd.concat([part for part in parts if len(part)] or parts[:1])
        rows = rows[rows["time"].between(since, until, inclusive="left")]
        return rows.drop_duplicates("time", keep="last").sort_values("time", ignore_index=True)
