"""``regimeshift explain``: which features and past bars moved a target weight, and what would have turned the decision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from regimeshift.options import DataOptions

if TYPE_CHECKING:
    import pandas as pd

    from backtests.explain import Counterfactual, Explanation
    from markets import Bars
    from strategies import Strategy


@dataclass
class Explain(DataOptions):
    """Say why a model decided as it did: which features and past bars moved a weight, and what would have turned the decision.

    It also says what the model believed, and what limits changed.
    With --from it is about all decisions of a span. A rule, which reads no features, is decided again without single past bars.
    """

    model: tyro.conf.Positional[str]
    """A registered model (NAME, NAME@ALIAS or NAME/VERSION), the folder of a trained one, a rule (momentum:252), or a class in
    a file of yours (my_strategy.py:MyStrategy)."""
    bars: str | None = None
    """The bars to decide on: a data set, as for `regimeshift data`. It must be named."""
    symbol: str | None = None
    """The symbol to explain; by default the one that is the farthest from the base, and with --from all of them."""
    at: str | None = None
    """Explain the decision at this time, such as 2020-03-16; by default the last one."""
    page: str | None = None
    """Write an .html page with plots."""
    json: bool = False
    """Print one line of JSON instead of a table."""

    def run(self) -> None:
        from markets import InputError
        from regimeshift.console import naming, page_file, step

        if self.bars is None:
            raise InputError(f"name the bars, as in: regimeshift explain {self.model} --bars FILE.csv")
        if self.at and (self.start or self.end):
            raise InputError("--at names one decision; leave out --from and --until")
        if self.page:
            page_file(self.page, "--page")
        bars = self.load(self.bars)
        if self.at:
            with naming("--at"):
                bars = bars[: self.at]
        if self.symbol is not None and self.symbol not in bars.symbols:
            raise InputError(f"--symbol {self.symbol}: {bars.name} has {', '.join(bars.symbols)}")
        span = self.start is not None
        with step(f"loading {self.model}"):
            strategy = self._strategy(bars.rows(0, bars.past) if span and bars.past else bars)
        from backtests.explain import attributable

        if not attributable(strategy, bars):
            if span:
                raise InputError(f"{self.model} reads no features, and is explained one decision at a time; use --at")
            self._occluded(strategy, bars)
        elif span:
            self._span(strategy, bars)
        else:
            self._decision(strategy, bars)

    def _strategy(self, past: Bars) -> Strategy:
        """The model as adapted to `past`; a registered one as it was registered."""
        from regimeshift import steps
        from strategies.named import NAMES

        if Path(self.model).is_dir() or ".py:" in self.model or self.model.partition(":")[0] in NAMES:
            return steps.strategy_maker(self.model)().adapt(past)
        from backtests import versions

        return versions.load(self.model)

    # ------------------------------------------------------------------ one decision

    def _decision(self, strategy: Strategy, bars: Bars) -> None:
        from dataclasses import replace

        from backtests.explain import counterfactual, explain
        from backtests.explain.page import write_explanation
        from backtests.explain.sentences import rows, sentences, time_text
        from regimeshift import steps
        from regimeshift.console import say, step

        with step("explaining"):
            found = explain(strategy, bars)
            symbol = self.symbol or found.most_moved
            turning = counterfactual(strategy, bars, symbol)
        if not found.regimes and (detector := steps.detector_before(bars[-1:])):
            path = detector.filter(bars)
            chances = dict(zip(path.names, path.probabilities[-1].tolist(), strict=True))
            found = replace(found, regimes={"a hidden Markov model fitted on the bars before": chances})
        if self.page:
            with step(f"writing {self.page}"):
                write_explanation(found, symbol, turning, self.page, f"{self.model}: why {symbol}")
        if self.json:
            print(_json(found, symbol, turning, self.model))
            return
        weight = found.decision[found.column(symbol)]
        self._show(
            rows(found, symbol), f"{self.model} after {time_text(found.times[-1])}: why {weight:.2%} of {symbol}", ""
        )
        for sentence in sentences(found, symbol, turning):
            say(sentence)
        if remark := getattr(strategy, "remark", ""):
            say(remark)
        self._tell_page()

    def _occluded(self, strategy: Strategy, bars: Bars) -> None:
        import json

        import numpy as np
        import pandas as pd

        from backtests.explain import occlude
        from backtests.explain.page import write_occlusion
        from backtests.explain.sentences import time_text
        from regimeshift.console import say, show, step

        with step("deciding again without single bars"):
            found = occlude(strategy, bars)
        column = found.symbols.index(self.symbol) if self.symbol else int(np.abs(found.changes).sum(axis=0).argmax())
        symbol, changes = found.symbols[column], found.changes[:, column]
        if self.page:
            with step(f"writing {self.page}"):
                write_occlusion(found, symbol, self.page, f"{self.model}: why {symbol}")
        times = [str(time) for time in found.times]
        if self.json:
            facts = {
                "model": self.model,
                "after": times[-1],
                "symbol": symbol,
                "decision": float(found.decision[column]),
            }
            print(json.dumps(facts | {"without": dict(zip(times, changes.tolist(), strict=True))}))
            return
        order = [i for i in np.argsort(-np.abs(changes), kind="stable")[:10] if changes[i]]
        title = f"{self.model} after {time_text(found.times[-1])}: why {found.decision[column]:.2%} of {symbol}"
        if not order:
            say(f"{title}. Without the returns of any single one of the last {len(times)} bars it would be the same.")
        else:
            moved = {"moved the weight by": [f"{changes[i]:+.2%}" for i in order]}
            show(pd.DataFrame(moved, index=[time_text(found.times[i]) for i in order]), title, "returns of the bar")
            say(
                "It reads no features, so it was decided again without the returns of single bars: the last "
                f"{len(times)}, one at a time. These do not add up, since bars act together."
            )
        self._tell_page()

    # ------------------------------------------------------------------ a span

    def _span(self, strategy: Strategy, bars: Bars) -> None:
        import json

        from backtests.explain import explain_span
        from backtests.explain.page import write_span
        from backtests.explain.sentences import time_text
        from regimeshift.console import step

        with step(f"explaining {len(bars)} decisions"):
            found = explain_span(strategy, bars)
        table = found.by_feature(self.symbol)
        if self.page:
            with step(f"writing {self.page}"):
                write_span(found, self.symbol, self.page, f"{self.model}: why")
        if self.json:
            facts = {
                "model": self.model,
                "first": str(found.times[0]),
                "last": str(found.times[-1]),
                "symbol": self.symbol,
            }
            print(json.dumps(facts | {"features": table.to_dict("index")}))
            return
        first, last = (time_text(found.times[k]) for k in (0, -1))
        title = f"{self.model}, {first} to {last}: mean absolute contributions"
        self._show(table[["sum", *table.columns[:-1]]], title, "feature", signed=False)
        self._tell_page()

    # ------------------------------------------------------------------ what is printed

    def _show(self, frame: pd.DataFrame, title: str, first: str, *, signed: bool = True) -> None:
        from regimeshift.console import show

        form = "{:+.2%}" if signed else "{:.2%}"
        text = frame.map(lambda value: "" if value != value else form.format(value))
        show(text.rename(columns={"sum": "weight"}), title, first)

    def _tell_page(self) -> None:
        from regimeshift.console import console

        if self.page:
            console.print(f"Wrote {self.page}")


def _json(found: Explanation, symbol: str, turning: Counterfactual | None, model: str) -> str:
    """The explanation of a symbol as one line of JSON; weights are fractions of the account."""
    import json

    column = found.column(symbol)
    table, bars = found.by_feature(symbol), found.by_bar(symbol)
    facts: dict[str, Any] = {
        "model": model, "after": str(found.times[-1]), "symbol": symbol, "base": float(found.base[column]),
        "resting_tilt": float(found.start[column] - found.base[column]), "features": table.to_dict("index"),
        "limited": float(found.limited[column]), "decision": float(found.decision[column]),
        "bars": {str(time): row for time, row in zip(bars.index, bars.sum(axis=1).tolist(), strict=True)},
        "regimes": found.regimes, "limits": found.limits, "unknown": list(found.unknown),
        "beliefs": {name: belief[column].tolist() for name, belief in found.beliefs.items()},
        "counterfactual": None,
    }  # fmt: skip
    if turning is not None:
        facts["counterfactual"] = {
            "turns": turning.turns, "distance": turning.distance, "weight": turning.weight, "turned": turning.turned,
            "was": dict(zip(turning.features, turning.was.tolist(), strict=True)),
            "would": dict(zip(turning.features, turning.would.tolist(), strict=True)),
        }  # fmt: skip
    return json.dumps(facts)
