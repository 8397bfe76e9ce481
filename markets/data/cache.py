"""`Series`: what a vendor has answered about one series so far, on disk, so that nothing is asked for twice.

Every answer is one Parquet file whose name says which stretch of time it covers, ``SINCE-UNTIL.parquet`` in milliseconds since
1970, and it is moved into place whole. What is there is therefore known from the names alone, a download that was killed goes on
where it stopped, and an empty answer is an answer too.
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
    """The folder of the cache: the platform's, or that which ``REGIMESHIFT_CACHE`` names."""
    import platformdirs  # a tenth of a second, which who reads files should not pay

    return Path(os.environ.get("REGIMESHIFT_CACHE") or platformdirs.user_cache_path("regimeshift"))


@dataclass(frozen=True)
class Series:
    """The answers about one series, in a folder of their own.

    Stretches are half open, [since, until), in milliseconds since 1970.
    """

    folder: Path

    @classmethod
    def of(cls, *names: str) -> Series:
        """The series by the names that tell it from others, such as vendor, exchange, symbol and timeframe."""
        return cls(root().joinpath(*(quote(name, safe="") for name in names)))

    def stretches(self) -> list[tuple[int, int]]:
        """What is covered, sorted."""
        names = (re.fullmatch(r"(-?\d+)-(-?\d+)\.parquet", path.name) for path in self.folder.glob("*.parquet"))
        return sorted((int(name[1]), int(name[2])) for name in names if name)

    def missing(self, since: int, until: int) -> tuple[int, int] | None:
        """The first stretch of [since, until) that is not covered."""
        for first, last in self.stretches():
            if first > since:
                return since, min(first, until)
            since = max(since, last)
            if since >= until:
                return None
        return (since, until) if since < until else None

    def keep(self, since: int, until: int, rows: pd.DataFrame) -> None:
        """Store the answer about a stretch: `rows` has a column ``time``, in milliseconds, and prices."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / f"{since}-{until}.parquet") as beside:
            rows.to_parquet(beside, index=False)

    def replace(self, since: int, until: int, rows: pd.DataFrame) -> None:
        """Store an answer that makes all earlier ones void."""
        old = [self.folder / f"{first}-{last}.parquet" for first, last in self.stretches()]
        self.keep(since, until, rows)
        for path in old:
            if path.name != f"{since}-{until}.parquet":
                path.unlink(missing_ok=True)

    def read(self, since: int, until: int) -> pd.DataFrame:
        """The rows of [since, until), sorted by time.

        Raises
        ------
        InputError
            If a file is damaged.
        """
        parts = [pd.DataFrame({"time": pd.Series(dtype="int64")})]
        for first, last in self.stretches():
            if last <= since or first >= until:
                continue
            path = self.folder / f"{first}-{last}.parquet"
            try:
                parts.append(pd.read_parquet(path))
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: the cached answer is damaged ({error}); delete it and load again") from None
        rows = pd.concat([part for part in parts if len(part)] or parts[:1])
        rows = rows[rows["time"].between(since, until, inclusive="left")]
        return rows.drop_duplicates("time", keep="last").sort_values("time", ignore_index=True)
