"""Many runs that share a step: each asks for its own, and whoever pulls them does all of them at once."""

import copy
from collections import Counter

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import nbopt
from nbopt.record.journal import Operation
from nbopt.techniques.optimizers.formulas import FORMULAS
from nbopt.training.compile.artifact import sign
from nbopt.training.compile.step import Arguments, find_trained, make_chunk, stand_in
from nbopt.training.loop import pull_together
from nbopt.training.state import Finished, Stepped, Validated

MEMBERS = 8
RATES = {
    "adam": [1e-4 * 2**member for member in range(MEMBERS)],
    "sgd": [1e-3 * 2**member for member in range(MEMBERS)],
}
PLANNED = {3: Operation(7, "lr", 0.01, "test"), 5: Operation(11, "weight_decay", 0.01, "test")}


class Together:
    """The next step of many runs, by one vectorized call of the function that a compiled step is made of."""

    def __init__(self, trainings):
        first = trainings[0]
        self.trainings = trainings
        self.formula = FORMULAS[type(first.torch_optimizer)]
        twin, _dropout = stand_in(first.model)
        chunk = make_chunk(twin, copy.copy(first.loss), self.formula, [], sign(first, 1), [])
        self.call = torch.func.vmap(lambda *flat: chunk([*flat]))
        names = [name for name, _weight in find_trained(first.model)]
        # What the members hold are rows of these tensors, from now on.
        self.weights = [self.stack([t.model.get_parameter(name) for t in trainings]) for name in names]
        self.state = [torch.zeros_like(weight) for _key in self.formula.keys for weight in self.weights]
        self.calls = Counter()

    @staticmethod
    def stack(parameters):
        rows = torch.stack([parameter.detach() for parameter in parameters])
        for parameter, row in zip(parameters, rows, strict=True):
            parameter.data = row
        return rows

    def __call__(self, members):
        self.calls[tuple(members)] += 1
        trainings = [self.trainings[member] for member in members]
        for training in trainings:
            training.stepper.begin()
        x, y = (torch.stack(part) for part in zip(*(t.cursor.peek(1) for t in trainings), strict=True))
        groups = [training.torch_optimizer.param_groups[0] for training in trainings]
        numbers = [
            [[0.0, *self.formula.numbers(group, t.step + 1)]] for group, t in zip(groups, trainings, strict=True)
        ]
        held = [tensor[members] for tensor in (*self.weights, *self.state)]
        count = len(self.weights)
        with torch.no_grad():
            (losses,) = self.call(
                *Arguments(held[:count], [], [], held[count:], x, y, [], [], torch.tensor(numbers)).flat()
            )
            for tensor, rows in zip((*self.weights, *self.state), held, strict=True):
                tensor[members] = rows
        return [training.stepper.take(row) for training, row in zip(trainings, losses, strict=True)]


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x[:400] / 16, dtype=torch.float32), torch.tensor(y[:400])


def make(digits, member, optimizer):
    torch.manual_seed(member)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    settings = {"optimizer": optimizer, "batch_size": 32, "epochs": 1 + member % 2, "store": None, "tier": "eager"}
    run = nbopt.Run(model, digits, 0.2, seed=member, lr=RATES[optimizer][member], **settings)
    run.changes.plan([PLANNED[member]] if member in PLANNED else [])
    return run


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_eight_members_stepped_at_once_are_eight_runs(digits, one_torch_thread, optimizer):
    """Each has its rate, order, changes, validations and length; those that go on do so when others have ended."""
    members = [make(digits, member, optimizer) for member in range(MEMBERS)]
    together = Together([run.training for run in members])
    seen = Counter()
    for member, event in pull_together([run.worker.loop.requests() for run in members], together):
        seen[member, type(event)] += 1
    alone = [make(digits, member, optimizer) for member in range(MEMBERS)]
    for member, (run, single) in enumerate(zip(members, alone, strict=True)):
        for _event in single.events():
            pass
        assert run.step_count == single.step_count == 10 * (1 + member % 2)
        assert run.epoch == single.epoch
        assert seen[member, Stepped] == run.step_count
        assert (seen[member, Validated], seen[member, Finished]) == (run.epoch, 1)
        assert [entry[:4] for entry in run.journal] == [entry[:4] for entry in single.journal]
        assert len(run.journal) == (member in PLANNED)
        for name in ("loss", "val_loss"):
            assert run.history[name][1].tolist() == pytest.approx(single.history[name][1].tolist(), abs=1e-5)
        for mine, own in zip(run.model.parameters(), single.model.parameters(), strict=True):
            torch.testing.assert_close(mine, own, rtol=0, atol=1e-5)
    assert together.calls == {tuple(range(MEMBERS)): 10, (1, 3, 5, 7): 10}


def test_members_differ_by_their_rates(digits, one_torch_thread):
    """So that the test above means something."""
    losses = []
    for rate in (RATES["sgd"][0], RATES["sgd"][-1]):
        run = make(digits, 0, "sgd")
        run.set(lr=rate)
        run.step(10)
        losses.append(run.history["loss"][1].tolist())
    assert abs(losses[0][-1] - losses[1][-1]) > 1e-3


def test_a_loop_that_ends_at_once_asks_for_nothing(digits, one_torch_thread):
    run = make(digits, 0, "sgd")
    run.fit()
    assert list(pull_together([run.worker.loop.requests()], None)) == [(0, Finished(10, "all 1 epochs done"))]
