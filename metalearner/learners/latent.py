"""Adaptation by variational inference of the regime: a belief over a latent variable, and a policy that reads the belief.

An encoder maps the history up to bar t to a Gaussian belief ``q_t(z) = N(μ_t, σ_t²)`` over a latent task variable. The policy
reads the mean and the standard deviation, so it can take its uncertainty into account. The belief is trained with an evidence
lower bound: given z, a decoder must predict the next inputs anywhere in the task, and the belief must not change more than needed
(Zintgraf et al., "VariBAD", ICLR 2020; Rakelly et al., "PEARL", ICML 2019)::

    maximise   E[ utility ]  +  w · E_t[ E_{z~q_t} Σ_s log p(x_{s+1} | x_s, z) / T  −  KL(q_t ‖ q_{t−1}) / T ],   q_{−1} = N(0, 1)

Unlike in VariBAD, the gradient of the utility also trains the encoder. In markets that the strategy does not move, that
gradient is exact, so it does not add noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import Bars, InputError, RegimePath
from markets.common.ranges import Range
from metalearner.learners.rl2 import RL2, InContext
from metalearner.objective import TaskSampler
from metalearner.training.algorithm import Algorithm
from strategies import Policy, PolicySettings
from strategies.networks import named_params

_TIMES = 16  # per path and update: beliefs sampled, and bars sampled for each to predict


class BeliefPolicy(InContext, kind="latent"):
    """A policy that infers a belief over the regime and trades on it."""

    def belief(self, bars: Bars) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the belief at each visible bar.

        The encoder starts at the first bar of the history for which features exist.

        Parameters
        ----------
        bars : Bars of shape (T, A)

        Returns
        -------
        mean, std : ndarray of shape (T, A, latent)
        """
        policy: Policy = self.policy
        policy.settings.features.require(bars.with_past())
        grown = torch.from_numpy(policy.settings.features.compute(bars.with_past())).float()
        seen, _ = policy.sequences(grown[None])
        with torch.no_grad():
            remembered, _ = policy.body.memory(seen, None)
        mean, std = remembered.transpose(0, 1)[bars.past :].double().numpy().reshape(*bars.shape, 2, -1).swapaxes(0, 2)
        return mean.swapaxes(0, 1), std.swapaxes(0, 1)

    def plot_belief(self, bars: Bars, regimes: RegimePath | None = None) -> Any:
        """Plot the belief's mean over time, averaged over symbols, with a band of ± 1 standard deviation.

        Parameters
        ----------
        bars : Bars
        regimes : RegimePath, optional
            Regime labels to show on a second axis.

        Returns
        -------
        plotly Figure
        """
        import plotly.graph_objects as go

        mean, std = (x.mean(axis=1) for x in self.belief(bars))
        figure = go.Figure(layout={"title": f"{self.name}: belief on {bars.name}", "template": "plotly_white"})
        time = bars.index
        for k in range(mean.shape[1]):
            low, high = mean[:, k] - std[:, k], mean[:, k] + std[:, k]
            hue = f"hsla({(k * 137) % 360}, 60%, 45%, "
            figure.add_scatter(x=time, y=high, line={"width": 0}, showlegend=False, hoverinfo="skip")
            figure.add_scatter(x=time, y=low, line={"width": 0}, fill="tonexty", fillcolor=hue + "0.15)",
                               showlegend=False, hoverinfo="skip")  # fmt: skip
            figure.add_scatter(x=time, y=mean[:, k], line={"color": hue + "1)"}, name=f"z{k + 1} ± 1 s.d.")
        if regimes is not None:
            figure.add_scatter(
                x=regimes.index, y=regimes.labels, yaxis="y2", line={"color": "#999", "shape": "hv"}, name="regime"
            )
            ticks = {"tickvals": list(range(len(regimes.names))), "ticktext": list(regimes.names)}
            figure.update_layout(yaxis2={"overlaying": "y", "side": "right", "showgrid": False, **ticks})
        return figure


