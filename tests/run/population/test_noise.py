"""What members draw that leave out other shares: their own layers' masks, drawn at once where that is the same."""

import pytest
import torch

import nbopt
from nbopt.training.many import noise
from nbopt.training.many.uniform import Uniform, mask_of

RATES = [0.1, 0.25, 0.3, 0.499, 0.5, 0.9]


def populate(rates, kind=torch.float32, **more):
    torch.manual_seed(0)
    layers = (
        torch.nn.Linear(6, 16),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(16, 3),
        torch.nn.Dropout(0.1),
    )
    x, y = torch.randn(40, 6, dtype=kind), torch.randint(0, 3, (40,))
    given = {"batch_size": 20, "epochs": 4, "store": None, "device": "cpu", "dropout": rates, **more}
    population = nbopt.Population(torch.nn.Sequential(*layers).to(kind), (x, y), **given)
    population.step(2)
    return population, population.puller.together


def masks_of(population, together):
    trainings = together._stack.trainings
    layers = together._gradients.layers(trainings[0].cursor.peek())
    dropped = together._noise.rates(layers, range(len(trainings)))
    found = together._noise.masks(layers, trainings, dropped, 0)
    own = [
        noise.draw_seeded(layers, each, each.step_seed + each.step, [each.hyperparams["dropout"]] * 2)
        for each in trainings
    ]
    return layers, trainings, found, own


@pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=["float", "double"])
def test_masks_drawn_at_once_are_those_of_the_layers(kind, monkeypatch):
    population, together = populate(RATES, kind)
    drawn, draw = [], noise.draw_seeded
    monkeypatch.setattr(noise, "draw_seeded", lambda *given: drawn.append(given) or draw(*given))
    _layers, _trainings, found, own = masks_of(population, together)
    assert len(drawn) == 1 + len(RATES)  # of the first one, to compare; here, for each
    for layer in range(2):
        assert torch.equal(found[layer], torch.stack([each[layer] for each in own]))
        assert len({int((mask == 0).sum()) for mask in found[layer]}) > 3


@pytest.mark.parametrize("rates", [[0.1, 0.2, 0.3, 0.4, 0.1, 0.2], [0.0, 0.2, 0.0, 0.5, 0.0, 0.5], [0.3] * 6])
def test_whoever_draws_from_the_same_seed_draws_at_once(rates, monkeypatch):
    population, together = populate(rates, seed=[0, 1, 0, 1, 0, 2])
    drawn, draw = [], noise.draw_seeded
    monkeypatch.setattr(noise, "draw_seeded", lambda *given: drawn.append(given) or draw(*given))
    _layers, _trainings, found, own = masks_of(population, together)
    assert len(drawn) - len(own) == 3
    for layer in range(2):
        assert torch.equal(found[layer], torch.stack([each[layer] for each in own]))


@pytest.mark.parametrize("rates", [[0.0, 0.2, 0.4], [0.2, 0.4, 0.4]], ids=["one leaves out nothing", "some alike"])
def test_whoever_draws_nothing_has_the_others_draw_for_themselves(rates):
    _layers, _trainings, found, own = masks_of(*populate(rates))
    for layer in range(2):
        assert torch.equal(found[layer], torch.stack([each[layer] for each in own]))


def test_where_torch_draws_otherwise_each_draws_for_itself(monkeypatch):
    """As it does by MKL on processors of Intel's."""
    population, together = populate(RATES)
    uniform = torch.Tensor.uniform_
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, **given: 1 - uniform(self, **given))
    _layers, _trainings, found, own = masks_of(population, together)
    assert torch.equal(found[0], torch.stack([each[0] for each in own]))


def from_numbers(population, together):
    """Return what layers keep by the numbers that machine code takes, and what `masks_of` finds."""
    layers, trainings, _found, own = masks_of(population, together)
    made = Uniform(layers, trainings, together._noise.rates(layers, range(len(trainings))))
    numbers, count = made.of(0), len(trainings)
    rows = [
        each if each.ndim > layer.ones.ndim else [each] * count for layer, each in zip(layers, numbers, strict=True)
    ]
    masks = [
        torch.stack([mask_of(one, share, layer.ones.dtype) for one, share in zip(row, shares, strict=True)])
        for layer, row, shares in zip(layers, rows, made.shares.unbind(1), strict=True)
    ]
    return made, masks, own


@pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=["float", "double"])
@pytest.mark.parametrize(
    ("rates", "seed", "alike"),
    [
        (RATES, 0, True),
        ([0.0] * 6, 0, True),
        ([0.0, 0.2, 0.4, 0.0, 0.5, 0.9], 0, False),  # who leaves out nothing draws nothing
        ([0.1, 0.2, 0.3, 0.4, 0.1, 0.2], [0, 1, 0, 1, 0, 2], False),
    ],
)
def test_machine_code_keeps_what_the_layers_keep(kind, rates, seed, alike):
    made, masks, own = from_numbers(*populate(rates, kind, seed=seed))
    assert made.alike == alike
    for layer in range(2):
        assert torch.equal(masks[layer], torch.stack([each[layer] for each in own]))


def test_machine_code_keeps_what_the_layers_keep_where_torch_draws_otherwise(monkeypatch):
    given, uniform = populate(RATES), torch.Tensor.uniform_
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, **given: 1 - uniform(self, **given))
    made, masks, own = from_numbers(*given)
    assert not made.alike
    for layer in range(2):
        assert torch.equal(masks[layer], torch.stack([each[layer] for each in own]))


def test_numbers_of_several_steps_are_as_many_as_fit():
    made, _masks, _own = from_numbers(*populate(RATES))
    assert [made.most(count) for count in (0, 20 * 19, 5 * 20 * 19)] == [1, 1, 5]
    apart, _masks, _own = from_numbers(*populate(RATES, seed=[0, 1, 0, 1, 0, 2]))
    assert apart.most(12 * 20 * 19) == 2
