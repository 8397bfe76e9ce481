import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import InputError
from strategies.networks import HEADS, MEMORIES, Body, Shape, call, named_params, stack, stacked_names


def body(memory="gru", head="plain", seed=0, std=0.4, **options):
    """A small network with non-zero random weights."""
    torch.manual_seed(seed)
    built = Body(3, 2, Shape(memory, 4, head=head, latent=2, **options))
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return built


combinations = [(m, h) for m in MEMORIES for h in HEADS if (m, h) != ("none", "hyper")]


@pytest.mark.parametrize(("memory", "head"), combinations)
@given(seed=st.integers(0, 2**31), cut=st.integers(1, 11))
@settings(max_examples=8)
def test_a_step_sees_nothing_later_and_may_be_taken_alone(memory, head, seed, cut):
    """Outputs agree for a path run at once, in two parts with the state passed on, and for its first part only."""
    built, x = (
        body(memory, head, context_vector=2),
        torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(seed)),
    )
    whole, _ = built(x)
    first, state = built(x[:, :cut])
    second, _ = built(x[:, cut:], state=state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(built(x, last=3)[0], whole[:, -3:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_modulation_starts_from_its_bias_alone(head):
    torch.manual_seed(1)
    built, x = Body(3, 2, Shape("gru", 4, head=head), torch.tensor([0.5, -1.0])), torch.randn(1, 5, 3)
    out, _ = built(x)
    torch.testing.assert_close(out, torch.tensor([0.5, -1.0]).expand(1, 5, 2))


def test_a_belief_is_a_mean_and_a_standard_deviation():
    built = body("belief")
    remembered, _ = built.memory(torch.randn(2, 6, 3), None)
    assert remembered.shape == (2, 6, 4)
    assert (remembered[..., 2:] > 0).all()


@pytest.mark.parametrize("memory", ["none", "gru", "transformer"])
def test_stacked_parameters_are_each_tasks_own(memory):
    """Agrees with `functional_call` task by task; the gradient of one task does not involve the others' parameters."""
    built, x = body(memory, context_vector=2), torch.randn(3, 1, 5, 3)

    class PerTask(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = built

        def forward(self, x):
            return self.body(x.flatten(0, 1))[0].unflatten(0, x.shape[:2]), None

    module = PerTask()
    names = ["body.last.weight", "body.context_vector"]
    params = stack(named_params(module), names, 3)
    params = {
        n: p + 0.1 * torch.arange(3.0).reshape(3, *[1] * (p.ndim - 1)) if n in names else p for n, p in params.items()
    }
    assert sorted(stacked_names(module, params)) == sorted(names)
    found, nothing = call(module, params, x)
    assert nothing is None
    for i in range(3):
        alone = torch.func.functional_call(
            module, {n: p[i] if n in names else p for n, p in params.items()}, (x[i : i + 1],)
        )
        torch.testing.assert_close(found[i : i + 1], alone[0], atol=1e-6, rtol=1e-5)
    gradient = torch.autograd.grad(found[1].sum(), params["body.last.weight"])[0]
    assert gradient[1].abs().sum() > 0
    assert gradient[[0, 2]].abs().sum() == 0


def test_truncation_stops_the_gradient_at_the_border():
    built, x = body("gru"), torch.randn(1, 10, 3, requires_grad=True)
    out, _ = built(x, truncate=5)
    torch.testing.assert_close(out, built(x)[0])
    reached = torch.autograd.grad(out[0, -1].sum(), x)[0][0].abs().sum(1)
    np.testing.assert_array_equal(reached > 0, [False] * 5 + [True] * 5)


def test_without_layers_the_output_reads_its_input_directly():
    built, x = body("none", layers=0), torch.randn(4, 7, 3)
    torch.testing.assert_close(built(x)[0], x @ built.last.weight.T + built.last.bias)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": "lstm"}, "memory 'lstm' is unknown"),
        ({"head": "tail"}, "head 'tail' is unknown"),
        ({"hidden": 0}, "hidden is 0"),
        ({"activation": "sine"}, "activation 'sine' is unknown; use tanh, relu"),
        ({"memory": "none", "head": "hyper"}, "written by a memory"),
        ({"memory": "transformer", "hidden": 6}, "multiple of 4"),
    ],
)
def test_shapes_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        Shape(**options)


@pytest.mark.parametrize("memory", ["gru", "transformer", "belief"])
def test_regression_a_memory_is_the_same_when_deployed(memory):
    """In evaluation without gradients, torch's fast path masked all positions that had a distance penalty."""
    torch.manual_seed(0)
    body = Body(3, 2, Shape(memory=memory, hidden=8), initial_std=1.0)
    x = torch.randn(4, 30, 3)
    trained, _ = body(x)
    with torch.no_grad():
        deployed, _ = body.eval()(x)
    torch.testing.assert_close(deployed, trained.detach(), rtol=1e-5, atol=1e-6)
