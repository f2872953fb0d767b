"""Edits that are repeated: by the store, compiled steps, the guard, and whatever random journals hold."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import nbopt
from nbopt import Run
from nbopt.store.reading import read
from tests import zygote
from tests.training.edited import edits, losses, net, same, widened
from tests.training.tiered import pull, switches
from tests.tries import tries

# -- the store


def test_a_stored_run_is_opened_in_the_shape_that_it_had(make, blobs, tmp_path):
    run = make(store=tmp_path, val=blobs)
    run.step(5)
    branch = widened(run)
    branch.step(6)
    branch.edit(nbopt.Widen("2", by=3))
    branch.step(4)
    opened = nbopt.open(branch.id, net(), blobs, blobs, store=tmp_path)
    assert opened.model[0].out_features == 21 and opened.model[2].weight.shape == (11, 21)
    assert same(opened, branch) and opened.exact is not False
    opened.step(5)
    unbroken = branch.replay()
    unbroken.wait()
    unbroken.step(5)
    assert same(opened, unbroken) and losses(opened) == losses(unbroken)
    opened.rewind(7)
    assert opened.model[0].out_features == 21 and opened.model[2].out_features == 8
    opened.rewind(2)
    assert opened.model[0].out_features == 16 and opened.exact
    opened.edit(nbopt.Widen("0", by=1))  # it is a branch still
    opened.step(1)
    twin = opened.replay()
    twin.wait()
    assert same(twin, opened)


def test_the_model_is_given_as_it_was_at_first(make, blobs, tmp_path):
    run = make(store=tmp_path)
    run.step(5)
    branch = widened(run)
    branch.step(1)
    with pytest.raises(ValueError, match=r"model: 0\.weight was 16 x 4 float32, now it is 21 x 4 float32"):
        nbopt.open(branch.id, copy.deepcopy(branch.model), blobs, store=tmp_path)


KILLED = """
import os, signal, sys
import torch
import nbopt
from tests.training.edited import net, widened
y = torch.arange(60) % 3
x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) + 3 * torch.nn.functional.one_hot(y, 4)
torch.set_num_threads(1)
run = nbopt.Run(net(), (x, y), epochs=10**6, batch_size=20, store=sys.argv[1])
run.step(5)
branch = run.change(nbopt.edits.Shrink(amount=0.5, layers="2"))
branch.step(2)
branch.edit(nbopt.Widen("0", by=5))
branch.edit(nbopt.edits.Factorize(rank=2, layers="2"))
print(branch.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_edit_survives_kill_9(make, blobs, tmp_path):
    killed = zygote.run(KILLED, tmp_path)
    name = killed.stdout.strip()
    assert [entry.step for entry in edits(read(name, tmp_path))] == [5, 7, 7], killed.stderr
    opened = nbopt.open(name, net(), blobs, store=tmp_path)
    assert opened.step_count == 7 and opened.model[0].out_features == 21
    run = make()
    run.step(5)
    branch = run.change(nbopt.edits.Shrink(amount=0.5, layers="2"))
    branch.step(2)
    branch.edit(nbopt.Widen("0", by=5))
    branch.edit(nbopt.edits.Factorize(rank=2, layers="2"))
    opened.step(4)
    branch.step(4)
    assert same(opened, branch)
    opened.rewind(6)
    assert type(opened.model[2]) is nn.Linear and opened.model[0].out_features == 16
    opened.rewind(2)
    assert opened.model[2].out_features == 8


SPOILT = [{"edit": "narrow"}, {"by": 0}, {"layer": 3}, {"layer": "9"}, {"into": "2"}, {"number": 4}, {"reason": 1}]


@pytest.mark.parametrize("change", SPOILT, ids=str)
def test_an_edit_that_nobody_writes_is_no_edit(make, blobs, tmp_path, change):
    run = make(store=tmp_path)
    run.step(5)
    branch = widened(run)
    branch.step(1)
    record = read(branch.id, tmp_path)
    (number,) = (k for k, entry in enumerate(record.journal) if entry.name == "edit")
    value = {**record.journal[number].new, **change}
    branch.recorder.leave()
    store = nbopt.store.database.store_in(tmp_path)
    store.add_entries(branch.id, number, [record.journal[number]._replace(new=value), *record.journal[number + 1 :]])
    with pytest.raises(nbopt.store.schema.StoreError, match="is spoilt"):
        nbopt.open(branch.id, net(), blobs, store=tmp_path)


# -- compiled steps


@pytest.mark.parametrize("norm", [False, True])
def test_compiled_steps_are_compiled_anew_and_replayed(compiled, make_tiered, norm):
    model = net(norm=norm)
    run = make_tiered(model)
    pull(run, 20)
    branch = run.branch(at=20, edit=nbopt.Widen("0", by=5))
    made = len(compiled)
    branch.training.meter.tick(running=True)
    pull(branch, 60)
    assert len(compiled) > made and [to for step, _old, to in switches(branch) if step >= 20][-1]
    assert branch.model[0].out_features == 21
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch) and losses(twin) == losses(branch)
    branch.rewind(30)
    pull(branch, 60)
    assert same(twin, branch)
    branch.rewind(10)
    pull(branch, 20)
    assert same(branch, run)


