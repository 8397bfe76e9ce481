"""`Champion`: the registry's champion decides, and what is adapted must earn its place by the gates (`backtests.gates`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from backtests import moves, registry, tracking, versions
from backtests.engine.protocols import Adaptive, Learner
from backtests.engine.walk_forward import WalkForward, walk_forward
from backtests.gates import Rules
from backtests.versions import RegisteredStrategy, Version
from backtests.watch.adoption import Choice
from backtests.watch.journal import Adapted, Journal
from backtests.watch.promise import unseen_from
from backtests.watch.shelf import Shelf
from markets import Bars, Costs, Execution, InputError
from strategies import Plan, Strategy

CHALLENGER = "challenger"  # alias of the version that was adapted last
COMPARED = 2.0  # years of the walk-forward that the gates compare


@dataclass
class Champion:
    """The champion of a registered model decides at each bar, whoever promoted it.

    An adapted strategy is registered, with the alias ``challenger``. Beside the champion, on the same last two years, stands the
    walk-forward of the model that adapts, as it would have adapted then: what it had not seen is what it is judged on.

    Attributes
    ----------
    name : str
        In the registry.
    model : Adaptive
        What adapts.
    adopt : {"ask", "gates"}
        ``ask`` leaves the champion, and says what the gates find; ``gates`` promotes what passes them.
    every : int
        Bars between adaptations in that walk-forward.
    costs, execution
        Of that walk-forward.
    rules : Rules
        What the gates demand.
    root : path
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.
    """

    name: str
    model: Adaptive
    adopt: Literal["ask", "gates"]
    every: int
    costs: Costs
    execution: Execution
    rules: Rules = field(default_factory=lambda: Rules(age=10, unknown=False))
    root: str | Path = "mlruns"
    _loaded: RegisteredStrategy | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {"adopt": self.adopt, "name": self.name}

    def initial(self) -> Strategy:
        return self._champion().strategy

    def decide(self, bars: Bars, journal: Journal, shelf: Shelf) -> Choice:
        """What the champion wants after the last bar; positions are left alone where its contract refuses the bars."""
        champion = self._champion()
        try:
            answer = versions.target_weights(champion, bars)
        except InputError as error:
            alone = np.zeros((1, len(bars.symbols)))
            return Choice(Plan(alone, band=np.full_like(alone, np.inf)), champion.version.uri, str(error))
        parts = {"aim" if name == "target_weight" else name: row[None] for name, row in answer.items()}
        return Choice(Plan(**parts), champion.version.uri)

    @tracking.connected
    def _offered(self, adapted: Adapted, strategy: Strategy, bars: Bars, *, root: str | Path) -> str:
        import mlflow

        client = mlflow.MlflowClient()
        result = self._compared(adapted, bars)
        version = self._registered(adapted, bars)
        if version is None:
            if result is not None:
                with tracking.run(f"watch {self.name}: adapted at {adapted.bar}", root, why=adapted.why):
                    tracking.log_result(result)
            version = registry.register(self.name, _Adapted(self.model, adapted, strategy), bars=bars, root=root)
        client.set_registered_model_alias(self.name, CHALLENGER, str(version.number))
        if self.adopt == "gates":
            try:
                why = f"watch: {adapted.why}, adapted at {adapted.bar}"
                registry.promote(version, self.rules, result=result, why=why, root=root)
            except registry.NotPromoted as refusal:
                return f"{refusal}; it is the challenger"
            return f"{version.uri} passed the gates and is the champion"
        found = registry.examine(version, self.rules, result=result, root=root)
        stopped = [f"{gate.name}: {gate.sentence}" for gate in found if gate.stops(self.rules)]
        gates = f"does not pass the gates ({'; '.join(stopped)})" if stopped else "passes the gates"
        return f"{version.uri} is the challenger and {gates}; to promote it: regimeshift promote {self.name} {version.number}"

    def _registered(self, adapted: Adapted, bars: Bars) -> Version | None:
        """The version that was registered for an adaptation before the process was killed; None if there is none."""
        import mlflow

        found = mlflow.MlflowClient().search_model_versions(f"name = '{self.name}'")
        wanted = {"fingerprint": adapted.after, "adapted_to": str(bars.index[-1])}
        # the certificate is the last that `register` writes: without it the version is not whole, and no gate lets it pass
        same = [v for v in found if wanted.items() <= v.tags.items() and "certificate" in v.tags]
        return Version(self.name, int(same[0].version)) if same else None

    def offer(self, adapted: Adapted, strategy: Strategy, bars: Bars) -> str:
        """Register what was adapted, once, and promote it if that is wanted and the gates let it pass."""
        return self._offered(adapted, strategy, bars, root=self.root)

    def _champion(self) -> RegisteredStrategy:
        """The champion as it is now; its files are read again when the alias has moved."""
        number = self._number(root=self.root)
        if number is None:
            raise InputError(f"there is no champion of {self.name!r} in the registry; make one: regimeshift promote")
        if self._loaded is None or self._loaded.version.number != number:
            self._loaded = versions.load(f"{self.name}/{number}", root=self.root)
        return self._loaded

    @tracking.connected
    def _number(self, *, root: str | Path) -> int | None:
        return moves.aliases(self.name).champion

    def _compared(self, adapted: Adapted, bars: Bars) -> WalkForward | None:
        """The model that adapts beside the champion, on the last two years that its training has not seen."""
        held, champion = bars.with_past(), self._champion()
        first = unseen_from(self.model, champion.warmup, held, COMPARED)
        if first is None:
            return None
        both: list[Adaptive | Learner] = [_Adapted(self.model, adapted), champion]
        return walk_forward(
            both, held.rows(first, len(held)), costs=self.costs, execution=self.execution, every=self.every, check=False,
            progress=False,
        )  # fmt: skip


class _Adapted:
    """The model that adapts, under the fingerprint of what it was adapted to; and that strategy, if it is to be registered."""

    def __init__(self, model: Adaptive, adapted: Adapted, strategy: Strategy | None = None):
        self.name, self.fingerprint = f"{model.name}, adapted", adapted.after
        self._model, self._strategy = model, strategy

    def adapt(self, bars: Bars) -> Strategy:
        return self._strategy or self._model.adapt(bars)
