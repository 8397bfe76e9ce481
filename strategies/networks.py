"""The network that every policy is made of, and its evaluation at parameters that are not its own.

One `Body` serves the market policy and the actors of other environments: something remembers, a few layers decide, and what
is remembered may modulate how they decide.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from markets import InputError

# By name; those with one more dimension than the module's own hold one value a task.
Parameters = Mapping[str, Tensor]
MEMORIES = ("gru", "transformer", "belief", "none")
HEADS = ("plain", "film", "hyper")
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


@dataclass(frozen=True)
class Shape:
    """What a `Body` is made of.

    Attributes
    ----------
    memory : {"gru", "transformer", "belief", "none"}
        What runs over time. ``belief`` is the mean and the standard deviation of a latent variable inferred by a GRU.
    hidden : int
        Units of the memory and of each layer.
    layers : int
        Layers between the input and the output; with 0 the output reads input and memory directly.
    head : {"plain", "film", "hyper"}
        How the memory acts on the layers besides being fed to them: not at all, by scaling and shifting the last one's
        units (Perez et al., "FiLM", AAAI 2018), or by writing the output's weights (Beck et al., "Hypernetworks in
        meta-reinforcement learning", CoRL 2022). Both start from their bias alone.
    context_vector : int
        Length of a vector fed to the layers that is all a fast learner need change (Zintgraf et al., "Fast context adaptation
        via meta-learning", ICML 2019); it starts at zero.
    latent : int
        Dimensions of the belief.
    activation : {"tanh", "relu"}
        Of the layers.
    """

    memory: Literal["gru", "transformer", "belief", "none"] = "gru"
    hidden: int = 8
    layers: int = 1
    head: Literal["plain", "film", "hyper"] = "plain"
    context_vector: int = 0
    latent: int = 4
    activation: Literal["tanh", "relu"] = "tanh"

    def __post_init__(self) -> None:
        if self.memory not in MEMORIES:
            raise InputError(f"memory {self.memory!r} is unknown; use {', '.join(MEMORIES)}")
        if self.head not in HEADS:
            raise InputError(f"head {self.head!r} is unknown; use {', '.join(HEADS)}")
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation {self.activation!r} is unknown; use {', '.join(ACTIVATIONS)}")
        for name, least in (("hidden", 1), ("layers", 0), ("context_vector", 0), ("latent", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.head == "hyper" and self.memory == "none":
            raise InputError("head 'hyper' is written by a memory; give the policy one, or use another head")
        if self.memory == "transformer" and self.hidden % 4:
            raise InputError(f"hidden is {self.hidden}; a transformer's four heads need a multiple of 4")


class Body(nn.Module):
    """From sequences to outputs: ``layers(x, memory(x), context_vector)``, modulated by the memory.

    Parameters
    ----------
    inputs, outputs : int
    shape : Shape
    start : Tensor of shape (outputs,), optional
        What comes out before any training; 0 by default.
    initial_std : float
        Standard deviation of the output's first weights: 0 where the start must be exact.
    """

    def __init__(self, inputs: int, outputs: int, shape: Shape, start: Tensor | None = None, initial_std: float = 0.0):
        super().__init__()
        self.shape = shape
        hidden = shape.hidden
        kinds = {"gru": _Recurrent, "transformer": _Transformer, "belief": _Belief, "none": _Nothing}
        self.memory: nn.Module = kinds[shape.memory](inputs, shape)
        remembered: int = self.memory.width  # type: ignore[assignment]
        self.context_vector = nn.Parameter(torch.zeros(shape.context_vector)) if shape.context_vector else None
        # The layers see the current input too, not only what the memory made of it.
        widths = [inputs + remembered + shape.context_vector, *[hidden] * shape.layers]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.film = _Modulation(remembered, 2 * widths[-1]) if shape.head == "film" else None
        self.hyper = _Modulation(remembered, widths[-1] * outputs) if shape.head == "hyper" else None
        self.last = nn.Linear(widths[-1], outputs)
        nn.init.normal_(self.last.weight, std=initial_std)
        self.last.bias.data = torch.zeros(outputs) if start is None else start.clone()

    def forward(self, x: Tensor, last: int | None = None, state: Any = None, truncate: int = 0) -> tuple[Tensor, Any]:
        """Outputs along N sequences.

        Parameters
        ----------
        x : Tensor of shape (N, T, inputs)
        last : int, optional
            Only this many last steps are wanted; memory runs over all.
        state : optional
            What `forward` returned for the steps before.
        truncate : int
            No gradient flows back through the memory over the borders of stretches of so many steps (truncated
            backpropagation through time); 0 is no truncation.

        Returns
        -------
        outputs : Tensor of shape (N, T or last, outputs)
        state : Tensor of shape (N, ..., ...) or None
            To go on from.
        """
        stretches = []
        for stretch in x.split(truncate or x.shape[1], 1):
            remembered, state = self.memory(stretch, state)
            stretches.append(remembered)
            state = state.detach() if truncate and state is not None else state
        remembered = torch.cat(stretches, 1)
        if last is not None:
            x, remembered = x[:, -last:], remembered[:, -last:]
        seen = [x, remembered]
        if self.context_vector is not None:
            seen.append(self.context_vector.expand(*x.shape[:-1], -1))
        h = torch.cat(seen, -1)
        for layer in self.layers:
            h = ACTIVATIONS[self.shape.activation](layer(h))
        if self.film is not None:
            scale, shift = self.film(remembered).chunk(2, -1)
            h = h * (1 + scale) + shift
        out = self.last(h)
        if self.hyper is not None:
            written = self.hyper(remembered).unflatten(-1, (self.last.out_features, self.last.in_features))
            out = out + (written @ h[..., None])[..., 0]
        return out, state


class _Modulation(nn.Module):
    """A linear map that starts as its bias, and the bias at zero; with no memory it is the bias."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs)) if inputs else None
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return self.bias.expand(*x.shape[:-1], -1)
        return nn.functional.linear(x, self.weight, self.bias)


class _Nothing(nn.Module):
    """No memory."""

    width = 0

    def __init__(self, inputs: int, shape: Shape):
        super().__init__()

    def forward(self, x: Tensor, state: None) -> tuple[Tensor, None]:
        return x[..., :0], None


def _over(gru: nn.GRU, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """`gru` over sequences; its state has them first, as everything else has."""
    h, state = gru(x, None if state is None else state.transpose(0, 1).contiguous())
    return h, state.transpose(0, 1)


class _Recurrent(nn.Module):
    def __init__(self, inputs: int, shape: Shape):
        super().__init__()
        self.gru = nn.GRU(inputs, shape.hidden, batch_first=True)
        self.width = shape.hidden

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        return _over(self.gru, x, state)


class _Belief(nn.Module):
    """A normal belief over a latent variable, from a GRU: its mean and its standard deviation are what is remembered."""

    def __init__(self, inputs: int, shape: Shape):
        super().__init__()
        self.gru = nn.GRU(inputs, shape.hidden, batch_first=True)
        self.posterior = nn.Linear(shape.hidden, 2 * shape.latent)
        self.width = 2 * shape.latent

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        h, state = _over(self.gru, x, state)
        mean, log_std = self.posterior(h).chunk(2, -1)
        return torch.cat([mean, log_std.clamp(-7, 3).exp()], -1), state


class _Transformer(nn.Module):
    """One causal layer of attention with four heads; its state is every input so far."""

    def __init__(self, inputs: int, shape: Shape):
        super().__init__()
        self.width = shape.hidden
        self.embed = nn.Linear(inputs, shape.hidden)
        # `torch.relu` is not "relu": with that, torch takes a fast path in evaluation, where a penalty hides what it is on
        self.layer = nn.TransformerEncoderLayer(
            shape.hidden, 4, 2 * shape.hidden, dropout=0.0, batch_first=True, norm_first=True, activation=torch.relu
        )

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        new = x.shape[1]
        past = x if state is None else torch.cat([state, x], 1)
        bars = past.shape[1]
        # Recency by a penalty on distance, a slope a head (ALiBi: Press, Smith and Lewis, ICLR 2022): a memory that
        # starts later sees what it sees at the same distance.
        at = torch.arange(bars, device=x.device)
        distance = (at[:, None] - at).to(x)
        slopes = torch.tensor([0.0, 2.0**-7, 2.0**-5, 2.0**-3]).to(x)
        mask = (-slopes[:, None, None] * distance).masked_fill(distance < 0, -torch.inf)
        attended = self.layer(self.embed(past), src_mask=mask.repeat(len(x), 1, 1))
        return attended[:, -new:], past


def named_params(module: nn.Module) -> dict[str, Tensor]:
    """The parameters of `module` by name."""
    return dict(module.named_parameters())


def call(module: nn.Module, params: Parameters, *inputs: Tensor | None, **options: Any) -> Any:
    """`module` at `params`; each task at its own where there is one value a task.

    Parameters
    ----------
    module : Module
        Takes tensors with tasks as the first dimension.
    params : Parameters
        Those with one more dimension than the module's own are stacked by task. A module with a memory is run
        task by task then; others in one batch (`torch.func.vmap`).
    inputs : Tensor of shape (tasks, ...) or None
    options
        Handed on as they are.
    """
    stacked = stacked_names(module, params)
    if not stacked:
        return functional_call(module, dict(params), inputs, options)
    remembers = any(isinstance(part, nn.GRU | nn.TransformerEncoderLayer) for part in module.modules())
    if len(params[stacked[0]]) == 1 or remembers:
        return _one_by_one(module, params, stacked, inputs, options)
    return _in_one_batch(module, params, stacked, inputs, options)


def _one_task(module: nn.Module, params: Parameters, inputs: Sequence[Tensor | None], options: dict[str, Any]) -> Any:
    """`module` on one task, whose inputs come without the dimension of tasks."""
    return functional_call(module, dict(params), tuple(None if x is None else x[None] for x in inputs), options)


def _one_by_one(
    module: nn.Module, params: Parameters, stacked: list[str], inputs: Sequence[Tensor | None], options: dict[str, Any]
) -> Any:
    tasks = len(params[stacked[0]])
    each = []
    for i in range(tasks):
        at = {name: p[i] if name in stacked else p for name, p in params.items()}
        each.append(_one_task(module, at, [None if x is None else x[i] for x in inputs], options))
    leaves, spec = zip(*(tree_flatten(found) for found in each), strict=True)
    joined = [None if same[0] is None else torch.cat(same) for same in zip(*leaves, strict=True)]
    return tree_unflatten(joined, spec[0])


def _in_one_batch(
    module: nn.Module, params: Parameters, stacked: list[str], inputs: Sequence[Tensor | None], options: dict[str, Any]
) -> Any:
    # vmap returns tensors only, so that what is None goes round it: what comes out is asked of one task first
    first = {name: p[0] if name in stacked else p for name, p in params.items()}
    with torch.no_grad():
        leaves, spec = tree_flatten(_one_task(module, first, [None if x is None else x[0] for x in inputs], options))
    absent = [leaf is None for leaf in leaves]

    def tensors(at: Parameters, *x: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(leaf for leaf in tree_flatten(_one_task(module, at, x, options))[0] if leaf is not None)

    dims = ({name: 0 if name in stacked else None for name in params}, *(None if x is None else 0 for x in inputs))
    found = iter(vmap(tensors, in_dims=dims)(dict(params), *inputs))
    return tree_unflatten([None if none else next(found).flatten(0, 1) for none in absent], spec)


def stacked_names(module: nn.Module, params: Parameters) -> list[str]:
    """Names of the parameters that hold one value a task."""
    return [name for name, p in module.named_parameters() if params[name].ndim > p.ndim]


def stack(params: Parameters, names: Sequence[str], tasks: int) -> dict[str, Tensor]:
    """`params` with one copy a task of those in `names`."""
    return {name: p.expand(tasks, *p.shape) if name in names else p for name, p in params.items()}
