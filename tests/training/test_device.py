import mmap

import pytest
import torch

from nbopt.errors import UnknownName
from nbopt.training.device import describe, fits, memory_in_use, pick_device

CPU = torch.device("cpu")


def test_auto_takes_the_best_there_is_and_says_why():
    device = pick_device()
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert device.torch.type == expected
    assert device.reason


def test_the_one_asked_for_is_taken():
    assert pick_device("cpu") == (CPU, "as requested")
    assert pick_device(CPU).torch == CPU


@pytest.mark.parametrize("requested", ["gpu", "cpux", 3.5, None])
def test_what_is_no_device_is_told_in_words(requested):
    with pytest.raises(UnknownName, match=r"unknown device .* Allowed: auto, cpu, cuda, mps"):
        pick_device(requested)


def test_a_device_that_is_not_there_is_told_with_the_way_out():
    with pytest.raises(ValueError, match=r'device="cuda:77" is not on this machine. Use device="auto" or "cpu"'):
        pick_device("cuda:77")


def test_everything_fits_on_the_cpu():
    assert fits(2**60, CPU)


@pytest.mark.parametrize(("threads", "text"), [(1, "CPU, 1 thread"), (2, "CPU, 2 threads")])
def test_a_device_is_called_what_people_call_it(monkeypatch, threads, text):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert describe(CPU) == text


def test_memory_in_use_grows_with_what_is_allocated():
    before = memory_in_use(CPU)
    if before is None:
        pytest.skip("this system does not tell")
    # The allocator may hold as much as a tensor asks for from tests before this one, so the block is mapped anew.
    block = torch.frombuffer(mmap.mmap(-1, 2**26), dtype=torch.uint8).fill_(1)
    assert memory_in_use(CPU) - before > block.nbytes / 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_cuda_is_deterministic_and_leaves_the_user_s_generators_alone(make_run, mlp, blobs, weights):
    runs = []
    for _ in range(2):
        run = make_run(mlp(dropout=0.5), val=blobs, epochs=3, device="cuda")
        torch.cuda.manual_seed(len(runs))
        before = torch.cuda.get_rng_state()
        runs.append(run.fit())
        assert torch.equal(torch.cuda.get_rng_state(), before)
    assert torch.equal(weights(runs[0]), weights(runs[1]))
    assert next(runs[0].model.parameters()).device.type == "cuda"
