"""`check`: quality checks of a data set, to run before using it.

Checks of single symbols are in `markets.quality.findings`, those of the bar times in `markets.quality.calendars`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from markets.bars.bars import Bars
from markets.bars.frequency import differing
from markets.common.errors import InputError
from markets.common.statistics import years
from markets.data.loading import read
from markets.quality.calendars import check_index, shifted
from markets.quality.findings import SEVERITIES, Finding, counted, faults, when

_COLUMNS = [f.name for f in fields(Finding) if f.name != "rows"]
# Number of symbols and of years from which some delisting is to be expected; several per cent of US stocks delist per year.
_MANY, _LONG = 5, 2.0


@dataclass(frozen=True)
class QualityReport:
    """Result of `check`.

    Attributes
    ----------
    bars : Bars
    findings : tuple of Finding
        One for each kind and symbol, worst first.
    facts : dict of str to str
        How the data was interpreted: ``spacing``, ``times``, ``calendar``; and, where that is known, where it is ``from``.
    missing : DatetimeIndex
        Sessions of the calendar without any bar, as dates.
    cells : tuple of str
        The place and the fault of each cell that cannot be right, from `check_source`; `bars` has gaps there.
    """

    bars: Bars
    findings: tuple[Finding, ...]
    facts: dict[str, str]
    missing: pd.DatetimeIndex
    cells: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the data is usable: no finding of severity "error"."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def line(self) -> str:
        """The report in one line: how many findings of each severity, and what the errors are."""
        errors = [f"{f.symbol} {f.kind} {when(f.first)}" for f in self.findings if f.severity == "error"]
        more = f" and {len(errors) - 3:,} more" if len(errors) > 3 else ""
        return f"Check of {self.bars.name}: {counted(self.findings)}" + (
            f" ({', '.join(errors[:3])}{more})" if errors else ""
        )

    @cached_property
    def table(self) -> pd.DataFrame:
        """Findings, worst first: columns symbol, kind, severity, first, last, count, detail."""
        rows = [[getattr(finding, column) for column in _COLUMNS] for finding in self.findings]
        return pd.DataFrame(rows, columns=_COLUMNS)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per symbol: times of first and last close, number of bars, and the count of each kind of finding."""
        there = np.isfinite(self.bars.close)
        index = self.bars.index
        last = len(index) - 1 - np.argmax(there[::-1], axis=0)
        base = pd.DataFrame(
            {"first": index[np.argmax(there, axis=0)], "last": index[last], "bars": there.sum(axis=0)},
            index=pd.Index(self.bars.symbols, name="symbol"),
        )
        per_symbol = self.table[self.table["symbol"].isin(self.bars.symbols)]
        counts = per_symbol.pivot(index="symbol", columns="kind", values="count").reindex(base.index)
        return base.join(counts.fillna(0).astype(np.int64))

    def page(self, path: str | Path) -> Path:
        """Write the report as a self-contained HTML file; returns its path.

        Raises
        ------
        InputError
            When the file cannot be written.
        """
        from markets.quality.page import write_quality_page

        return write_quality_page(self.bars, self.findings, self.facts, self.missing, path, self.cells)


