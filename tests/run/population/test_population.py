"""Many runs that train as one, against the same runs one by one."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from tests.run.population.shared import SETTINGS, assert_same, convolutional, dense, digits, model_of

__all__ = ["digits"]

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Sequences(nn.Module):
    """Reads an image by two rows at a time, by a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(16, 6, batch_first=True), nn.Linear(6, 10)

    def forward(self, x):
        return self.head(self.gru(x.view(-1, 4, 16))[0][:, -1])


class Attends(nn.Module):
    """Attends to the rows of an image."""

    def __init__(self):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(8, 2, bias=False, batch_first=True), nn.Linear(8, 10)

    def forward(self, x):
        rows = x.view(-1, 8, 8)
        return self.head(self.attention(rows, rows, rows, need_weights=False)[0].mean(1))


class Waves(nn.Module):
    """Has complex weights."""

    def __init__(self):
        super().__init__()
        self.waves, self.head = nn.Parameter(torch.randn(64, 12, dtype=torch.complex64) / 8), nn.Linear(12, 10)

    def forward(self, x):
        return self.head((x.to(torch.complex64) @ self.waves).abs())


def plain():
    return nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [
        (dense, "adam"),
        (dense, "sgd"),
        (convolutional, "adamw"),
        (Sequences, "rmsprop"),
        (Attends, "sgd"),
        (Waves, "adam"),
    ],
)
def test_members_are_the_single_runs(digits, make, optimizer):
    given = {**SETTINGS, "optimizer": optimizer, "weight_decay": 1e-3, "metrics": ["accuracy"]}
    rates = nbopt.spread(1e-3, 3e-2, 3)
    population = nbopt.Population(model_of(make), digits, 0.2, lr=rates, **given).fit()
    assert population.tier == "all members at once"
    for member, lr in zip(population, rates, strict=True):
        run = nbopt.Run(model_of(make), digits, 0.2, lr=lr, store=None, **given)
        assert_same(member, run.fit())


def test_each_member_has_its_seed(digits):
    population = nbopt.Population(model_of(dense), digits, digits, seed=range(3), **SETTINGS).fit()
    for seed, member in enumerate(population):
        run = nbopt.Run(model_of(dense), digits, digits, seed=seed, store=None, **SETTINGS)
        assert_same(member, run.fit())
    assert len({member.history.last("val_loss") for member in population}) == 3
    assert population.tier == "all members at once"


def test_each_member_has_its_samples(digits):
    x, y = digits
    folds = [torch.arange(200) % 3 != fold for fold in range(3)]
    population = nbopt.Population(model_of(dense), digits, digits, samples=folds, lr=[0.01] * 3, **SETTINGS).fit()
    for member, fold in zip(population, folds, strict=True):
        run = nbopt.Run(model_of(dense), (x[fold], y[fold]), digits, lr=0.01, store=None, **SETTINGS)
        assert_same(member, run.fit())


@pytest.mark.parametrize("val", [0.2, None])
def test_members_of_different_seeds_see_the_same_batches(digits, val):
    """Those that the seed of the first one gives, also once another one was copied over it."""
    given = {**SETTINGS, "optimizer": "sgd", "lr": 0.1, "epochs": 9}
    population = nbopt.Population(model_of(plain), digits, val, seed=[4, 0, 1], same_batches=True, **given)
    population.step(9)
    population.clone(2, into=0)
    population.step(3)
    run = nbopt.Run(model_of(plain), digits, val, seed=4, store=None, **given)
    run.step(12)
    for member in population:
        assert_same(member, run)
    others = nbopt.Population(model_of(plain), digits, val, seed=[4, 0, 1], **given)
    others.step(3)
    assert len({member.history.last("loss") for member in others}) == 3


