"""`Program`: a composition of features as steps and workspace for `markets.features.kernels.fold`."""

from __future__ import annotations

from markets.features import kernels as kernel


class Program:
    """The steps of a composition, and the amount of state that they need."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, ...]] = []
        self.windows: list[int] = []
        self.depth, self.rows, self.peaks, self.functions, self.column = 2, 0, 0, 0, 0

    def volatility(self, window: int) -> int:
        """Slot of the volatility over `window` bars, shared by all features that use it."""
        self.reach(window + 1)
        if window not in self.windows:
            self.windows.append(window)
        return self.windows.index(window)

    def reach(self, bars: int) -> None:
        """Make the ring buffer long enough for this many earlier log closes."""
        self.depth = max(self.depth, bars + 1)

    def reserve(self, rows: int) -> int:
        """Reserve `rows` rows of workspace; returns the first."""
        self.rows += rows
        return self.rows - rows

    def add(self, code: int, n: int = 0, m: int = 0, slot: int = 0, place: int = 0, columns: int = 1) -> None:
        self.steps.append((code, self.column, n, m, slot, place))
        self.column += columns

    def start(self, symbols: int) -> kernel.State:
        return kernel.make_state(symbols, self.depth, len(self.windows), self.rows, self.peaks)
