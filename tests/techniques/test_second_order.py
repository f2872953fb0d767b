"""Steps on all samples: against torch's own L-BFGS, and against the minimum in closed form."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from nbopt import Run
from nbopt.techniques.optimizers.second_order import solve

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 3, generator=generator)
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.1 * torch.randn(30, 1, generator=generator)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))


def make(model, data, **settings):
    return Run(model, data, loss="mse", store=None, recover=False, **{"batch_size": 7, "epochs": 50, **settings})


@pytest.mark.parametrize("search", [True, False])
def test_lbfgs_is_torch_s(search, net, data):
    twin = copy.deepcopy(net)
    run = make(net, data, optimizer="lbfgs", lr=0.5, max_iter=3, history_size=4, line_search=search, weight_decay=0.01)
    name = "strong_wolfe" if search else None
    plain = torch.optim.LBFGS(twin.parameters(), 0.5, max_iter=3, max_eval=75, history_size=4, line_search_fn=name)

    def closure():
        plain.zero_grad()
        loss = nn.functional.mse_loss(twin(data[0]), data[1])
        loss = loss + 0.005 * sum(weight.square().sum() for weight in twin.parameters())
        loss.backward()
        return loss

    for _step in range(6):
        run.step(1)
        plain.step(closure)
        for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)  # it sums the samples in another order


OWN = {
    "evaluations": {"lr": 0.5, "max_iter": 3, "max_eval": 5},
    "search": {"lr": 0.5, "line_search_fn": "strong_wolfe"},
    "tolerance": {"lr": 0.1, "max_iter": 10, "history_size": 3, "tolerance_grad": 1e-2},
}


class InTurn(IterableDataset):
    def __init__(self, data):
        self.data = data

    def __iter__(self):
        yield from zip(*self.data, strict=True)


@pytest.mark.parametrize("kind", [TensorDataset, InTurn])
@pytest.mark.parametrize("settings", OWN)
def test_an_lbfgs_of_the_users_steps_on_each_batch_as_in_a_plain_loop(settings, kind, net, data):
    twin = copy.deepcopy(net)
    samples = TensorDataset(*data) if kind is TensorDataset else InTurn(data)
    loader = DataLoader(samples, batch_size=10)
    run = Run(
        net,
        loader,
        loss="mse",
        store=None,
        recover=False,
        optimizer=torch.optim.LBFGS(net.parameters(), **OWN[settings]),
        epochs=4,
    ).fit()
    plain = torch.optim.LBFGS(twin.parameters(), **OWN[settings])
    for _epoch in range(4):
        for x, y in loader:

            def closure(x=x, y=y):
                plain.zero_grad()
                loss = nn.functional.mse_loss(twin(x), y)
                loss.backward()
                return loss

            plain.step(closure)
    assert run.step_count == 12
    again = run.replay()
    again.wait()
    for model in (net, again.model):
        assert all(map(torch.equal, model.parameters(), twin.parameters()))


def test_evaluations_of_the_users_lbfgs_follow_its_iterations(net, data):
    own = torch.optim.LBFGS(net.parameters(), max_iter=4, max_eval=6)
    run = make(net, data, optimizer=own)
    run.set(max_iter=8)
    run.step(1)
    assert (own.param_groups[0]["max_iter"], own.param_groups[0]["max_eval"]) == (8, 12)
    run.set(optimizer="adam")
    run.set(optimizer="lbfgs", max_iter=4)
    run.step(1)
    assert run.optimizer is own
    assert own.param_groups[0]["max_eval"] == 6


def test_a_full_step_is_an_epoch(net, data):
    run = make(net, data, optimizer="lbfgs", epochs=3).fit()
    assert (run.step_count, run.epoch) == (3, 3)


def test_swapped_in_it_takes_the_rest_of_the_epoch(net, data):
    run = make(net, data, optimizer="adam")
    run.step(2)
    run.set(optimizer="newton")
    run.step(1)
    assert (run.epoch, run.training.cursor.position) == (1, 0)
    assert "each step takes all samples" in next(entry.new for entry in run.journal if entry.name == "carried")
    run.set(optimizer="sgd")
    run.step(1)
    assert run.training.cursor.position == 7


def test_newton_is_in_the_minimum_of_a_quadratic_after_one_step(data):
    x, y = data
    run = make(nn.Linear(3, 1, bias=False), data, optimizer="newton", lr=1.0, damping=0.0, weight_decay=0.1)
    run.step(1)
    # the minimum of mean (x w - y)^2 + 0.05 |w|^2
    expected = torch.linalg.solve(2 / 30 * x.T @ x + 0.1 * torch.eye(3), 2 / 30 * x.T @ y)
    torch.testing.assert_close(run.model.weight.detach(), expected.T, rtol=1e-4, atol=1e-5)


def test_newton_solves_with_the_exact_hessian(net, data):
    weights = torch.cat([weight.detach().flatten() for weight in net.parameters()])
    shapes = [weight.shape for weight in net.parameters()]

    def loss(flat):
        parts = flat.split([shape.numel() for shape in shapes])
        names = [name for name, _weight in net.named_parameters()]
        given = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return nn.functional.mse_loss(torch.func.functional_call(net, given, data[0]), data[1])

    hessian, slope = torch.func.hessian(loss)(weights), torch.func.grad(loss)(weights)
    expected = weights - 0.5 * torch.linalg.solve(hessian + 5.0 * torch.eye(len(weights)), slope)
    make(net, data, optimizer="newton", lr=0.5, damping=5.0, cg_iterations=50).step(1)
    after = torch.cat([weight.detach().flatten() for weight in net.parameters()])
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)


def test_in_micro_batches_a_full_step_is_the_same(net, data):
    for name in ("lbfgs", "newton"):
        models = [copy.deepcopy(net), copy.deepcopy(net)]
        for model, size in zip(models, (0, 8), strict=True):
            make(model, data, optimizer=name, lr=0.5, micro_batch=size).step(2)
        for first, second in zip(*(model.parameters() for model in models), strict=True):
            torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_conjugate_gradients_end_where_the_curvature_is_not_positive():
    right = [torch.tensor([1.0, 2.0])]
    assert solve(lambda d: [-d[0]], right, 5) is right
    matrix = torch.tensor([[3.0, 1.0], [1.0, 2.0]])
    torch.testing.assert_close(solve(lambda d: [matrix @ d[0]], right, 5)[0], torch.linalg.solve(matrix, right[0]))


def test_a_smaller_memory_acts_at_once(net, data):
    run = make(net, data, optimizer="lbfgs", lr=0.1, line_search=False, history_size=9)
    run.step(4)
    run.set(history_size=2)
    run.step(1)
    state = next(iter(run.optimizer.state.values()))
    assert len(state["old_dirs"]) == len(state["ro"]) == 2


class Endless(IterableDataset):
    def __iter__(self):
        return iter([(torch.zeros(3), torch.zeros(1))] * 20)


def test_a_stream_of_batches_is_refused(net):
    run = make(net, DataLoader(Endless(), batch_size=5), optimizer="lbfgs")
    with pytest.raises(ValueError, match="LBFGS: it takes all samples at once"):
        run.start()


# -- what a swap keeps


def test_from_adam_to_adamw_the_running_means_go_on(net, data):
    twin = copy.deepcopy(net)
    run = make(net, data, optimizer="adam", lr=0.01, batch_size=30)
    plain = torch.optim.Adam(twin.parameters(), lr=0.01, fused=True)
    for step in range(8):
        if step == 4:
            run.set(optimizer="adamw", weight_decay=0.1)
            plain.param_groups[0].update(weight_decay=0.1, decoupled_weight_decay=True)
        run.step(1)
        plain.zero_grad()
        nn.functional.mse_loss(twin(data[0]), data[1]).backward()
        plain.step()
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    carried = [entry.new for entry in run.journal if entry.name == "carried"]
    assert carried == ["kept: running mean of gradients, running mean of squared gradients, count of steps"]


def test_from_sgd_to_rmsprop_the_momentum_is_dropped_and_that_is_told(net, data):
    run = make(net, data, optimizer="sgd", momentum=0.9)
    run.step(2)
    run.set(optimizer="rmsprop")
    run.step(1)
    assert [entry.new for entry in run.journal if entry.name == "carried"] == ["dropped: momentum"]
