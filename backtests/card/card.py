"""`ModelCard`: what a registered version is, what it was trained on, how it was tested, when it fails, and how to use it.

All of it is taken from the strategy, its contract, its certificate and its backtest, so nothing is said that is not known of this
very version. The card is ``card/card.md`` among the version's files, with its pictures beside it, and MLflow's description is the
same without them, with shorter tables where its database could not hold them.

The sections follow Mitchell et al., "Model cards for model reporting", FAT* 2019.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtests.card import limitations
from backtests.certificate import Certificate, declared
from backtests.contract import DataContract
from backtests.metrics import METRICS, formatted
from backtests.report.markdown import markdown_table
from backtests.report.pictures import pictures, weights_picture
from backtests.report.text import cell
from backtests.results import Backtest, Backtests
from markets import Bars, Costs, Execution, Plan
from markets.bars.time_spans import duration
from markets.common.words import count, few
from strategies import Blend, Strategy, needs, stored
from strategies.strategy import planned

FOLDER, FILE = "card", "card.md"
CHARACTERS = 5000  # of a description in MLflow's database
YEAR = 252  # last bars whose target weights are drawn
FIGURES = (
    "total return", "CAGR", "volatility", "Sharpe", "max drawdown", "longest drawdown", "expected shortfall", "turnover", "costs",
    "exposure",
)  # fmt: skip
_CAPTIONS = {
    "equity": "Equity of the backtest and its drawdown, net of costs",
    "months": "Monthly returns of the backtest, in per cent",
}


@dataclass(frozen=True)
class Table:
    """A table of a card, which may be cut; sentences are not."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self, most: int | None) -> str:
        """In Markdown, with at most so many rows; empty if there are to be none."""
        shown = list(self.rows[:most])
        if len(shown) < len(self.rows) and shown:
            more = count(len(self.rows) - len(shown), "more row")
            shown.append([f"{more} in {FOLDER}/{FILE}", *[""] * (len(self.heads) - 1)])
        return markdown_table(self.heads, shown) if shown else ""


Block = str | Table


