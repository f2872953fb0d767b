"""Data that are fetched sample by sample, and given optimizers: members train as the single runs do."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

import nbopt
from tests.run.population.shared import SETTINGS, assert_same, dense, digits, model_of

__all__ = ["digits"]
pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Blurred(Dataset):
    """Draws noise for each sample."""

    def __init__(self, digits):
        self.digits = digits

    def __len__(self):
        return len(self.digits[0])

    def __getitem__(self, index):
        x, y = self.digits
        return x[index] + 0.1 * torch.randn(64), y[index]


class Counting(Blurred):
    """Gives other samples each time it is asked."""

    asked = 0

    def __getitem__(self, index):
        self.asked += 1
        x, y = self.digits
        return x[index] * self.asked, y[index]


class Growing(IterableDataset):
    """Gives other batches in each epoch, as it counts them itself."""

    epochs = 0

    def __init__(self, digits):
        self.digits = digits

    def __iter__(self):
        self.epochs += 1
        for x, y in zip(*self.digits, strict=True):
            yield x * self.epochs, y


def blurred(samples):
    x, y = torch.utils.data.default_collate(samples)
    return x + 0.1 * torch.randn_like(x), y


@pytest.mark.parametrize(
    "make",
    [Blurred, lambda digits: DataLoader(torch.utils.data.TensorDataset(*digits), 32, True, collate_fn=blurred)],
    ids=["dataset", "collate"],
)
def test_what_is_drawn_for_samples_is_what_single_runs_draw(digits, make):
    population = nbopt.Population(model_of(dense), make(digits), lr=[0.01, 0.02, 0.03], seed=[0, 0, 1], **SETTINGS)
    population.fit()
    assert population.tier == "all members at once"
    for member, lr, seed in zip(population, [0.01, 0.02, 0.03], [0, 0, 1], strict=True):
        run = nbopt.Run(model_of(dense), make(digits), lr=lr, seed=seed, store=None, **SETTINGS)
        assert_same(member, run.fit())


class Listing(Blurred):
    """Gives other samples each time it is asked, as it keeps all that it gave."""

    def __init__(self, digits):
        super().__init__(digits)
        self.given = [0.0] * 100

    def __getitem__(self, index):
        x, y = self.digits
        self.given.append(self.given[-1] + 1)
        return x[index] * self.given[-1], y[index]


COUNTED = {"calls": 0}


def annealed(output, target):
    COUNTED["calls"] += 1
    return torch.nn.functional.cross_entropy(output, target) * (1 + COUNTED["calls"])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda digits: {"train": Counting(digits)}, "all members call what changes Counting.asked"),
        (lambda digits: {"train": DataLoader(Growing(digits), 32)}, "all members call what changes Growing.epochs"),
        (lambda digits: {"train": digits, "loss": annealed}, "all members call what changes COUNTED"),
        (lambda digits: {"train": Listing(digits)}, "train gives other samples when it is asked for the same ones"),
    ],
    ids=["dataset", "stream", "loss", "list"],
)
def test_what_remembers_how_often_it_was_called_is_told_of(digits, make, told):
    given = make(digits)
    population = nbopt.Population(model_of(dense), **given, lr=[0.01, 0.02], seed=[0, 1], epochs=2, store=None)
    with pytest.warns(UserWarning, match=f"{told}.*: no member trains as it would by itself"):
        population.step(2)
    assert told in population.journal[0].new


def last_layer(model):
    return torch.optim.Adam(model[3].parameters(), lr=0.1)


def amsgrad(model):
    return torch.optim.Adam(model.parameters(), amsgrad=True)


@pytest.mark.parametrize(
    ("make", "tier"),
    [
        (amsgrad, "all members at once"),
        (last_layer, "one member after the other (some weights that get gradients are none of the optimizer's)"),
    ],
)
def test_a_given_optimizer_is_that_of_each_member(digits, make, tier):
    model = model_of(dense)
    settings = {**SETTINGS, "lr": 0.01}
    population = nbopt.Population(model, digits, optimizer=make(model), weight_decay=[0, 0.1], **settings).fit()
    assert population.tier == tier
    for member, decay in zip(population, [0, 0.1], strict=True):
        model = model_of(dense)
        run = nbopt.Run(model, digits, optimizer=make(model), weight_decay=decay, store=None, **settings)
        assert_same(member, run.fit())
        assert len(member.training.torch_optimizer.state_dict()["state"]) == (4 if make is amsgrad else 2)
