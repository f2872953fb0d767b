"""When snapshots are taken, and the memory that their copies use again."""

import gc
import time

import pytest
import torch

from nbopt.training.snapshots import blocks
from nbopt.training.snapshots.blocks import copy_to_cpu, keep_ready


@pytest.fixture(autouse=True)
def _no_memory_ready(monkeypatch):
    gc.collect()
    blocks._free.clear()
    # Made ready here and now, by no other thread.
    monkeypatch.setattr("nbopt.training.snapshots.blocks.threading.Thread", Now)


class Now:
    def __init__(self, target, args, **_settings):
        self.start = lambda: target(*args)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(700, 600),
        torch.randn(1_000_000).to(torch.bfloat16),
        torch.randn(1500, 1000) > 0,
        torch.randn(400, 600, dtype=torch.complex64),
        torch.randn(1, 1_000_000)[:, ::2],
        torch.randn(8, 32, 40, 40).to(memory_format=torch.channels_last),
        torch.randn(3),
        torch.tensor(2.0),
        torch.randn(600, 700, requires_grad=True),
    ],
    ids=["floats", "bfloat16", "bool", "complex", "strided", "channels last", "small", "scalar", "weight"],
)
def test_a_copy_is_as_the_tensor_and_of_memory_of_its_own(tensor):
    copy = copy_to_cpu(tensor)
    assert torch.equal(copy, tensor)
    assert copy.dtype == tensor.dtype
    assert not copy.requires_grad
    assert copy.stride() == tensor.detach().clone().stride()
    assert copy.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


def test_memory_is_used_again_once_nobody_holds_the_copy_and_not_before():
    source = torch.randn(1_000_000)
    first = copy_to_cpu(source)
    place = first.data_ptr()
    view, array = first[7:].view(-1), first.numpy()
    expected = view.clone()
    del first
    others = [copy_to_cpu(torch.zeros(1_000_000)) for _each in range(3)]
    assert place not in [other.data_ptr() for other in others]
    assert torch.equal(view, expected)
    assert (array[7:] == expected.numpy()).all()
    del view, array
    assert copy_to_cpu(source).data_ptr() == place


def test_memory_is_made_ready_for_the_next_copy_and_no_more_is_kept():
    tensors = [torch.randn(1_000_000), torch.randn(500_000), torch.randn(10)]
    keep_ready(tensors)
    assert sorted(len(block) for block in blocks._free) == [2_000_000, 4_000_000]
    copies = [copy_to_cpu(tensor) for tensor in tensors]
    assert not blocks._free
    more = [copy_to_cpu(tensors[0]) for _each in range(5)]
    del copies, more
    keep_ready(tensors[:1])
    assert [len(block) for block in blocks._free] == [4_000_000]


def test_a_change_of_a_large_model_does_not_wait_for_a_copy_of_it(make_run, weights, monkeypatch):
    run = make_run(batch_size=20, store=None)
    run.step(5)
    monkeypatch.setattr("nbopt.training.snapshots.securing._CHEAP_BYTES", 0)
    run.training.securing._due = time.perf_counter() + 1e6
    kept = len(run.snapshots)
    passed = {}
    for lr in (0.02, 0.01, 0.03):
        passed[run.step_count] = weights(run)
        run.set(lr=lr)
        run.step(2)
    assert len(run.snapshots) == kept
    end = weights(run)
    again = run.replay()
    again.wait(60)
    assert torch.equal(weights(again), end)
    for step in (9, 7, 5):
        run.rewind(step)
        assert torch.equal(weights(run), passed[step])
    assert run.exact is True


def test_a_change_of_a_small_model_can_be_undone_at_once(make_run):
    run = make_run(batch_size=20, store=None)
    run.step(5)
    run.set(lr=0.02)
    assert run.snapshots[-1].step == 5