def test_a_run_of_one_that_saw_the_same_batches_goes_on_seeing_them(digits, tmp_path):
    """In copies of it, too, and opened again; its noise is its own."""
    given = {**SETTINGS, "optimizer": "sgd", "lr": 0.1, "epochs": 9}
    population = nbopt.Population(model_of(plain), digits, seed=[4, 0], same_batches=True, **given)
    population.step(3)
    run = population.run(1, store=tmp_path)
    run.step(2)
    branch, replay = run.branch(at=2), run.replay()
    replay.wait()
    branch.step(3)
    opened = nbopt.open(run.id, model_of(plain), digits, store=tmp_path)
    opened.step(2)
    population.step(2)
    assert_same(branch, population[1])
    assert_same(replay, population[1])
    population.step(2)
    assert_same(opened, population[1])


@pytest.mark.parametrize(("recover", "wild_rate"), [(True, 1e4), (False, 1e30)])
def test_the_guard_is_each_members_own(digits, recover, wild_rate):
    """A member whose loss explodes is sent back alone, or goes on as it was asked to; the others never know."""
    given = {**SETTINGS, "optimizer": "sgd", "tier": "eager"}
    population = nbopt.Population(
        model_of(plain), digits, 0.2, lr=[0.1, 0.1, wild_rate], recover=recover, **given
    ).fit()
    run = nbopt.Run(model_of(plain), digits, 0.2, lr=0.1, recover=recover, store=None, **given).fit()
    for member in population[:2]:
        assert_same(member, run)
        assert not [entry for entry in member.journal if entry.source == "guard"]
    wild = population[2]
    sound = all(bool(weight.isfinite().all()) for weight in wild.model.parameters())
    names = [entry.name for entry in wild.journal if entry.source == "guard"]
    if recover:
        assert sound and wild.hyperparams["lr"] < wild_rate and wild.step_count == run.step_count
        assert names[:3] == ["diverged", "rewind", "lr"]
        assert np.isfinite(wild.history["loss"][1]).all()
    else:
        assert not sound and not names
        assert population.best is not wild
    assert population.tier == "all members at once"


def test_the_model_given_stays_as_it_is(digits):
    model = model_of(dense)
    before = copy.deepcopy(model.state_dict())
    nbopt.Population(model, digits, lr=[0.1, 0.2], **SETTINGS).fit()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_values_go_together_or_are_combined(digits):
    made = nbopt.Population(model_of(dense), digits, lr=[0.1, 0.2], weight_decay=[0.0, 0.5], epochs=1)
    assert [(m.hyperparams["lr"], m.hyperparams["weight_decay"]) for m in made] == [(0.1, 0.0), (0.2, 0.5)]
    made = nbopt.Population(model_of(dense), digits, lr=[0.1, 0.2], seed=range(3), l1=0.1)
    assert [(m.hyperparams["lr"], m.seed) for m in made] == [(lr, seed) for lr in (0.1, 0.2) for seed in range(3)]
    assert len(nbopt.Population(model_of(dense), digits, lr=[0.1, 0.2], l1=[0, 1], combine=True)) == 4
    with pytest.raises(InvalidHyperparam, match="lengths differ"):
        nbopt.Population(model_of(dense), digits, lr=[0.1, 0.2], l1=[0, 1, 2], combine=False)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("batch_size", [16, 32]),
        ("optimizer", ["adam", "sgd"]),
        ("loss", ["cross_entropy", "focal"]),
        ("tier", ["eager", "auto"]),
    ],
)
def test_what_a_step_computes_is_one_for_all(digits, name, values):
    if name != "loss":  # where a list is a sum of terms
        with pytest.raises(InvalidHyperparam, match=f"{name}: it is one for all members"):
            nbopt.Population(model_of(dense), digits, **{name: values})
    population = nbopt.Population(model_of(dense), digits, lr=[0.1, 0.2], **{name: values[0]})
    with pytest.raises(InvalidHyperparam, match=f"{name}: it is one for all members"):
        population.set(members=[1], **{name: values[1]})
    population.set(**{name: values[1]})
    assert {member.hyperparams[name] for member in population} == {values[1]}


