"""The network behind every policy, and its functional evaluation at given parameters.

`Body` is shared by the market policy and the actor–critic of other environments: a memory over time, a few dense layers,
and an optional modulation of the layers by the memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from markets import InputError
from markets.common.ranges import OneOf, Range

# Parameters by name. One with an extra leading dimension holds one value per task.
Parameters = Mapping[str, Tensor]
MEMORIES = ("gru", "transformer", "belief", "none")
HEADS = ("plain", "film", "hyper")
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


@dataclass(frozen=True)
class Shape:
    """Architecture of a `Body`.

    Attributes
    ----------
    memory : {"gru", "transformer", "belief", "none"}
        Recurrent part. ``belief`` is a GRU whose output is the mean and the standard deviation of a latent variable.
    hidden : int
        Units of the memory and of each hidden layer.
    layers : int
        Hidden layers between input and output. With 0 the output is linear in input and memory.
    head : {"plain", "film", "hyper"}
        How the memory modulates the layers, besides being one of their inputs. ``plain``: not at all. ``film``: it scales and
        shifts the units of the last hidden layer (Perez et al., "FiLM", AAAI 2018). ``hyper``: it generates weights of the
        output layer (Beck et al., "Hypernetworks in meta-reinforcement learning", CoRL 2022). Both start with zero weights,
        so that at first only their bias acts.
    context_vector : int
        Length of CAVIA's context vector, an extra input of the layers that the inner loop can adapt while the network stays
        fixed (Zintgraf et al., "Fast context adaptation via meta-learning", ICML 2019). It starts at zero; 0 is none.
    latent : int
        Dimensions of the latent variable of ``belief``.
    activation : {"tanh", "relu"}
        Activation of the hidden layers.

    Raises
    ------
    InputError
        When a value is unknown or out of range, or the parts do not fit together.
    """

    memory: Literal["gru", "transformer", "belief", "none"] = "gru"
    hidden: Annotated[int, OneOf((4, 8, 16, 32))] = 8
    layers: Annotated[int, Range(1, 2)] = 1
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
            raise InputError(
                "the weights of head 'hyper' are written by a memory; give the policy one, or use another head"
            )
        if self.memory == "transformer" and self.hidden % 4:
            raise InputError(f"hidden is {self.hidden}; a transformer's four heads need a multiple of 4")


class Body(nn.Module):
    """Network from sequences to outputs: ``layers(x, memory(x), context_vector)``, modulated by the memory.

    Parameters
    ----------
    inputs, outputs : int
        Numbers of input and output features.
    shape : Shape
        Architecture.
    start : Tensor of shape (outputs,), optional
        Initial bias of the output layer, hence the output before training; 0 by default.
    initial_std : float
        Standard deviation of the output layer's initial weights. With 0, the output before training is exactly `start`.
    """

    def __init__(self, inputs: int, outputs: int, shape: Shape, start: Tensor | None = None, initial_std: float = 0.0):
        super().__init__()
        self.shape = shape
        hidden = shape.hidden
        kinds = {"gru": _Recurrent, "transformer": _Transformer, "belief": _Belief, "none": _Nothing}
        self.memory: nn.Module = kinds[shape.memory](inputs, shape)
        remembered: int = self.memory.width  # type: ignore[assignment]
        self.context_vector = nn.Parameter(torch.zeros(shape.context_vector)) if shape.context_vector else None
        # The layers also read the current input, not only the memory's output.
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
            Return only this many last steps. The memory still runs over all of them.
        state : optional
            State returned by the call for the preceding steps.
        truncate : int
            Length in steps of truncated backpropagation through time: no gradient flows through the memory across multiples
            of it. 0 is no truncation.

        Returns
        -------
        outputs : Tensor of shape (N, T or last, outputs)
        state : Tensor of shape (N, ..., ...) or None
            State after the last step, to pass to the next call.
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
    """A linear map with weights and bias initialised to zero; without inputs (no memory) it is the bias alone."""

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
    """Run `gru` over sequences, with the batch as the first dimension of its state."""
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
    """A Gaussian belief over a latent variable, computed by a GRU; the output is its means and standard deviations."""

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
    """One causal attention layer with four heads. Its state is the sequence of all inputs so far."""

    def __init__(self, inputs: int, shape: Shape):
        super().__init__()
        self.width = shape.hidden
        self.embed = nn.Linear(inputs, shape.hidden)
        # Pass `torch.relu`, not "relu": with the string, torch uses a fast path in evaluation mode that treats the additive
        # mask as a boolean one and masks every position with a penalty.
        self.layer = nn.TransformerEncoderLayer(
            shape.hidden, 4, 2 * shape.hidden, dropout=0.0, batch_first=True, norm_first=True, activation=torch.relu
        )

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        new = x.shape[1]
        past = x if state is None else torch.cat([state, x], 1)
        bars = past.shape[1]
        # Positions enter by a linear penalty on distance, with one slope per head (ALiBi: Press, Smith and Lewis, ICLR 2022),
        # so that the result does not depend on the absolute position at which the sequence starts.
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
    """Evaluate `module` at `params`, with separate parameters per task where these are stacked.

    Parameters
    ----------
    module : Module
        Takes tensors whose first dimension is the task.
    params : Parameters
        A parameter with one more dimension than the module's own holds one value per task. If there are any, a module with a
        memory is evaluated task by task, others in one batch (`torch.func.vmap`).
    inputs : Tensor of shape (tasks, ...) or None
        Positional arguments of the module.
    options
        Keyword arguments, passed on unchanged.

    Returns
    -------
    Any
        The module's output, with the tasks concatenated along the first dimension.
    """
    stacked = stacked_names(module, params)
    if not stacked:
        return functional_call(module, dict(params), inputs, options)
    remembers = any(isinstance(part, nn.GRU | nn.TransformerEncoderLayer) for part in module.modules())
    if len(params[stacked[0]]) == 1 or remembers:
        return _one_by_one(module, params, stacked, inputs, options)
    return _in_one_batch(module, params, stacked, inputs, options)


def _one_task(module: nn.Module, params: Parameters, inputs: Sequence[Tensor | None], options: dict[str, Any]) -> Any:
    """`module` on one task, given inputs without the task dimension."""
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
    # vmap can return tensors only. Run one task first to find which outputs are None, and leave those out of vmap.
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
    """Names of the parameters that hold one value per task."""
    return [name for name, p in module.named_parameters() if params[name].ndim > p.ndim]


def stack(params: Parameters, names: Sequence[str], tasks: int) -> dict[str, Tensor]:
    """`params`, with those in `names` expanded to one copy per task."""
    return {name: p.expand(tasks, *p.shape) if name in names else p for name, p in params.items()}
