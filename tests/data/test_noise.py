import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nbopt.data.noise import EVALUATION, NOISE, ORDER, SPLIT, Noise, derive_seed

CPU = torch.device("cpu")


@given(st.integers(0, 2**70), st.integers(0, 2**40))
def test_the_streams_of_a_seed_differ_and_follow_from_it(seed, index):
    streams = [derive_seed(seed, stream, index) for stream in (ORDER, NOISE, SPLIT, EVALUATION)]
    assert len(set(streams)) == 4
    assert all(0 <= value < 2**63 for value in streams)
    assert streams == [derive_seed(seed, stream, index) for stream in (ORDER, NOISE, SPLIT, EVALUATION)]
    assert derive_seed(seed + 1, ORDER, index) != streams[0] != derive_seed(seed, ORDER, index + 1)


def test_what_is_drawn_follows_from_the_seed():
    noise = Noise(CPU)
    with noise.seeded(3):
        first = torch.rand(5)
    torch.rand(7)
    with noise.seeded(3):
        again = torch.rand(5)
    with noise.seeded(4):
        other = torch.rand(5)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_user_s_own_generator_notices_nothing():
    torch.manual_seed(0)
    undisturbed = torch.rand(6)
    torch.manual_seed(0)
    part = torch.rand(2)
    with Noise(CPU).seeded(3):
        torch.rand(100)
    assert torch.equal(torch.cat([part, torch.rand(4)]), undisturbed)


def test_an_error_inside_leaves_the_generator_as_it_was_and_others_free_to_go_on():
    before = torch.random.get_rng_state()
    with pytest.raises(ZeroDivisionError), Noise(CPU).seeded(3):
        torch.rand(3)
        _ = 1 / 0
    assert torch.equal(torch.random.get_rng_state(), before)

    def draw():
        with Noise(CPU).seeded(4):
            torch.rand(3)

    worker = threading.Thread(target=draw, daemon=True)
    worker.start()
    worker.join(10)
    assert not worker.is_alive()


def test_it_can_be_nested():
    noise = Noise(CPU)
    with noise.seeded(1):
        alone = torch.rand(4)
    with noise.seeded(1):
        half = torch.rand(2)
        with noise.seeded(2):
            torch.rand(3)
        assert torch.equal(torch.cat([half, torch.rand(2)]), alone)


def test_two_threads_do_not_draw_from_each_other_s_seed():
    def draw(seed):
        with Noise.lock, Noise(CPU).seeded(seed):
            return torch.cat([torch.rand(50) for _ in range(20)])

    alone = {seed: draw(seed) for seed in (1, 2)}
    same = []

    def work(seed):
        same.extend(torch.equal(draw(seed), alone[seed]) for _ in range(100))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(same) == 200 and all(same)