def check(bars: Bars, calendar: str | None = None, stale: int = 10) -> QualityReport:
    """Check bars for gaps, stale runs, outliers, suspected splits, zero volumes, missing sessions and other faults.

    Impossible prices (negative, infinite, a close above its high) are not covered, since `Bars` refuses them already;
    `check_source` lists them.

    Parameters
    ----------
    bars : Bars
        Only the visible rows are checked.
    calendar : str, optional
        ``"XNYS"`` or another exchange code, ``"24/5"`` or ``"24/7"``. By default it is guessed if the bars make it clear; the
        report states the guess.
    stale : int
        Length in bars from which a run of unchanged closes is reported. Longer runs are needed where unchanged closes are
        common, as in minute bars.

    Returns
    -------
    QualityReport

    Raises
    ------
    InputError
        When the calendar is unknown or does not cover the bars, or `stale` is below 2.
    """
    if not isinstance(bars, Bars):
        raise InputError(f"check needs Bars, not {bars!r}; write check(load(...))")
    if stale < 2:
        raise InputError(f"stale is {stale}; it must be at least 2, since a run of equal closes has at least two bars")
    index = bars.index
    findings, facts, missing = check_index(index, calendar)
    ends, given, source = bars.delisted_from, len(findings), bars.source
    if source.origin:
        facts["from"] = source.origin
    for i, symbol in enumerate(bars.symbols):
        if np.isnan(bars.close[:, i]).all():  # a slice before its listing or after its delisting
            detail = "no close in this span"
            findings.append(Finding(symbol, "no return", "note", index[0], index[-1], len(index), detail))
            continue
        columns = {field: np.ascontiguousarray(values[:, i]) for field, values in bars.fields.items()}
        if calendar is None and facts["spacing"] == "daily" and all(f.kind != "date shift" for f in findings[:given]):
            findings.extend(_day_off(symbol, index[np.isfinite(bars.close[:, i])]))
        findings.extend(
            faults(symbol, index, columns, ends.get(symbol), stale, source.adjusted, symbol in source.pegged)
        )
    if difference := differing(bars):
        facts["spacing"] = "differs from symbol to symbol"
        findings.append(
            Finding("(all)", "mixed frequency", "error", index[0], index[-1], len(bars.symbols), difference)
        )
    findings.extend(_survivorship(bars))
    for caveat in source.caveats:
        findings.append(Finding("(all)", "to know", "note", index[0], index[-1], len(bars.symbols), caveat))
    return QualityReport(bars, _worst_first(findings), facts, missing)


def check_source(
    source: str | Path | pd.DataFrame,
    calendar: str | None = None,
    stale: int = 10,
    *,
    start: str | date | None = None,
    end: str | date | None = None,
    symbols: Sequence[str] | None = None,
) -> QualityReport:
    """Check data that `load` may refuse: wrong cells are all listed, not only the first, and read as gaps.

    Parameters
    ----------
    source, start, end, symbols
        See `markets.load`.
    calendar, stale
        See `check`.

    Returns
    -------
    QualityReport

    Raises
    ------
    InputError
        When the source cannot be read as a table of prices at all.
    """
    cells: list[str] = []
    table, about = read(source, start=start, end=end, symbols=symbols, faults=cells)
    try:
        bars = table.without_impossible(cells).bars(about.name, about.source)
    except InputError as error:
        first = f"{cells[0]}; " if cells else ""
        raise InputError(f"{about.prefix}{first}{error}") from None
    report = check(bars, calendar, stale)
    if not cells:
        return report
    more = f"; and {len(cells) - 1:,} more" if len(cells) > 1 else ""
    detail = f"{cells[0]}{more}"
    wrong = Finding("(all)", "wrong cell", "error", bars.index[0], bars.index[-1], len(cells), detail)
    return replace(report, findings=_worst_first([*report.findings, wrong]), cells=tuple(cells))


def _day_off(symbol: str, index: pd.DatetimeIndex) -> list[Finding]:
    """A symbol whose dates are a day off, in a panel where those of others are not."""
    dates = index.tz_localize(None).normalize()
    return [replace(f, rows=np.empty((0, 2), dtype=np.int64)) for f in shifted(symbol, index, dates)]


def _worst_first(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.count)))


def _survivorship(bars: Bars) -> list[Finding]:
    known = bars.source.survivorship
    ended = np.isnan(bars.close[-1]) | bars.delisted[-1]
    span = years(bars.index)
    if not known and (ended.any() or len(bars.symbols) < _MANY or not span >= _LONG):  # NaN within a day
        return []
    detail = known or (
        f"none of {len(bars.symbols)} symbols ends in {span:.0f} years: if they were chosen because they are still listed, "
        "survivorship bias flatters every long-only result"
    )
    return [Finding("(all)", "survivorship", "note", bars.index[0], bars.index[-1], len(bars.symbols), detail)]
