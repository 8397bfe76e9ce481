"""Parameters perturbed: each number that a strategy was built with is varied, and the backtest is run again.

A parameter is an argument of the constructor that the strategy keeps as an attribute of the same name. Strategies inside a
strategy, as in a blend or a limit, are searched likewise. One parameter is varied at a time, by `SHARES` of its value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from backtests.engine.protocols import Adaptive
from backtests.robustness.case import Case
from backtests.robustness.drawing import figure
from backtests.robustness.progress import tracked
from backtests.section import Section
from markets import InputError
from markets.common.words import count
from strategies import Plan

SHARES = (-0.5, -0.25, -0.1, 0.1, 0.25, 0.5)
_NOT_SETTINGS = ("seed",)  # another seed is another draw, not a neighbour


class Parameter(NamedTuple):
    """A number, or a tuple of numbers, that a strategy was built with.

    Attributes
    ----------
    name : str
        ``window``, or ``parts[0].window`` of a strategy inside another.
    value : float, int or tuple of them
    build : callable
        Returns the strategy with another value of this parameter, and all else as it is.
    """

    name: str
    value: Any
    build: Callable[[Any], Adaptive]


def perturb_parameters(
    case: Case,
    *,
    values: Mapping[str, Sequence[Any]] | None = None,
    make: Callable[..., Adaptive] | None = None,
    jobs: int = 1,
    progress: bool = True,
) -> Section:
    """Vary each numeric parameter by ±10, 25 and 50 %, and compare the metric with that of the strategy as it is.

    Parameters
    ----------
    case : Case
    values : mapping of str to sequence, optional
        Values to try of each parameter named; by default all that `numeric_parameters` finds, varied by `SHARES`.
    make : callable, optional
        Builds the strategy from one parameter of `values`, by keyword. By default the strategy's class does, with its other
        arguments as they are.
    jobs : int
        Variants to run in parallel, by joblib.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    Section
        A row per variant: parameter, value, change relative to the value as it is, and metric. A value that the strategy refuses
        has the metric NaN.

    Raises
    ------
    InputError
        When there is no numeric parameter, a name of `values` is unknown, or the strategy cannot be built again.
    """
    variants = list(_variants(case, values, make))
    work = (delayed(_metric)(case, build, value) for _, value, _, build in variants)
    results = tracked(Parallel(n_jobs=jobs, return_as="generator")(work), len(variants), "varying parameters", progress)
    table = pd.DataFrame(
        {
            "parameter": [name for name, *_ in variants],
            "value": [_shown(value) for _, value, *_ in variants],
            "change": [change for _, _, change, _ in variants],
            case.metric: list(results),
        }
    )
    found = table[case.metric].to_numpy()
    if not np.isfinite(found).any():
        raise InputError(f"{case.strategy.name}: no other value of its parameters can be run; give values=")
    worst = table.iloc[case.worst(found)]
    ran = found[np.isfinite(found)]
    rank = 1 + int(case.better(ran, case.value).sum())
    name = case.strategy.name

    def draw() -> Any:
        plot = figure("change of the parameter", case.metric)
        for parameter, rows in table.groupby("parameter", sort=False):
            relative = rows["change"].notna().all()
            x = [*rows["change"], 0.0] if relative else [*rows["value"], "as it is"]
            y = [*rows[case.metric], case.value]
            order = np.argsort(x) if relative else range(len(x))
            plot.add_scatter(
                x=[x[i] for i in order], y=[y[i] for i in order], name=str(parameter), mode="lines+markers",
                text=[[*rows["value"], "as it is"][i] for i in order],
            )  # fmt: skip
        plot.add_hline(y=case.value, line_dash="dash", annotation_text="as it is")
        if table["change"].notna().all():
            plot.update_xaxes(tickformat="+.0%")
        return plot

    refused = len(found) - len(ran)
    return Section(
        "Parameters perturbed",
        f"{name}: {case.metric} {case.text(case.value)}; the worst of {count(len(ran), 'neighbour')} is "
        f"{worst['parameter']} = {worst['value']} with {case.text(float(worst[case.metric]))}; the setting as it is ranks {rank} "
        f"of {len(ran) + 1}." + (f" {count(refused, 'value')} could not be run." if refused else ""),
        "Whether the result hangs on one value: a setting that was picked for its result stands on a peak, and falls on both "
        "sides of it.",
        "That the setting was not picked for its result: a whole plateau may be luck of the same span. One parameter changes at "
        "a time, so what several do together is not seen; a sweep shows that.",
        table,
        draw,
    )


def numeric_parameters(strategy: Adaptive) -> list[Parameter]:
    """The finite numbers other than zero that a strategy was built with, and those of the strategies inside it.

    Raises
    ------
    InputError
        When an argument that the constructor needs is not kept as an attribute.
    """
    arguments = _arguments(strategy)
    found: list[Parameter] = []

    def with_value(name: str, value: Any) -> Adaptive:
        return type(strategy)(**(arguments | {name: value}))

    def inside(part: Any, label: str, around: Callable[[Any], Adaptive]) -> None:
        for inner in numeric_parameters(part):
            build = partial(_nested, inner.build, around)
            found.append(Parameter(f"{label}.{inner.name}", inner.value, build))

    for name, value in arguments.items():
        several = value if isinstance(value, (tuple, list)) else ()
        if name in _NOT_SETTINGS:
            continue
        if _is_number(value) or (several and all(map(_is_number, several))):
            found.append(Parameter(name, value, partial(with_value, name)))
        elif _is_strategy(value):
            inside(value, name, partial(with_value, name))
        elif several and all(map(_is_strategy, several)):
            for k, part in enumerate(several):
                inside(part, f"{name}[{k}]", partial(_among, tuple(several), k, partial(with_value, name)))
    return found


def _nested(build: Callable[[Any], Adaptive], around: Callable[[Any], Adaptive], value: Any) -> Adaptive:
    """The outer strategy around an inner one that is built with another value."""
    return around(build(value))


def _among(parts: tuple[Any, ...], k: int, around: Callable[[Any], Adaptive], part: Any) -> Adaptive:
    """The outer strategy around several parts, of which part `k` is another one."""
    return around((*parts[:k], part, *parts[k + 1 :]))


def _arguments(strategy: Adaptive) -> dict[str, Any]:
    """The arguments that build the strategy as it is; those with a default that it does not keep are left out."""
    found = {}
    for name, parameter in inspect.signature(type(strategy)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if hasattr(strategy, name):
            found[name] = getattr(strategy, name)
        elif parameter.default is parameter.empty:
            raise InputError(
                f"{strategy.name}: its argument {name} is not kept as an attribute, so it cannot be built again; keep it as "
                f"self.{name}, or give values= and make="
            )
    return found


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return number and bool(np.isfinite(value)) and value != 0


def _is_strategy(value: Any) -> bool:
    """Whether it is one; a class that builds some is not."""
    return not isinstance(value, type) and hasattr(value, "adapt") and hasattr(value, "name")


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _changed(value: Any, share: float) -> Any:
    """A number changed by a share of itself; a whole one by at least 1."""
    if isinstance(value, (tuple, list)):
        return tuple(_changed(v, share) for v in value)
    if isinstance(value, (int, np.integer)):
        step = max(round(abs(value * share)), 1)
        return int(value) + (step if share > 0 else -step)
    return float(value) * (1 + share)


def _variants(
    case: Case, values: Mapping[str, Sequence[Any]] | None, make: Callable[..., Adaptive] | None
) -> Iterator[tuple[str, Any, float, Callable[[Any], Adaptive]]]:
    """(parameter, value, relative change, how to build it) of each variant, once."""
    if make is not None:
        if not values:
            raise InputError(
                "make= builds a strategy from one parameter; give values= too, as in values={'window': [10, 20]}"
            )
        for name, several in values.items():
            for value in several:
                yield name, value, np.nan, partial(_by_keyword, make, name)
        return
    found = {parameter.name: parameter for parameter in numeric_parameters(case.strategy)}
    unknown = [name for name in values or {} if name not in found]
    if unknown or not found:
        there = f"it has {', '.join(found)}" if found else "it has none; give values= and make="
        what = f"no numeric parameter {unknown[0]!r}" if unknown else "no numeric parameter to vary"
        raise InputError(f"{case.strategy.name}: {what}; {there}")
    _check_rebuilt(case, next(iter(found.values())))
    for name, (_, value, build) in found.items():
        if values is not None and name not in values:
            continue
        tried = [_changed(value, share) for share in SHARES] if values is None else list(values[name])
        for other in dict.fromkeys(tuple(v) if isinstance(v, list) else v for v in tried):
            if other != value:
                many = isinstance(value, (tuple, list))
                yield name, other, (other[0] / value[0] if many else other / value) - 1, build


def _by_keyword(make: Callable[..., Adaptive], name: str, value: Any) -> Adaptive:
    return make(**{name: value})


def _check_rebuilt(case: Case, parameter: Parameter) -> None:
    """Refuse a strategy that its attributes do not build again, since its neighbours would not be its neighbours."""
    again = case.with_strategy(parameter.build(parameter.value)).plan
    if not all(_same(getattr(case.plan, part.name), getattr(again, part.name)) for part in fields(Plan)):
        raise InputError(
            f"{case.strategy.name}: built again with the attributes that it has, it plans differently; give values= and make="
        )


def _same(one: Any, two: Any) -> bool:
    return (one is None) == (two is None) and (one is None or np.allclose(one, two, rtol=0, atol=1e-9))


def _metric(case: Case, build: Callable[[Any], Adaptive], value: Any) -> float:
    """The metric of a variant; NaN where the strategy refuses the value, or the bars are too few for it."""
    try:
        return case.with_strategy(build(value)).value
    except InputError:
        return np.nan
