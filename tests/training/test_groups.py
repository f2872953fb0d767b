"""Parameter groups and step hooks through swaps of the optimizer, and what optimizers keep in their groups."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbopt
from nbopt.errors import InvalidHyperparam

BATCH = 10


def in_order(data):
    return DataLoader(TensorDataset(*data), batch_size=BATCH)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def group(model, **first):
    """Return two groups: weights, with what is given, and biases."""
    weights = [weight for weight in model.parameters() if weight.ndim > 1]
    biases = [weight for weight in model.parameters() if weight.ndim < 2]
    return [{"params": weights, **first}, {"params": biases, "weight_decay": 0.0, "lr": 0.01}]


def step(model, optimizer, data, first, last):
    """Do the steps of a plain loop."""
    x, y = data
    for number in range(first, last):
        at = number * BATCH % len(x)
        optimizer.zero_grad()
        functional.cross_entropy(model(x[at : at + BATCH]), y[at : at + BATCH]).backward()
        optimizer.step()


def test_gradients_of_groups_are_clipped_in_the_models_order(make_run, blobs):
    """The length of a gradient is a sum, and sums depend on their order: a plain loop clips model.parameters()."""

    def make():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 33), nn.LayerNorm(33), nn.Tanh(), nn.Linear(33, 17), nn.Linear(17, 3))

    model, right = make(), make()
    optimizer = torch.optim.AdamW(group(right, weight_decay=0.1), lr=0.05)
    for number in range(12):
        x, y = (column[number % 6 * BATCH :][:BATCH] for column in blobs)
        optimizer.zero_grad()
        functional.cross_entropy(right(x), y).backward()
        nn.utils.clip_grad_norm_(right.parameters(), 0.1)
        optimizer.step()
    initial = copy.deepcopy(model)
    given = torch.optim.AdamW(group(model, weight_decay=0.1), lr=0.05)
    run = make_run(model, in_order(blobs), optimizer=given, clip_norm=0.1, epochs=2).fit()
    assert same(model, right)
    names = {}
    exec(run.to_python(), names)
    names["train"](initial, in_order(blobs))
    assert same(initial, right)


def test_groups_survive_a_swap_and_come_back(make_run, mlp, blobs):
    model, right = mlp(), mlp()
    given = torch.optim.AdamW(group(model, weight_decay=0.1), lr=0.05, betas=(0.8, 0.95), eps=1e-3, fused=True)
    run = make_run(model, in_order(blobs), optimizer=given, epochs=99)
    run.step(4)
    run.set(optimizer="sgd", momentum=0.5)
    run.step(4)
    run.set(optimizer="adamw")
    run.step(4)
    assert run.optimizer is given
    first = torch.optim.AdamW(group(right, weight_decay=0.1), lr=0.05, betas=(0.8, 0.95), eps=1e-3, fused=True)
    step(right, first, blobs, 0, 4)
    step(right, torch.optim.SGD(group(right, weight_decay=0.1), lr=0.05, momentum=0.5), blobs, 4, 8)
    again = torch.optim.AdamW(group(right, weight_decay=0.1), lr=0.05, betas=(0.8, 0.95), eps=1e-3, fused=True)
    step(right, again, blobs, 8, 12)
    assert same(model, right)
    twins = [run.replay(), run.branch(6), run.branch(2)]
    twins[0].wait()
    assert same(twins[0].model, right)
    twins[1].step(2)
    twins[1].set(optimizer="adamw")
    twins[1].step(4)
    assert same(twins[1].model, right)
    twins[2].step(2)
    twins[2].set(optimizer="sgd", momentum=0.5)
    twins[2].step(1)
    values = [[each[key] for each in twins[2].optimizer.param_groups] for key in ("lr", "weight_decay")]
    assert values == [[0.05, 0.01], [0.1, 0.0]]


@pytest.mark.parametrize("swap", ["sgd", "adam", "rmsprop", "adagrad"])
def test_decay_never_lands_on_a_group_that_had_none(make_run, mlp, blobs, swap):
    model = mlp()
    run = make_run(model, blobs, optimizer=torch.optim.AdamW(group(model, weight_decay=0.1), lr=0.05), epochs=99)

    def decays():
        return [each["weight_decay"] for each in run.optimizer.param_groups]

    run.step(1)
    run.set(weight_decay=0.0)
    run.set(optimizer=swap)
    assert decays() == [0.0, 0.0]
    run.set(weight_decay=0.4)
    assert decays() == [0.4, 0.0]
    run.set(optimizer="adamw")
    assert decays() == [0.4, 0.0]
    run.set(weight_decay=0.1)
    assert decays() == [0.1, 0.0]


def test_decay_that_no_group_had_acts_on_all_of_them_and_that_is_said(make_run, mlp, blobs):
    model = mlp()
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[3].parameters()}]
    run = make_run(model, blobs, optimizer=torch.optim.Adam(groups, lr=0.1), epochs=99)
    run.step(1)
    run.set(weight_decay=0.2)
    assert [each["weight_decay"] for each in run.optimizer.param_groups] == [0.2, 0.2]
    assert "all 2 parameter groups" in run.journal[-1].new


def test_marks_and_settings_of_groups_go_over(make_run, mlp, blobs):
    model = mlp()
    groups = [
        {"params": model[0].parameters(), "name": "body", "betas": (0.5, 0.9), "eps": 1e-2},
        {"params": model[3].parameters(), "name": "head"},
    ]
    run = make_run(model, blobs, optimizer=torch.optim.AdamW(groups, lr=0.1), epochs=99)
    run.set(optimizer="adam")
    run.step(1)
    first, second = run.optimizer.param_groups
    assert (first["name"], first["betas"], first["eps"]) == ("body", (0.5, 0.9), 1e-2)
    assert (second["name"], second["betas"], second["eps"]) == ("head", (0.9, 0.999), 1e-8)


def test_what_knows_no_groups_is_refused_where_they_differ(make_run, mlp, blobs):
    model = mlp()
    run = make_run(model, blobs, optimizer=torch.optim.SGD(group(model), lr=0.1), epochs=99)
    for name in ("lbfgs", "newton"):
        with pytest.raises(InvalidHyperparam, match="parameter groups given have different ones"):
            run.set(optimizer=name)
        assert name not in run.hyperparams.spec("optimizer").options
    equal = [{"params": model[0].parameters()}, {"params": model[3].parameters()}]
    run = make_run(model, blobs, optimizer=torch.optim.SGD(equal, lr=0.1), epochs=99)
    run.set(optimizer="lbfgs")
    run.step(2)
    assert len(run.optimizer.param_groups) == 1
    run.set(optimizer="sgd")
    assert len(run.optimizer.param_groups) == 2


def test_step_hooks_survive_swaps_branches_and_rewinds(make_run, mlp, blobs):
    model, seen = mlp(), []
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(lambda o, a, k: seen.append(("before", type(o).__name__)))
    handle = optimizer.register_step_post_hook(lambda o, a, k: seen.append(("after", type(o).__name__)))
    run = make_run(model, blobs, optimizer=optimizer, epochs=99)
    for name in ("adam", "sgd", "adam"):
        run.set(optimizer=name)
        run.step(1)
    names = ["Adam", "SGD", "Adam"]
    assert seen == [(when, name) for name in names for when in ("before", "after")]
    twin = run.branch(3)
    seen.clear()
    twin.step(1)
    assert [name for _when, name in seen] == ["Adam", "Adam"]
    run.rewind(1)
    seen.clear()
    run.set(optimizer="sgd")
    handle.remove()
    run.step(1)
    assert seen == [("before", "SGD")]


def test_hooks_registered_while_another_one_is_at_work_stay_too(make_run, mlp, blobs):
    seen = []
    run = make_run(mlp(), blobs, optimizer="adam", epochs=99)
    run.step(1)
    run.optimizer.register_step_post_hook(lambda o, a, k: seen.append(type(o).__name__))
    run.set(optimizer="sgd")
    run.step(1)
    assert seen == ["SGD"]


# -- what optimizers keep where torch's own do not


class Counting(torch.optim.Optimizer):
    """It counts in its groups, as Prodigy and schedule-free optimizers do, in itself, and beside its weights."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr, "k": 0, "size": torch.tensor(1.0)})
        self.calls = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.calls += 1
        self.state["shared"] = {"sum": self.state["shared"].get("sum", 0.0) + 1.0, "word": "sum"}
        for each in self.param_groups:
            each["k"] += 1
            each["size"] = each["size"] * 0.9
            for weight in each["params"]:
                own = self.state[weight]
                own["seen"] = own.get("seen", torch.zeros((), dtype=torch.int64)) + 1
                own["nested"] = {"pair": (weight.grad.clone(), [self.calls, None])}
                rate = each["lr"] * each["size"] / (each["k"] + self.calls + self.state["shared"]["sum"])
                weight -= rate * weight.grad / own["seen"]


