"""The same seed and the same changes at the same steps give the same weights, bit for bit."""

import itertools
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from nbopt import Run, RunState
from tests.tries import tries

SCHEDULE = {2: {"lr": 0.05}, 3: {"batch_size": 7}, 5: {"dropout": 0.3, "optimizer": "sgd"}, 8: {"weight_decay": 0.1}}


class Noisy(Dataset):
    """Augments with torch's generator."""

    def __init__(self, blobs):
        self.x, self.y = blobs

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index] + 0.1 * torch.randn(4), self.y[index]


def steered(run, schedule, last):
    """Step the run, with each change made at its step."""
    for step in sorted({*schedule, last}):
        if step > run.step_count:
            run.step(step - run.step_count)
        if step in schedule:
            run.set(**schedule[step])
    return run


@pytest.fixture
def train(make_run, mlp, blobs):
    """Return a maker of a steered run with dropout, from data in the form told."""
    forms = {
        "tensors": lambda: blobs,
        "dataset": lambda: Noisy(blobs),
        "sampler": lambda: DataLoader(Noisy(blobs), batch_size=16, sampler=WeightedRandomSampler([1.0] * 60, 60)),
        "stream": lambda: DataLoader(Noisy(blobs), batch_sampler=[list(range(k, k + 6)) for k in range(0, 60, 6)]),
    }

    def make(form="tensors", seed=0, **settings):
        settings = {"batch_size": 16, "epochs": 5, **settings}
        return make_run(mlp(dropout=0.5), train=forms[form](), val=blobs, seed=seed, **settings)

    return make


FORMS = ["tensors", "dataset", "sampler", "stream"]


@pytest.mark.parametrize("form", FORMS)
def test_again_is_the_same(train, weights, form):
    first, again, other = (steered(train(form, seed=seed), SCHEDULE, 12) for seed in (0, 0, 1))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))
    assert first.history["loss"][1].tolist() == again.history["loss"][1].tolist()
    assert first.history["val_loss"][1].tolist() == again.history["val_loss"][1].tolist()


@pytest.mark.parametrize("form", FORMS)
def test_the_user_s_generator_has_no_say_and_notices_nothing(train, weights, form):
    torch.manual_seed(1)
    plain = steered(train(form), {}, 12)
    torch.manual_seed(2)
    other = train(form)
    for _ in range(12):
        other.step()
        torch.rand(3)
    assert torch.equal(weights(plain), weights(other))
    torch.manual_seed(3)
    undisturbed = torch.rand(2)
    torch.manual_seed(3)
    train(form).fit()
    assert torch.equal(torch.rand(2), undisturbed)


@pytest.mark.parametrize("form", FORMS)
def test_other_runs_in_other_threads_change_nothing(train, weights, form):
    alone, among = train(form).fit(), train(form)
    crowd = [train(other, seed=7, epochs=10**9) for other in FORMS]
    for run in crowd:
        run.start()
    among.fit()
    for run in crowd:
        run.pause()
        assert run.step_count > 0
    assert torch.equal(weights(alone), weights(among))


@pytest.mark.parametrize("form", FORMS)
def test_the_way_of_pulling_changes_nothing(train, weights, form):
    def by_hand(run):
        for _event in run.events():
            pass

    def in_a_thread(run):
        run.start()
        run.wait(60)

    def step_by_step(run):
        while run.state is not RunState.FINISHED:
            run.step()

    def with_pauses(run):
        while run.state is not RunState.FINISHED:
            run.start(wait=False)
            run.pause()

    results = []
    for pull in (by_hand, in_a_thread, step_by_step, with_pauses, Run.fit):
        run = train(form)
        pull(run)
        results.append(weights(run))
    assert all(torch.equal(results[0], other) for other in results[1:])


@tries(20)
@given(
    st.lists(st.integers(1, 9), max_size=6), st.dictionaries(st.integers(0, 19), st.sampled_from([*SCHEDULE.values()]))
)
def test_pauses_change_nothing_whatever_is_changed_between(pieces, schedule):
    x, y = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3

    def train(stops):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        run = Run(model, (x, y), batch_size=16, epochs=10**6)
        steered(run, {**{stop: {} for stop in stops if stop < 20}, **schedule}, 20)
        return torch.cat([value.flatten() for value in model.state_dict().values()])

    assert torch.equal(train(itertools.accumulate(pieces)), train([]))


@pytest.mark.parametrize("form", ["tensors", "dataset"])
def test_the_order_of_samples_follows_from_seed_and_epoch_alone(make_run, blobs, form):
    def order(**settings):
        seen = []

        def forward(model, batch):
            seen.extend(batch[0][:, 0].tolist())
            return model(batch[0]), batch[1]

        data = blobs if form == "tensors" else torch.utils.data.ConcatDataset([TensorDataset(*blobs)])
        make_run(train=data, forward=forward, epochs=2, **settings).fit()
        return seen

    plain = order(batch_size=16)
    assert order(batch_size=7, optimizer="sgd", lr=0.5) == plain
    assert order(batch_size=16, seed=1) != plain
    assert plain[:60] != plain[60:]


def test_a_forward_pass_of_the_user_s_in_between_changes_nothing(train, weights):
    alone, watched = train().fit(), train()
    watched.step(3)
    watched.model(torch.ones(5, 4))
    watched.fit()
    assert torch.equal(weights(alone), weights(watched))


def test_two_threads_of_one_process_can_train_the_same_thing_at_once(train, weights):
    runs = [train(epochs=30) for _ in range(3)]
    threads = [threading.Thread(target=run.fit) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(torch.equal(weights(runs[0]), weights(run)) for run in runs[1:])
