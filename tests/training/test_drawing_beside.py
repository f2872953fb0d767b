"""Draws beside a run's own, in other cells, threads and runs, in compiled and checkpointed code."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nbopt.training.compile.marks import Marks
from tests.training.draws import PLACES, Net, Samples, columns, dealt, finish, number, start


def test_memory_that_runs_out_within_a_step_changes_no_draw(make_run, weights):
    def make(rng):
        failed = []

        def forward(net, batch):
            share = number(rng)
            if len(batch[0]) > 4 and len(seen) == 5 and not failed:
                failed.append(True)
                raise torch.OutOfMemoryError("CUDA out of memory.")
            seen.append(share)
            return net(batch[0]) * share, batch[1]

        seen = []
        train = dealt(Samples(rng), shuffle=True)
        return make_run(train=train, model=Net(), forward=forward, epochs=2)

    run = make(np.random.default_rng(3))
    finish(run)
    assert any(entry.name == "out_of_memory" for entry in run.journal)
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(run), weights(again))


def test_looks_at_the_model_take_nothing_from_its_generators(make_run, weights):
    quiet, looked = (start(make_run, PLACES["model"], np.random.default_rng(5)) for _ in range(2))
    for _step in range(6):
        quiet.step()
        looked.step()
        looked.predict(columns()[0])
    assert torch.equal(weights(quiet), weights(looked))


@pytest.mark.parametrize("place", ["forward", "samples"])
def test_two_runs_side_by_side_draw_as_each_alone(make_run, weights, place):
    rng = np.random.default_rng(5)  # the two have one between them
    alone = finish(start(make_run, PLACES[place], rng, epochs=6))
    runs = [start(make_run, PLACES[place], rng, epochs=6) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.wait(60)
        assert torch.equal(weights(run), weights(alone))


def drawing_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))


def test_draws_in_another_cell_and_in_a_run_do_not_meet(make_run, weights):
    def mine():
        torch.manual_seed(123)
        return torch.stack([torch.rand(()) for _ in range(200)])

    expected = mine()
    still = finish(make_run(train=columns(), model=drawing_net(), batch_size=8, epochs=60))
    run = make_run(train=columns(), model=drawing_net(), batch_size=8, epochs=60)
    run.start()
    drawn = []
    while run.state.value == "running":
        drawn.append(mine())
    assert len(drawn) > 3
    assert all(torch.equal(each, expected) for each in drawn)
    assert torch.equal(weights(run), weights(still))


def test_a_forward_that_seeds_torch_itself_is_obeyed_and_leaves_no_trace(make_run):
    seen = []

    def forward(net, batch):
        state = torch.get_rng_state()
        first = torch.rand(2)
        torch.set_rng_state(state)
        assert torch.equal(torch.rand(2), first)
        torch.manual_seed(4)
        seen.append(torch.rand(3))
        return net(batch[0]), batch[1]

    run = make_run(train=columns(), model=Net(), forward=forward, batch_size=8, epochs=1)
    before = torch.get_rng_state()
    run.step(3)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        expected = torch.rand(3)
    assert all(torch.equal(each, expected) for each in seen)
    assert torch.equal(torch.get_rng_state(), before)


def test_checkpointed_layers_draw_the_same_twice(make_run, weights):
    from torch.utils.checkpoint import checkpoint

    class Saving(Net):
        def forward(self, x):
            return checkpoint(self.body, functional.dropout(x, 0.1, self.training), use_reentrant=False)

    class Plain(Net):
        def forward(self, x):
            return self.body(functional.dropout(x, 0.1, self.training))

    saving, plain = (make_run(train=columns(), model=kind(), batch_size=8, epochs=2) for kind in (Saving, Plain))
    assert torch.equal(weights(finish(saving)), weights(finish(plain)))


def test_what_torch_compiles_draws_from_the_default_generator_seeded_itself(make_run):
    model = torch.compile(Net(), backend="eager")
    run = make_run(train=columns(), model=model, batch_size=8, epochs=2)
    run.events()
    noise = run.training.noise
    assert noise.generator is None
    before = torch.get_rng_state()
    with noise.lock, noise.seeded(5):
        drawn = torch.rand(3)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_compiled_model_is_looked_at_like_another():
    model = torch.compile(Net(), backend="eager")
    marks = Marks(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert marks.are_same()
    model.rng = 1
    assert not marks.are_same()


def test_threads_of_the_user_s_draw_on_while_a_run_holds_its_generator(make_run):
    dataset = Samples()

    class Threaded(Samples):
        def __getitems__(self, indices):
            rows = [dataset[index] for index in indices]
            drawn = []
            thread = threading.Thread(target=lambda: drawn.append(np.random.rand()))
            thread.start()
            thread.join(10)
            assert drawn
            return rows

    run = make_run(train=Threaded(), model=Net(), batch_size=8, epochs=1)
    run.step(2)
    assert run.step_count == 2