# -- the guard, and a run that trains


def test_the_guard_makes_an_edit_again_that_it_undid(make):
    run = make(lr=0.01)
    run.step(30)
    branch = run.branch(at=30)
    branch.step(10)
    branch.edit(nbopt.Widen("0", by=5))
    branch.set(optimizer="sgd", lr=1e30)
    branch.step(40)
    names = [entry.name for entry in branch.journal]
    assert "diverged" in names and names.count("edit") > 1
    assert branch.model[0].out_features == 21
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch)


def test_a_run_that_trains_is_edited_between_two_steps(make):
    run = make()
    branch = run.branch(at=0) if run.snapshots else (run.step(1), run.branch(at=1))[1]
    branch.start()
    branch.edit(nbopt.Widen("0", by=5))
    with pytest.raises(ValueError, match="unknown layer"):
        branch.edit(nbopt.Widen("first", by=5))
    branch.worker.wait(lambda: bool(edits(branch)), 10)
    branch.step(5)
    branch.pause()
    assert branch.model[0].out_features == 21 and branch.state.name == "PAUSED"
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch)


# -- whatever happens


ACTIONS = st.one_of(
    st.tuples(st.just("step"), st.integers(1, 6)),
    st.tuples(st.just("widen"), st.sampled_from(["0", "2"]), st.integers(1, 9)),
    st.tuples(
        st.just("set"), st.sampled_from([{"lr": 0.01}, {"optimizer": "sgd", "momentum": 0.9}, {"batch_size": 7}])
    ),
    st.tuples(st.just("freeze"), st.sampled_from([0, 2]), st.booleans()),
    st.tuples(st.just("rewind"), st.floats(0, 1)),
)


@given(st.lists(ACTIONS, max_size=9))
@tries(12)
def test_whatever_is_edited_when_replays_and_rewinds_do_it_again(actions):
    y = torch.arange(60) % 3
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    first = Run(net(), (x, y), epochs=10**6, batch_size=20, store=None)
    first.step(1)
    run = first.branch(at=1)
    for name, *rest in actions:
        if name == "step":
            run.step(rest[0])
        elif name == "widen":
            run.edit(nbopt.Widen(rest[0], by=rest[1]))
        elif name == "set":
            run.set(**rest[0])
        elif name == "freeze":
            run.model[rest[0]].requires_grad_(rest[1])
            run.step(1)
        else:
            run.rewind(int(rest[0] * run.step_count))
    run.step(2)
    effective = [entry.new for entry in run.journal.effective() if entry.name == "edit"]
    assert run.training.edits == effective
    assert run.model[0].out_features == 16 + sum(edit["by"] for edit in effective if edit["layer"] == "0")
    twin = run.replay()
    twin.wait()
    assert same(twin, run) and twin.exact is not False
    middle = run.step_count // 2
    branch = run.branch(at=middle)
    run.rewind(middle)
    assert same(branch, run) and run.exact is not False


def test_a_wider_layer_holds_for_sequences_too(make_run):
    torch.manual_seed(0)
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(40, 3))
    run = make_run(model, (torch.randn(40, 5, 8), torch.arange(40) % 3), epochs=99, batch_size=10, store=None)
    run.step(3)
    branch = run.branch(at=3, edit=nbopt.Widen("0.linear1", by=4))
    assert branch.model[0].linear2.in_features == 20
    branch.step(5)
    twin = branch.replay()
    twin.wait()
    assert same(twin, branch)
