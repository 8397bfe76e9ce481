"""`Plan`: the target weights of a strategy, with no-trade band, trading rate, and stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from markets.bars.bars import Bars
from markets.common.errors import InputError

_LARGEST, _SMALLEST = float(np.finfo(float).max), float(np.finfo(float).tiny)
# Smallest and largest allowed value of each part, and the range in words.
_RANGES = {
    "aim": (-_LARGEST, _LARGEST, "it must be finite"),
    "band": (0.0, np.inf, "it must be at least 0"),
    "rate": (0.0, 1.0, "it must be from 0 to 1"),
    "stop_loss": (_SMALLEST, np.inf, "it must be above 0"),
    "take_profit": (_SMALLEST, np.inf, "it must be above 0"),
    "trailing_stop": (_SMALLEST, np.inf, "it must be above 0"),
    "cooldown": (0.0, np.inf, "it must be at least 0"),
}
PARTS = tuple(_RANGES)
# What a part that is absent stands for.
_ABSENT = {
    "band": 0.0, "rate": 1.0, "stop_loss": np.inf, "take_profit": np.inf, "trailing_stop": np.inf, "cooldown": np.inf
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Plan:
    """Target weights, and how fast to trade towards them.

    On each bar the simulator moves every weight the fraction `rate` of the way to the nearest edge of ``aim ± band``. A
    no-trade band is optimal under proportional costs, a trading rate under quadratic costs.

    Attributes
    ----------
    aim : ndarray of shape (T, A), or (B, T, A) for B plans
        Target weights. Row t is decided at the close of bar t; the last row is never filled.
    band : ndarray of the same shape, or None
        Half-width of the no-trade zone, at least 0. None means 0; infinity means never trade.
    rate : ndarray of the same shape, or None
        Fraction in [0, 1]. None means 1.
    stop_loss : ndarray of the same shape, or None
        Loss, as a fraction of the average entry price, at which an order that rests in the market closes the position during
        the bar after the decision; above 0, infinity for none. `docs/execution.md` states the rules.
    take_profit : ndarray of the same shape, or None
        Likewise, the gain at which the position is closed.
    trailing_stop : ndarray of the same shape, or None
        Likewise, the loss from the best price since the position was opened, as a fraction of it.
    cooldown : ndarray of the same shape, or None
        Decisions that leave a symbol out after one of these orders closed its position, at least 0; of the row that was in
        force then. It also comes back once its aim is zero or has changed its sign: with infinity, which None means, only then.

    Raises
    ------
    InputError
        When shapes differ or a value is out of range, whose ``cell`` is (row, symbol number, part), or when a part is a table,
        whose names an array does not have; see `Plan.of`.
    """

    aim: np.ndarray
    band: np.ndarray | None = None
    rate: np.ndarray | None = None
    stop_loss: np.ndarray | None = None
    take_profit: np.ndarray | None = None
    trailing_stop: np.ndarray | None = None
    cooldown: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, (lowest, highest, rule) in _RANGES.items():
            values = getattr(self, name)
            if values is None:
                continue
            if isinstance(values, (pd.DataFrame, pd.Series)):
                raise InputError(f"plan: {name} is a table; Plan.of(table, bars) reads it by its times and symbols")
            values = np.array(values, dtype=np.float64, order="C")  # a copy: the caller may use its array again
            if values.ndim not in (2, 3):
                raise InputError(f"plan: {name} has shape {values.shape}; it must be (bars, symbols)")
            if values.shape != np.shape(self.aim):
                raise InputError(f"plan: {name} has shape {values.shape}, aim {np.shape(self.aim)}")
            # plans may be large: this check makes no temporary, and it is false for NaN
            if values.size and not (values.min() >= lowest and values.max() <= highest):
                place = tuple(int(i) for i in np.argwhere(~((values >= lowest) & (values <= highest)))[0])
                row, symbol = place[-2:]
                message = f"plan: {name} at row {row}, symbol {symbol} is {values[place]:g}; {rule}"
                raise InputError(message, (row, symbol, name))
            object.__setattr__(self, name, values)

    @classmethod
    def of(cls, plan: Plan | ArrayLike | pd.DataFrame, bars: Bars | None = None) -> Plan:
        """Return `plan` itself, or make a plan from target weights.

        Parameters
        ----------
        plan : Plan, array_like of shape (T, A), or DataFrame
            A table has a row for each of the visible `bars`, and a column for each symbol, in any order.
        bars : Bars, optional
            What the rows and columns of a table stand for.

        Raises
        ------
        InputError
            When a table has other times or symbols than the bars.
        """
        if isinstance(plan, Plan):
            return plan
        if isinstance(plan, pd.DataFrame) and bars is not None:
            for what, given, wanted in (("symbol", plan.columns, bars.symbols), ("time", plan.index, bars.index)):
                other = given.symmetric_difference(pd.Index(wanted))
                if len(other) or not given.is_unique:
                    name = other[0] if len(other) else given[given.duplicated()][0]
                    raise InputError(
                        f"plan: the table and the bars differ in the {what} {name}; give a column for each symbol and a row for "
                        "each bar, once"
                    )
            plan = plan.loc[bars.index, list(bars.symbols)].to_numpy(dtype=np.float64)
        elif isinstance(plan, pd.DataFrame):
            raise InputError(
                "plan: a table is read by the times and symbols of bars; give them too, as in Plan.of(table, bars)"
            )
        return cls(np.asarray(plan, dtype=np.float64))

    @property
    def stops(self) -> bool:
        """Whether there is a stop-loss, take-profit or trailing stop."""
        return not (self.stop_loss is None and self.take_profit is None and self.trailing_stop is None)

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """The arrays that are there, by name."""
        return {name: getattr(self, name) for name in _RANGES if getattr(self, name) is not None}

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> Plan:
        """The plan with each of its arrays changed alike, as to other rows or symbols."""
        return Plan(**{name: change(part) for name, part in self.parts.items()})

    def __getitem__(self, rows: slice) -> Plan:
        """The plan of some of the bars, as a slice of rows."""
        return self.map(lambda part: part[..., rows, :])

    @staticmethod
    def join(plans: list[Plan]) -> Plan:
        """Concatenate consecutive plans in time."""
        if len(plans) == 1:
            return plans[0]
        names = [name for name in _RANGES if any(getattr(plan, name) is not None for plan in plans)]
        # if only some of the plans have a part, the others get what its absence stands for
        return Plan(**{name: np.concatenate([p.part(name) for p in plans], axis=-2) for name in names})

    def part(self, name: str) -> np.ndarray:
        """The array of this name; if there is none, one of what its absence stands for."""
        part = getattr(self, name)
        return np.full_like(self.aim, _ABSENT[name]) if part is None else part
