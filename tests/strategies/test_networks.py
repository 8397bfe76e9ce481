import pytest
import torch

from markets import InputError
from strategies.networks import Body, Shape


@pytest.mark.parametrize("memory", ["gru", "belief", "transformer", "none"])
@pytest.mark.parametrize("layers", [0, 2])
def test_a_state_goes_on_from_where_it_was(memory, layers):
    torch.manual_seed(0)
    head = "plain" if memory == "none" else "hyper"
    body = Body(3, 2, Shape(memory=memory, hidden=8, layers=layers, head=head, activation="relu"), spread=0.5)
    x = torch.randn(4, 7, 3)
    whole, _ = body(x)
    first, state = body(x[:, :3])
    assert state is None or len(state) == 4  # sequences first
    second, _ = body(x[:, 3:], state=state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-5, atol=1e-5)


def test_without_layers_the_output_reads_its_input_directly():
    torch.manual_seed(0)
    body = Body(3, 2, Shape(memory="none", layers=0, head="film"), start=torch.tensor([1.0, 2.0]), spread=0.5)
    x = torch.randn(4, 7, 3)
    torch.testing.assert_close(body(x)[0], x @ body.last.weight.T + body.last.bias)


def test_an_unknown_activation_is_named():
    with pytest.raises(InputError, match="activation 'sine' is unknown; use tanh, relu"):
        Shape(activation="sine")
