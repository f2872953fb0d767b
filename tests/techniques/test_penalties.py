import pytest
import torch
from torch import nn

from nbopt.hyperparams import Hyperparams
from nbopt.techniques.regularization.penalties import L1


def bound(model, value):
    part, hyperparams = L1(), Hyperparams()
    part.weights = [p for p in model.parameters() if p.requires_grad]
    hyperparams.declare(L1)
    hyperparams.assign("l1", value)
    hyperparams.bind(part)
    return part


@pytest.mark.parametrize("strength", [1e-3, 0.5])
def test_the_gradient_is_that_of_the_penalty_written_out(strength):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Conv1d(1, 2, 1))
    with torch.no_grad():
        model[0].weight[0] = 0.0
    x = torch.randn(5, 3)

    def data_loss():
        return model[1](model[0](x)).square().mean() + model[2](x[:, None]).square().mean()

    data_loss().backward()
    bound(model, strength).after_gradients()
    ours = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    (data_loss() + strength * (model[0].weight.abs().sum() + model[2].weight.abs().sum())).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad)


def test_weights_without_a_gradient_are_left_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 4))
    model[1].requires_grad_(False)
    part = bound(model, 0.5)
    part.after_gradients()
    assert model[0].weight.grad is None
    model[0](torch.ones(1, 3)).sum().backward()
    part.after_gradients()
    assert model[1].weight.grad is None


def test_it_drives_useless_weights_to_zero():
    # For loss (w - a)^2 / 2 + l1 |w| the minimum is a shrunk by l1 (soft thresholding).
    model = nn.Linear(2, 1, bias=False)
    wanted = torch.tensor([[2.0, 0.3]])
    part = bound(model, 0.5)
    for _ in range(2000):
        model.weight.grad = model.weight.detach() - wanted
        part.after_gradients()
        with torch.no_grad():
            model.weight -= 0.01 * model.weight.grad
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[1.5, 0.0]]), atol=0.011, rtol=0)
