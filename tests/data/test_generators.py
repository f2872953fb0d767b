import json
import random

import numpy as np
import pytest
import torch

from nbopt.data.generators import from_json, get_state, seed, set_state, to_json

MAKERS = {
    "torch": lambda: torch.Generator().manual_seed(3),
    "random": lambda: random.Random(3),
    **{
        name: lambda name=name: np.random.Generator(getattr(np.random, name)(3))
        for name in ("PCG64", "MT19937", "Philox", "SFC64")
    },
    "RandomState": lambda: np.random.RandomState(3),
}


def draw(generator):
    if isinstance(generator, torch.Generator):
        return torch.randn(3, generator=generator).tolist()
    if isinstance(generator, random.Random):
        return [generator.gauss(0, 1) for _ in range(3)]
    return [generator.normal() for _ in range(3)]


@pytest.mark.parametrize("kind", MAKERS)
def test_a_state_can_be_put_back_also_after_it_was_written_down(kind):
    generator, other = MAKERS[kind](), MAKERS[kind]()
    draw(generator)
    state = get_state(generator)
    expected = draw(generator)
    set_state(generator, state)
    assert draw(generator) == expected
    set_state(other, from_json(json.loads(json.dumps(to_json(state)))))
    assert draw(other) == expected


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_drawn_follows_from_the_seed(kind):
    generator, other = MAKERS[kind](), MAKERS[kind]()
    draw(generator)
    results = []
    for each, number in ((generator, 2**62 + 5), (other, 2**62 + 5), (other, 6)):
        seed(each, number)
        results.append(draw(each))
    assert results[0] == results[1] != results[2]