def sparse_net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Embedding(12, 4, sparse=True), nn.Flatten(), nn.Linear(12, 3))


WORDS = (torch.arange(60 * 3).reshape(60, 3) * 7 % 12, torch.arange(60) % 3)


ODD = {
    "counters": (lambda model: Counting(model.parameters()), "blobs"),
    "sparse gradients, SGD": (lambda model: torch.optim.SGD(model.parameters(), lr=0.1), "words"),
    "sparse gradients, SparseAdam": (lambda model: torch.optim.SparseAdam(model[0].parameters(), lr=0.1), "words"),
    "closures": (lambda model: torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=3), "blobs"),
    "rows and columns": (lambda model: torch.optim.Adafactor(model.parameters(), lr=0.1), "blobs"),
    "tensors as rates": (lambda model: torch.optim.Adam(model.parameters(), lr=torch.tensor(0.1)), "blobs"),
}


@pytest.mark.parametrize("kind", ODD)
def test_whatever_it_keeps_is_there_after_a_way_back(make_run, mlp, blobs, kind, tmp_path):
    make, data = ODD[kind]
    model, train = (mlp(), blobs) if data == "blobs" else (sparse_net(), WORDS)
    run = make_run(model, in_order(train), optimizer=make(model), epochs=99, store=tmp_path)
    run.step(7)
    run.stop()
    right = copy.deepcopy(model)
    run.rewind(4)
    run.step(3)
    assert same(model, right)
    run.step(3)
    right = copy.deepcopy(model)
    twin = run.branch(5)
    twin.step(5)
    assert same(twin.model, right)
    run.stop()
    given = mlp() if data == "blobs" else sparse_net()
    again = nbopt.open(run.id, given, in_order(train), optimizer=make(given), store=tmp_path)
    assert same(given, right)
    for each in (run, again):
        each.step(3)
    assert same(given, model)


def test_sparse_gradients_train_as_in_a_plain_loop(make_run):
    model, right = sparse_net(), sparse_net()
    run = make_run(model, in_order(WORDS), optimizer="sgd", lr=0.1, epochs=99)
    run.step(8)
    step(right, torch.optim.SGD(right.parameters(), lr=0.1), WORDS, 0, 8)
    assert same(model, right)


def test_a_script_swaps_an_instance_in_again_as_it_was_given(make_run, mlp, blobs):
    model, initial = mlp(), mlp()
    given = torch.optim.AdamW(model.parameters(), lr=0.05, eps=1e-3, fused=True)
    run = make_run(model, blobs, optimizer=given, batch_size=20, epochs=4)
    for name in ("adamw", "sgd", "adamw"):
        run.set(optimizer=name)
        run.step(4)
    space = {}
    exec(run.to_python(), space)
    space["train"](initial, blobs)
    assert same(model, initial)
