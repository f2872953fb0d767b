"""What the guard takes for a divergence, and what it leaves of the changes made beside one."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbopt
from nbopt.techniques.guard import Guard
from tests.training.guarded import guarded, kept, line


def absolute(output, target):
    return (output[:, 0] - target).abs().mean()


# -- no divergences


@pytest.mark.parametrize(
    ("terms", "weight"),
    [
        ([(0.0, "mse"), (0.001, "mae")], 1.0),
        ([(0.001, "mse"), (0.01, "mae")], 100.0),
        ([(1.0, "mse")], 100.0),
        ([(0.0, "mse"), (0.001, absolute)], 100.0),
    ],
)
def test_a_larger_weight_of_a_term_is_no_divergence(make_run, numbers, terms, weight):
    run = make_run(line(), numbers, loss=terms, epochs=100, lr=1e-3)
    run.step(5)
    run.set(weight_mse=weight)
    run.step(20)
    assert kept(run, "weight_mse", "lr") == {"weight_mse": weight, "lr": 1e-3}
    assert guarded(run) == []


@pytest.mark.parametrize("micro", [0, 8])
@pytest.mark.parametrize("nothing_in", [0, 2])
def test_a_batch_in_which_nothing_counts_is_no_divergence(make_run, weights, micro, nothing_in):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 4, generator=generator), torch.arange(64) % 3
    y[16 * nothing_in : 16 * nothing_in + 16] = -100
    loader = DataLoader(TensorDataset(x, y), batch_size=16)
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    by_hand = copy.deepcopy(model)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for _epoch in range(2):
        for inputs, labels in loader:
            optimizer.zero_grad()
            functional.cross_entropy(by_hand(inputs), labels).backward()
            optimizer.step()
    run = make_run(model, loader, val=loader, optimizer="sgd", lr=0.1, epochs=2, micro_batch=micro)
    with pytest.warns(UserWarning, match="is NaN and its gradient 0: no sample of that batch counts"):
        run.fit()
    expected = torch.cat([value.detach().flatten() for value in by_hand.state_dict().values()])
    assert torch.allclose(weights(run), expected, atol=0.0 if not micro else 1e-5, rtol=0)
    assert guarded(run) == []
    assert run.history.last("val_loss") == pytest.approx(float(functional.cross_entropy(run.model(x), y)), abs=1e-6)


def test_a_loss_that_is_no_number_and_spoils_the_weights_is_a_divergence(make_run, numbers):
    x, y = numbers[0].clone(), numbers[1]
    x[100] = torch.nan
    run = make_run(line(), (x, y), loss="mse", epochs=1)
    with pytest.raises(FloatingPointError, match="Look for NaN in the data"):
        run.fit()


@pytest.mark.parametrize("before", ["mae", "huber"])
def test_another_loss_on_prices_is_no_divergence(make_run, numbers, before):
    x, y = numbers
    run = make_run(line(), (x, 2000 * y), loss=before, epochs=100, lr=1e-3)
    run.step(5)
    run.set(loss="mse")
    run.step(20)
    assert (run.hyperparams["loss"], guarded(run)) == ("mse", [])


def test_a_density_that_begins_at_0_and_a_critic_train_as_in_a_plain_loop(make_run, numbers):
    x, _y = numbers
    real = torch.arange(256) % 2

    def critic_loss(output, real):
        return output[real == 0].mean() - output[real == 1].mean()

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    plain = copy.deepcopy(model)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for _step in range(40):
        optimizer.zero_grad()
        critic_loss(plain(x), real).backward()
        optimizer.step()
    run = make_run(model, (x, real), loss=critic_loss, optimizer="sgd", lr=0.1, batch_size=256, epochs=40).fit()
    assert guarded(run) == []
    assert run.history["loss"][1][0] == 0.0 > run.history["loss"][1][-1]
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


class Memory(nn.Module):
    """Knows the targets by heart."""

    def __init__(self):
        super().__init__()
        self.drop, self.layer = nn.Dropout(0.0), nn.Linear(4, 1, bias=False)
        nn.init.constant_(self.layer.weight, 1000.0)

    def forward(self, x):
        return self.layer(self.drop(x))


@pytest.mark.parametrize("loss", ["mse", lambda output, target: functional.mse_loss(output[:, 0], target)])
def test_what_was_learnt_by_heart_may_be_disturbed_in_a_new_run(make_run, numbers, loss):
    x, _y = numbers
    run = make_run(Memory(), (x, x.sum(1) * 1000), loss=loss, epochs=100, lr=1e-3)
    run.step(8)
    assert run.history["loss"][1][0] < 1e-3
    run.set(dropout=0.7, input_noise=0.5)
    run.step(100)
    assert guarded(run) == []
    assert run.history.last("loss") > 1e5


def sparse_hinge():
    """Return a model and data on which hardly any sample has a hinge loss."""
    torch.manual_seed(0)
    x = torch.randn(240, 4)
    y = (x[:, 0] > 0).long()
    y[::80] = 1 - y[::80]
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
        model.weight[:, 0] = torch.tensor([-500.0, 500.0])
    return model, (x, y)


def test_the_size_of_a_loss_survives_open_and_branch(make_run, tmp_path):
    model, data = sparse_hinge()
    fresh = copy.deepcopy(model)
    run = make_run(model, data, loss="hinge", batch_size=8, epochs=1000, lr=1e-4, store=tmp_path)
    run.step(40)
    usual = run.training.acting.part(Guard).state
    branch = run.branch(40)
    run.stop()
    again = nbopt.open(run.id, fresh, data, store=tmp_path)
    for other in (branch, again):
        assert other.training.acting.part(Guard).state == usual
        other.step(200)
        assert guarded(other) == []


# -- divergences


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", absolute, [(0.5, "mse"), (0.1, "mae")]])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_rate_far_too_high_is_found_within_a_few_steps(make_run, numbers, loss, optimizer):
    run = make_run(line(), numbers, loss=loss, optimizer=optimizer, batch_size=32, epochs=100, lr=1e-3)
    run.step(5)
    run.set(lr=1e4)
    run.step(15)
    assert (5, "lr") in guarded(run)
    assert run.hyperparams["lr"] == 5e-4