@dataclass(frozen=True, eq=False)
class ModelCard:
    """What is known of a model when it is registered.

    Attributes
    ----------
    name : str
        In the registry.
    model : Strategy or MetaPolicy
        Before it was adapted.
    strategy : Strategy
        As it will decide.
    contract : DataContract
    bars : Bars
        That it was adapted to.
    certificate : Certificate
    tags : mapping of str
        What is recorded of the version in MLflow's database.
    result : Backtests, optional
    tested : Backtest, optional
        The one of the model in `result`.
    """

    name: str
    model: Any
    strategy: Strategy
    contract: DataContract
    bars: Bars
    certificate: Certificate
    tags: Mapping[str, Any]
    result: Backtests | None = None
    tested: Backtest | None = None

    def text(self, number: int | None = None, *, pictured: bool = False, most: int | None = None) -> str:
        """The card in Markdown.

        Parameters
        ----------
        number : int, optional
            Of the version, which is not known before its files are stored.
        pictured : bool
            Whether the pictures are linked.
        most : int, optional
            Largest number of rows of a table; by default all.
        """
        sections: dict[str, list[Block]] = {
            "What it is": [*self._what_it_is(), *([self._weights_link()] if pictured else [])],
            "What it was trained on": list(self._trained_on()),
            "How it was tested": [*self._tested(), *(self._links() if pictured else [])],
            "Fails when": ["\n".join(f"- {sentence}" for sentence in self._limitations)],
            "Use": list(self._use("NUMBER" if number is None else str(number))),
        }  # fmt: skip
        parts = [f"# {self.name}" + ("" if number is None else f", version {number}")]
        for title, blocks in sections.items():
            parts += [f"## {title}", *(b.text(most) if isinstance(b, Table) else b for b in blocks)]
        return "\n\n".join(part for part in parts if part) + "\n"

    def description(self, number: int) -> str:
        """The card without pictures, in at most `CHARACTERS` characters: tables are cut as far as it takes."""
        found = ""
        for most in (None, 10, 5, 3, 0):
            found = self.text(number, most=most)
            if len(found) <= CHARACTERS:
                return found
        return found[: CHARACTERS - 2].rsplit("\n", 1)[0] + "\n…"

    def save(self, folder: Path) -> Path:
        """Write ``card.md`` and its pictures into `folder`, which is created, and return it."""
        folder.mkdir()
        files = {"weights": self._weights_picture()}
        if self.result is not None and self.tested is not None:
            files |= pictures(self.result, self.tested.name, tuple(_CAPTIONS))
        for plot, png in files.items():
            (folder / f"{plot}.png").write_bytes(png)
        (folder / FILE).write_text(self.text(pictured=True), encoding="utf-8")
        return folder

    # ------------------------------------------------------------------ what it is

    def _what_it_is(self) -> Iterator[Block]:
        contract, strategy = self.contract, self.strategy
        yield (
            f"After each bar `{strategy.name}` says what to hold next: a target weight for each of "
            f"{count(int(contract.tradable.sum()), 'symbol')}, as a fraction of equity, {self._answer()}. It sends no orders."
        )
        yield Table(("part", "kind", "settings", "what it does"), list(_parts(strategy)))
        yield f"{_sizes(strategy)} {getattr(self.model, 'remark', '')}".strip()
        yield " ".join(self._reads())
        lines = [contract.symbols[k : k + 10] for k in range(0, len(contract.symbols), 10)]
        yield Table(("symbols",), [(", ".join(line),) for line in lines])
        copied = json.loads(self.tags["own_files"])
        if copied:
            yield "It runs its own copy of these files, if their SHA-256 is still this one:"
            yield Table(("file", "SHA-256"), [(f"`{name}`", f"`{digest}`") for name, digest in copied.items()])

    def _answer(self) -> str:
        """What stands beside the target weights."""
        plan, found = self._plan, []
        if plan.band is not None and (plan.band > 0).any():
            alone = "; where it has no end, the position is left alone" if np.isinf(plan.band).any() else ""
            found.append(f"with a no-trade zone around it, inside which nothing is traded{alone}")
        if plan.rate is not None and (plan.rate < 1).any():
            found.append("to be traded towards at a rate")
        if plan.stops:
            found.append("with stops")
        side = "long and short" if (plan.aim < 0).any() else "long only"
        return ", ".join([f"{side} over the last {count(len(plan.aim), 'bar')}", *found])

    def _reads(self) -> Iterator[str]:
        contract = self.contract
        what = ", ".join(("closes", *contract.columns))
        if contract.endless:
            yield f"A decision depends on the {what} of all bars since {cell(contract.bars.index[0])}."
        else:
            yield f"A decision reads the {what} of the last {count(contract.needed, 'bar')}, {duration(contract.spacing)} apart."
        if not contract.tradable.all():
            only = [s for s, traded in zip(contract.symbols, contract.tradable, strict=True) if not traded]
            yield f"It reads {few(only)} and never trades them."
        for part in needs.external_series(self.strategy):
            yield f"It reads the external series {', '.join(part.frame.columns)}, {count(part.lag, 'bar')} late."
        for holder, detector in needs.detectors(self.strategy).items():
            yield f"`{holder}` holds a regime detector, {type(detector).__name__}, of {', '.join(detector.names)}."

    # ------------------------------------------------------------------ what it was trained on

    def _trained_on(self) -> Iterator[Block]:
        bars, tags = self.bars, self.tags
        span = f"{count(len(bars), 'bar')} of `{bars.name}` from {cell(bars.index[0])} to {cell(bars.index[-1])}"
        trained, seen = getattr(self.model, "seen_until", None), getattr(self.strategy, "seen_until", None)
        if trained is not None:
            yield f"Its weights were trained and selected on bars up to {cell(trained)}; its training's run in MLflow names them."
        if getattr(self.model, "adapts", True):
            learnt = "" if seen is None else f" What it learnt ends at {cell(seen)}."
            yield f"It was adapted to {span}.{learnt}"
        else:
            more = "" if trained is None else " more"
            yield f"It learns nothing{more} from bars. It was registered on {span}, and has the settings above."
        history = f", with {count(bars.past, 'earlier bar')} as history" if bars.past else ""
        facts = {
            "data set": f"{bars.name}{history}",
            "origin": bars.source.origin,
            "hash of the data set": tags["data_hash"],
            "hash of these bars": tags["span_hash"],
            "fingerprint of the strategy": tags["fingerprint"],
            "code": f"commit {tags['git_commit']}",
            "packages": ", ".join(
                f"{k.removeprefix('package_')} {v}" for k, v in tags.items() if k.startswith("package_")
            ),
        }
        yield Table(("fact", "value"), [(k, v) for k, v in facts.items() if v])

    # ------------------------------------------------------------------ how it was tested

    @cached_property
    def figures(self) -> dict[str, float]:
        """The metrics of its backtest; empty if there is none."""
        named = {metric: f"backtest_{metric.replace(' ', '_')}" for metric in METRICS}
        return {metric: float(self.tags[key]) for metric, key in named.items() if key in self.tags}

    def _tested(self) -> Iterator[Block]:
        if self.figures:
            yield " ".join(self._backtest())
            table = pd.DataFrame({self.model.name: self.figures}).T
            if self.result is not None and self.result.benchmark != table.index[0]:
                table.loc[self.result.benchmark] = self.result[self.result.benchmark].metrics
            shown = formatted(table[[metric for metric in FIGURES if metric in table]]).T
            yield Table(
                ["", *shown.columns],
                [[metric, *row] for metric, row in zip(shown.index, shown.to_numpy(), strict=True)],
            )
        else:
            yield "No backtest of it is on record: it was registered without one."
        yield f"At registration it was checked on its bars from {self.certificate.span.replace(' 00:00:00', '')}:"
        words = {True: "passed", False: "**failed**", None: "**not known**"}
        yield "\n".join(f"- {c.name}, {words[c.passed]}: {c.sentence}." for c in self.certificate.checks)

    def _backtest(self) -> Iterator[str]:
        first, last = (cell(pd.Timestamp(time)) for time in self.tags["backtest_span"].split(" to "))
        costs, execution = (
            limitations.changed(self.tags[key], of) for key, of in (("costs", Costs), ("execution", Execution))
        )
        number = "" if self.result is None else f" ({count(len(self.result.bars), 'bar')})"
        yield f"Its backtest runs from {first} to {last}{number}."
        yield f"Costs: {', '.join(costs) or 'none'}. Execution: {', '.join(execution) or 'by default'}."
        if self.result is not None and getattr(self.model, "adapts", True):
            yield f"It was adapted every {count(self.result.every, 'bar')} on the way."
        if run := self.tags.get("backtest_run"):
            yield f"MLflow's run `{run}` holds it, with its report."

    # ------------------------------------------------------------------ when it fails

    @cached_property
    def _limitations(self) -> list[str]:
        """The graver first: what was found wrong, then what flatters, then what it lost, then what it refuses."""
        shown = self.bars if self.result is None else self.result.bars
        where = "the bars that it was adapted to" if self.result is None else "its backtest"
        first = pd.Timestamp(self.tags["backtest_span"].split(" to ")[0]) if self.figures else None
        lost = [] if self.result is None or self.tested is None else limitations.of_result(self.result, self.tested)
        return [
            *limitations.of_checks(self.certificate),
            *limitations.of_data(self.bars),
            *limitations.of_training(self.strategy, self.bars, first),
            *limitations.of_backtest(self.figures, self.tags.get("costs", "")),
            *lost,
            *limitations.of_regimes(self.strategy, shown, where),
            limitations.of_contract(self.strategy, self.contract),
        ]

    # ------------------------------------------------------------------ how to use it

    def _use(self, number: str) -> Iterator[str]:
        version = f"{self.name}/{number}"
        adapts = "--strategy RULE" if isinstance(self.model, Strategy) else "--model FOLDER"
        yield "\n".join(
            f"    {line}"
            for line in (
                f"regimeshift signal --model {version} --bars DATA",
                f"regimeshift serve {version}",
                f"regimeshift watch DATA {adapts} --name {self.name}",
                f"regimeshift promote {self.name} {number}",
                f"regimeshift rollback {self.name}",
            )
        )
        yield (
            "In this order: print its weights after the last bar of DATA, serve it over HTTP, follow data that grow and adapt a "
            f"challenger, make it the champion if it passes the gates, go back to the champion before. {self._number(number)}"
        ).strip()

    @staticmethod
    def _number(number: str) -> str:
        return "" if number.isdigit() else f"{number} is that of this version in the registry."

    # ------------------------------------------------------------------ pictures

    @cached_property
    def _plan(self) -> Plan:
        """What it wants on the last bars, as it is now."""
        held = self.bars.with_past()
        last = held[-min(YEAR, max(len(held) - self.strategy.warmup, 1)) :]
        # what is held for good, as by BuyAndHold, was bought at the first bar
        return planned(self.strategy, held)[-len(last) :] if self.contract.endless else planned(self.strategy, last)

    def _weights_picture(self) -> bytes:
        plan = self._plan
        index = self.bars.with_past().index[-len(plan.aim) :]
        return weights_picture(index, self.contract.symbols, plan.aim, f"Target weights of {self.strategy.name}")

    def _weights_link(self) -> str:
        caption = f"Target weights on the last {count(len(self._plan.aim), 'bar')}"
        return f"![{caption}](weights.png)\n\n*{caption}, as the strategy that was registered wants them.*"

    def _links(self) -> Iterator[str]:
        if self.tested is not None:
            yield from (f"![{caption}]({plot}.png)\n\n*{caption}.*" for plot, caption in _CAPTIONS.items())


