"""`Grid`: the settings of a sweep, and which of them are neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from markets import InputError


@dataclass(frozen=True)
class Grid:
    """Values of each parameter, and the settings made of them.

    Attributes
    ----------
    values : dict of str to tuple
        Values of each parameter: numbers from the smallest to the largest, others in the order given.
    settings : tuple of dict
        The combinations that are in the grid, the last parameter changing fastest.
    """

    values: dict[str, tuple[Any, ...]]
    settings: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, grid: Mapping[str, Iterable[Hashable]] | Grid, where: Callable[..., bool] | None = None) -> Grid:
        """All combinations of the values for which `where`, called with the parameters by name, is true.

        Raises
        ------
        InputError
            When there is no parameter, one has no values or has one twice, or `where` leaves nothing.
        """
        if isinstance(grid, Grid):
            return grid
        values = {name: _in_order(tuple(given)) for name, given in grid.items()}
        if not values:
            raise InputError("the grid is empty; give values of each parameter, as in {'window': range(10, 200, 10)}")
        for name, given in values.items():
            if not given:
                raise InputError(f"grid: {name} has no values; give at least one")
            if len(set(given)) < len(given):
                raise InputError(f"grid: {name} has {max(given, key=given.count)!r} twice; give each value once")
        combined = (dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))
        settings = tuple(setting for setting in combined if where is None or where(**setting))
        if not settings:
            raise InputError("grid: `where` leaves no setting; allow at least one")
        return cls(values, settings)

    def __len__(self) -> int:
        return len(self.settings)

    @property
    def index(self) -> pd.Index:
        """The settings as the index of a table: one level for each parameter."""
        if len(self.values) == 1:
            (name,) = self.values
            return pd.Index([setting[name] for setting in self.settings], name=name)
        return pd.MultiIndex.from_tuples(
            [tuple(setting.values()) for setting in self.settings], names=list(self.values)
        )

    def worst_neighbour(self, scores: np.ndarray) -> np.ndarray:
        """Lowest score among each setting and its neighbours.

        Neighbours are the settings of the grid, at most eight for two parameters, whose parameters all are the same or one step
        away in the list of values. A parameter that is not a number has no steps.

        Parameters
        ----------
        scores : ndarray of shape (S,)
            Higher is better; NaN counts as the worst.

        Returns
        -------
        ndarray of shape (S,)
            −inf where a score of the neighbourhood is NaN.
        """
        position = {name: {value: i for i, value in enumerate(given)} for name, given in self.values.items()}
        places = tuple(np.array([position[name][s[name]] for s in self.settings]) for name in self.values)
        lattice = np.full(
            [len(given) for given in self.values.values()], np.inf
        )  # what is not in the grid is no neighbour
        lattice[places] = np.where(np.isnan(scores), -np.inf, scores)
        for axis, given in enumerate(self.values.values()):
            if _numeric(given):
                lattice = _lowest_of_three(lattice, axis)
        return lattice[places]


@dataclass(frozen=True)
class Found:
    """A setting of a sweep.

    Attributes
    ----------
    setting : dict
        Arguments of the strategy.
    value : float
        Its metric.
    worst : float
        The worst value among the setting and its neighbours in the grid; NaN if one of them has none.
    """

    setting: dict[str, Any]
    value: float
    worst: float

    def __str__(self) -> str:
        return f"{label(self.setting)}: {self.value:.2f}, worst neighbour {self.worst:.2f}"


def label(setting: Mapping[str, Any]) -> str:
    """A setting in words: ``fast 10, slow 200``."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in setting.items()
    )


def _numeric(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in values)


def _in_order(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numbers in order, so that neighbours in the list are neighbours in size."""
    return tuple(sorted(values)) if _numeric(values) else values


def _lowest_of_three(values: np.ndarray, axis: int) -> np.ndarray:
    """Minimum of each value and of those before and after it along an axis."""
    moved = np.moveaxis(values, axis, 0)
    lowest = moved.copy()
    np.minimum(lowest[1:], moved[:-1], out=lowest[1:])
    np.minimum(lowest[:-1], moved[1:], out=lowest[:-1])
    return np.moveaxis(lowest, 0, axis)