class Inferring(Algorithm):
    """Maximises the utility of the query plus the evidence lower bound of the belief.

    Parameters
    ----------
    policy : Module
        With memory ``belief``.
    sampler : TaskSampler
    weight : float
        w, the weight of the bound.
    """

    def __init__(self, policy: Any, sampler: TaskSampler, weight: float):
        inputs, shape = policy.body.memory.gru.input_size, policy.body.shape
        decoder = nn.Sequential(nn.Linear(inputs + shape.latent, 32), nn.Tanh(), nn.Linear(32, inputs))
        self.policy, self.sampler, self.weight = policy, sampler, weight
        self.module = nn.ModuleDict({"policy": policy, "decoder": decoder})
        self.module.register_parameter("log_noise", nn.Parameter(torch.zeros(inputs)))

    def losses(self, tasks: Any, total: int, rng: np.random.Generator) -> Iterator[Tensor]:
        params = named_params(self.policy)
        batch = self.sampler.collect(self.policy, params, tasks, "query", rng)
        for (part,) in self.sampler.minibatches([batch], rng):
            seen, steps = self.sampler.sequences(self.policy, part)
            bound = part.weight * self.evidence(seen, steps, part.tasks.task_ids, rng)
            utility = self.sampler.utility(self.policy, params, part)
            weighted = self.sampler.weights(utility, part.tasks) * utility
            yield -(weighted.sum() + self.weight * bound.sum()) / total

    def evidence(self, seen: Tensor, steps: Tensor, task_ids: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Evidence lower bound per bar.

        Parameters
        ----------
        seen : Tensor of shape (tasks, sequences, T, inputs)
            Input sequences of the memory.
        steps : Tensor of int, shape (tasks, sequences)
            Number of valid steps of each sequence.
        task_ids : ndarray of shape (tasks,)
            Seeds each task's noise, so that it does not depend on the process that holds the task.
        rng : Generator

        Returns
        -------
        Tensor of shape (tasks,)
        """
        tasks, many, bars = seen.shape[:3]
        key = int(rng.integers(2**31))
        x, length = seen.flatten(0, 1), steps.flatten().to(seen.device)
        remembered, _ = self.policy.body.memory(x, None)
        mean, std = remembered.chunk(2, -1)
        before = (
            torch.cat([torch.zeros_like(mean[:, :1]), mean[:, :-1]], 1),
            torch.cat([torch.ones_like(std[:, :1]), std[:, :-1]], 1),
        )
        change = (before[1] / std).log() + (std**2 + (mean - before[0]) ** 2) / (2 * before[1] ** 2) - 0.5
        met = torch.arange(bars, device=x.device) < length[:, None]
        change = torch.where(met, change.sum(-1), 0.0).sum(1) / length**2
        # sample the belief after bar `at`, and predict the input that follows bar `bar` from it
        chances = [np.random.default_rng([key, int(n)]) for n in task_ids]
        uniform = np.stack([chance.random((many, 2, _TIMES)) for chance in chances]).reshape(tasks * many, 2, _TIMES)
        normal = np.stack([chance.standard_normal((many, _TIMES, mean.shape[-1])) for chance in chances])
        pairs_of = torch.stack([length, (length - 1).clamp(min=1)], 1)[..., None]
        at, bar = (torch.from_numpy(uniform).to(x.device) * pairs_of).long().unbind(1)
        z = _rows(mean, at) + _rows(std, at) * torch.from_numpy(normal).flatten(0, 1).to(mean)
        given, next_ = _rows(x, bar), _rows(x, (bar + 1).clamp(max=bars - 1))
        pairs = torch.cat([z[:, :, None].expand(-1, -1, _TIMES, -1), given[:, None].expand(-1, _TIMES, -1, -1)], -1)
        noise_scale = self.module.log_noise.clamp(-4, 4)  # type: ignore[operator]
        error = (self.module["decoder"](pairs) - next_[:, None]) / noise_scale.exp()  # type: ignore[index]
        likelihood = -(0.5 * error**2 + noise_scale).sum(-1).mean((1, 2))
        likelihood = torch.where(length > 1, likelihood, 0.0)  # a sequence of one step has no next input
        return (likelihood - change).unflatten(0, (tasks, many)).mean(1)

    def scores(self, rng: np.random.Generator) -> Tensor:
        params = named_params(self.policy)
        batch = self.sampler.collect(self.policy, params, self.sampler.all_tasks(), "query", rng)
        return self.sampler.score(self.policy, params, batch)


def _rows(x: Tensor, at: Tensor) -> Tensor:
    """Rows `at`, shape (N, K), of each of N sequences."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))


@dataclass(frozen=True)
class Latent(RL2):
    """Meta-learning by variational inference of the regime. Further attributes are those of `RL2`.

    Attributes
    ----------
    policy : Shape
        Its memory must be ``belief``.
    weight : float
        w, the weight of the evidence lower bound relative to utility per bar.
    """

    policy: Any = field(default_factory=lambda: PolicySettings(memory="belief"))
    weight: Annotated[float, Range(1e-3, 0.1, log=True)] = 0.01
    name: str = "latent"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.policy.memory != "belief":
            raise InputError(
                f"the latent learner needs the memory 'belief', not {self.policy.memory!r}; set memory='belief'"
            )

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> Inferring:
        return Inferring(policy, sampler, self.weight)

    def deploy(
        self, trained: Algorithm, selected: Algorithm, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> BeliefPolicy:
        assert isinstance(trained, Inferring)
        return BeliefPolicy(
            self.name, trained.policy, self.deployed or self.context, self.objective, seen_until, history
        )