def test_an_illegal_value_names_its_member(digits):
    with pytest.raises(InvalidHyperparam) as caught:
        nbopt.Population(model_of(dense), digits, lr=[0.1, -0.2])
    assert "member 1" in caught.value.__notes__[0]
    with pytest.raises(InvalidHyperparam, match="members 0 to 1"):
        nbopt.Population(model_of(dense), digits, lr=[0.1, 0.2]).stop(members=[2])


def test_it_is_stepped_paused_resumed_and_stopped(digits):
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=[0.1, 0.2], **{**SETTINGS, "epochs": 200})
    population.step(3)
    assert (population.step_count, population.state) == (3, nbopt.RunState.PAUSED)
    population.start()
    population.set(lr=0.05, members=[1])
    population.pause()
    assert population.state is nbopt.RunState.PAUSED and population.step_count > 3
    assert [member.hyperparams["lr"] for member in population] == [0.1, 0.05]
    assert len({member.step_count for member in population}) == 1
    before = population.step_count
    population.resume()
    population.stop(members=[0])
    assert population[0].state is nbopt.RunState.STOPPED
    population.step(4)
    assert population[0].step_count < population[1].step_count and population.step_count >= before + 4
    population.stop()
    assert population.state is nbopt.RunState.STOPPED and population.wait() is population.state


def test_more_epochs_let_it_go_on(digits):
    population = nbopt.Population(model_of(dense), digits, lr=[0.1, 0.2], **SETTINGS).fit()
    with pytest.raises(RuntimeError, match="set epochs or steps higher"):
        population.start()
    population.set(epochs=3)
    assert population.fit().step_count == 21


def branching(model, batch):
    output = model(batch[0])
    return output if output.mean() > -1e9 else 2 * output, batch[1]


def penalized(model, batch):
    """Take the slope by the inputs into the output."""
    x = batch[0].clone().requires_grad_()
    output = model(x)
    (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    return output + slope.pow(2).mean(), batch[1]


@pytest.mark.parametrize("forward", [branching, penalized])
def test_what_vmap_cannot_take_is_done_one_after_the_other(digits, forward):
    given = {**SETTINGS, "forward": forward}
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=[0.01, 0.02], **given).fit()
    assert population.tier.startswith("one member after the other (torch.func.vmap does not take the model: ")
    for member in population:
        run = nbopt.Run(model_of(dense), digits, 0.2, lr=member.hyperparams["lr"], store=None, **given)
        assert_same(member, run.fit(), 0)


def test_what_it_raises_is_raised_where_it_is_started(digits):
    with pytest.raises(ValueError, match="labels must be 0 to 9"):
        nbopt.Population(model_of(dense), (digits[0], digits[1] + 5), lr=[0.1, 0.2]).start()
    with pytest.raises(ValueError, match="shapes"):
        nbopt.Population(model_of(dense), digits, (digits[0][:, :5], digits[1]), lr=[0.1, 0.2]).start()


def test_members_as_a_table(digits):
    population = nbopt.Population(model_of(dense), digits, 0.2, lr=[1e-4, 0.01], seed=[1, 2], **SETTINGS).fit()
    frame = population.to_pandas()
    assert frame["lr"].tolist() == [1e-4, 0.01] and frame["seed"].tolist() == [1, 2]
    assert population.best is population[int(frame["best_val_loss"].idxmin())] is population[1]


@pytest.mark.parametrize("given", [(0, "a", 3), (0.1, 1, 0), (float("nan"), 1, 3)])
def test_a_spread_is_checked(given):
    with pytest.raises(ValueError, match="spread"):
        nbopt.spread(*given)


def test_a_spread_is_logarithmic_where_it_is_wide():
    assert nbopt.spread(1, 9, 3) == [1, 5, 9]
    assert nbopt.spread(1, 100, 3) == [1, 10, 100]
    assert nbopt.spread(1, 100, 3, log=False) == [1, 50.5, 100]
    with pytest.raises(ValueError, match="above 0"):
        nbopt.spread(0, 1, 3, log=True)