def describe_version(name: str, number: int, description: str) -> None:
    """Write a version's description, and describe the model if nobody has."""
    import mlflow

    client = mlflow.MlflowClient()
    client.update_model_version(name, str(number), description)
    if not client.get_registered_model(name).description:
        about = "A trading policy of regimeshift. The alias `champion` is the version that is served; each version has its card."
        client.update_registered_model(name, about)


def _parts(strategy: Strategy) -> Iterator[tuple[str, str, str, str]]:
    """A row for the strategy and each that it holds: name, kind, settings, and the first sentence on its kind."""
    for part in needs.walk(strategy):
        settings = {"parts": len(part.parts)} if isinstance(part, Blend) else dict(stored.described(part))
        kind = settings.pop("kind", type(part).__name__)
        words = ", ".join(f"{key.replace('_', ' ')} {cell(value)}" for key, value in settings.items())
        yield f"`{part.name}`", str(kind), words, _first_sentence(type(part))


def _first_sentence(kind: type) -> str:
    """The first sentence of a class's docstring without the papers that it names; empty if there is none."""
    text = inspect.cleandoc(vars(kind).get("__doc__") or "").split("\n\n")[0]
    if text.startswith(f"{kind.__name__}("):  # what a dataclass says of itself
        return ""
    text = re.sub(r" \([^()]*\d{4}[^()]*\)", "", " ".join(text.split()))
    return re.split(r"(?<=\.) |::", text)[0].rstrip(":;, ")


def _sizes(strategy: Strategy) -> str:
    """The sizes that it keeps to, by its limits."""
    gross, weight = declared(strategy)
    found = [
        f"{what} at most {size:g}"
        for what, size in (("the gross weight is", gross), ("the weight of a symbol is", weight))
        if np.isfinite(size)
    ]
    return (
        f"By its own limits {' and '.join(found)} of equity."
        if found
        else "It declares no limit on the size of its weights."
    )
