"""Group lasso: its gradient is that of the paper's formula, and neurons become small as a whole."""

import copy

import pytest
import torch
from torch import nn

import nbopt
from nbopt.testing import check_run

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3))


def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(24) % 3
    return torch.randn(24, 1, 6, 6, generator=generator) + y.view(-1, 1, 1, 1), y


def penalty(model, of):
    """Return the sum of the norms of groups, as the paper writes it for each layer."""
    conv, linear = model[0].weight, model[4].weight
    if of == "neurons":
        return sum(conv[n].pow(2).sum().sqrt() for n in range(4)) + sum(linear[n].pow(2).sum().sqrt() for n in range(3))
    return sum(conv[:, c].pow(2).sum().sqrt() for c in range(1)) + sum(
        linear[:, c].pow(2).sum().sqrt() for c in range(64)
    )


@pytest.mark.parametrize("of", ["neurons", "inputs"])
def test_steps_descend_on_the_papers_formula(of):
    model = net()
    plain = copy.deepcopy(model)
    settings = {"optimizer": "sgd", "lr": 0.1, "batch_size": 24, "store": None, "epochs": 9}
    run = nbopt.Run(model, data(), group_lasso=0.03, group_lasso_of=of, **settings)
    x, y = run.training.cursor.peek()
    run.step(1)
    loss = nn.functional.cross_entropy(plain(x), y)
    shown = float(loss.detach())
    (loss + 0.03 * penalty(plain, of)).backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad, rtol=1e-5, atol=1e-7)
    run.training.flush()
    assert run.history["loss"][1][0] == pytest.approx(shown, rel=1e-6)


def test_a_group_at_zero_stays_there_and_strength_is_live():
    model = net()
    with torch.no_grad():
        model[4].weight.zero_()
    run = nbopt.Run(model, data(), optimizer="sgd", lr=0.1, batch_size=8, store=None, epochs=40, group_lasso=0.1)
    run.step(3)
    assert all(weight.isfinite().all() for weight in model.parameters())
    before = float(penalty(model, "neurons").detach())
    run.set(group_lasso=1.0)
    run.step(30)
    assert float(penalty(model, "neurons").detach()) < before / 2


def test_it_is_repeated_rewound_stored_and_exported():
    settings = {"group_lasso": 0.05, "group_lasso_of": "inputs", "sparsity": 0.3, "sparsity_pattern": "neurons"}
    check_run(net, data(), {"group_lasso": 0.2, "group_lasso_of": "neurons"}, **settings)
