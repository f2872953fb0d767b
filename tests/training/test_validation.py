"""The loss of a validation against that of a plain loop."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, default_collate

from nbopt import Run

pytestmark = pytest.mark.usefixtures("one_torch_thread")

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(50, 4, generator=GENERATOR)
Y = torch.randint(0, 3, (50,), generator=GENERATOR)
RARE = torch.where(torch.arange(50) < 37, -100, Y)
WEIGHT = torch.tensor([1.0, 1.0, 20.0])


def trained(loss, y, output=3, **settings):
    """Return a run that validates once, in batches of different sizes, with the weights it started with."""
    torch.manual_seed(0)
    model = nn.Linear(4, output)
    val = DataLoader(TensorDataset(X, y), batch_size=16, collate_fn=lambda items: default_collate(items))
    run = Run(model, (X, y), val, loss, lr=0.0, optimizer="sgd", epochs=1, store=None, **settings).fit()
    return run, model(X).detach()


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("cross_entropy", Y),
        ("cross_entropy", RARE),
        (functional.cross_entropy, RARE),
        (nn.CrossEntropyLoss(weight=WEIGHT), Y),
        (nn.CrossEntropyLoss(weight=WEIGHT, ignore_index=0), Y),
        (nn.CrossEntropyLoss(weight=WEIGHT), RARE),
    ],
)
def test_targets_that_do_not_count_do_not_count_in_validation(loss, y):
    run, output = trained(loss, y, batch_size=50)
    by_hand = functional.cross_entropy if isinstance(loss, str) else loss
    assert run.history.last("val_loss") == pytest.approx(float(by_hand(output, y)), rel=1e-5)
    assert run.history.last("loss") == pytest.approx(run.history.last("val_loss"), rel=1e-5)


def test_a_batch_without_a_target_that_counts_adds_nothing():
    y = torch.where(torch.arange(50) < 16, -100, Y)  # the whole first batch
    run, output = trained("cross_entropy", y, batch_size=50)
    assert run.history.last("val_loss") == pytest.approx(float(functional.cross_entropy(output, y)), rel=1e-5)


@pytest.mark.parametrize("size", [10, 25])
def test_a_sum_is_shown_on_the_scale_of_training(size):
    run, output = trained(nn.CrossEntropyLoss(reduction="sum"), Y, batch_size=size)
    whole = float(functional.cross_entropy(output, Y, reduction="sum"))
    assert run.history.last("val_loss") == pytest.approx(whole * size / 50, rel=1e-5)
    assert run.history["loss"][1].mean() == pytest.approx(run.history.last("val_loss"), rel=1e-5)


def test_of_a_function_of_one_s_own_each_target_weighs_the_same():
    run, output = trained(lambda o, t: (o.squeeze(1) - t).abs().mean(), X[:, 0], output=1)
    assert run.history.last("val_loss") == pytest.approx(float((output[:, 0] - X[:, 0]).abs().mean()), rel=1e-5)


def test_best_is_measured_anew_where_a_batch_size_changes_the_scale_of_a_sum():
    torch.manual_seed(0)
    sums = nn.CrossEntropyLoss(reduction="sum")
    run = Run(nn.Linear(4, 3), (X, Y), (X, Y), sums, batch_size=10, patience=9, lr=1e-3, epochs=3, store=None)
    run.step(5)
    first = run.stopping.best
    run.set(batch_size=50)
    run.step(1)
    assert run.stopping.best == run.history.last("val_loss") > 3 * first
