"""What a thread draws comes from its own generator, by whatever operation."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from nbopt.data import noise, thread_generator
from nbopt.data.noise import Noise
from nbopt.data.thread_generator import DRAWING, install, switch, within_mode

X = torch.linspace(-2, 2, 30).reshape(5, 6)
SHARES = torch.sigmoid(X)


def fork():
    with torch.random.fork_rng():
        return torch.rand(3)


def twice():
    state = torch.get_rng_state()
    first = torch.rand(3)
    torch.set_rng_state(state)
    return first + torch.rand(3)


def drawn(seed):
    noise = Noise(torch.device("cpu"))
    with noise.lock, noise.seeded(seed):
        return torch.rand(3)


def checkpointed():
    layer, x = nn.Linear(6, 6), X.clone().requires_grad_()
    y = checkpoint(lambda part: functional.dropout(layer(part)), functional.dropout(x), use_reentrant=False)
    y.sum().backward()
    return x.grad


class Passing(TorchDispatchMode):
    """Sees every operation, and does it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        with within_mode():
            return func(*args, **(kwargs or {}))


def in_a_mode():
    with Passing():
        return torch.cat([torch.rand_like(X).flatten(), torch.randn(2), torch.randperm(3), functional.dropout(X[0])])


DRAWS = {
    "rand": lambda: torch.rand(3),
    "rand into": lambda: torch.rand(3, out=torch.empty(3)),
    "rand_like": lambda: torch.rand_like(X),
    "default given": lambda: torch.rand(3, generator=torch.default_generator),
    "default given in its place": lambda: torch.rrelu(X, 0.1, 0.3, True, torch.default_generator),
    "complex": lambda: torch.randn(3, dtype=torch.complex64),
    "randint": lambda: torch.randint(9, (3,)),
    "randint_like": lambda: torch.randint_like(X, 9),
    "randn_like": lambda: torch.randn_like(X),
    "randperm": lambda: torch.randperm(9),
    "random_": lambda: torch.empty((), dtype=torch.int64).random_(),
    "normal": lambda: torch.normal(X, SHARES),
    "exponential_": lambda: torch.empty(3).exponential_(),
    "bernoulli": lambda: torch.bernoulli(SHARES),
    "multinomial": lambda: torch.multinomial(SHARES, 2),
    "poisson": lambda: torch.poisson(SHARES),
    "binomial": lambda: torch.binomial(SHARES.round() + 1, SHARES),
    "gamma": lambda: torch.distributions.Gamma(SHARES, 1.0).sample(),
    "dirichlet": lambda: torch.distributions.Dirichlet(SHARES).sample(),
    "dropout": lambda: functional.dropout(X),
    "dropout of 16 bits": lambda: functional.dropout(X.bfloat16()),
    "dropout2d": lambda: functional.dropout2d(X[None, None]),
    "alpha_dropout": lambda: functional.alpha_dropout(X, 0.3, True),
    "rrelu": lambda: functional.rrelu(X, training=True),
    "gumbel_softmax": lambda: functional.gumbel_softmax(X),
    "attention": lambda: functional.scaled_dot_product_attention(X[None], X[None], X[None], dropout_p=0.5),
    "LSTM": lambda: nn.LSTM(6, 4, 2, dropout=0.5)(X)[0],
    "transformer": lambda: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.5)(X[None]),
    "pooling": lambda: nn.FractionalMaxPool2d(2, output_size=2)(X[None]),
    "weights": lambda: nn.Linear(3, 3).weight,
    "vmap": lambda: torch.func.vmap(functional.dropout, randomness="different")(X),
    "grad": lambda: torch.func.grad(lambda x: functional.dropout(x).sum())(X),
    "script": lambda: torch.jit.script(nn.Sequential(nn.Dropout(0.5)))(X),
    "seeded within": lambda: (torch.manual_seed(9), torch.rand(3))[1],
    "state": torch.get_rng_state,
    "fork_rng": fork,
    "put back": twice,
    "checkpoint": checkpointed,
    "mode": in_a_mode,
}


@pytest.fixture
def own():
    """Give this thread a generator of its own, and take it away again."""
    assert install()
    yield torch.Generator()
    switch(None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("draw", DRAWS)
def test_the_numbers_are_the_default_generator_s_which_notices_nothing(own, draw):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = DRAWS[draw]()
        before = torch.get_rng_state()
        switch(own)
        torch.manual_seed(5)
        drawn = DRAWS[draw]()
        switch(None)
        assert torch.equal(drawn, expected)
        assert torch.equal(torch.get_rng_state(), before)


def test_all_operations_of_torch_that_take_a_generator_are_known():
    schemas = torch._C._jit_get_all_schemas()
    drawing = {each.name for each in schemas if any(argument.name == "generator" for argument in each.arguments)}
    drawing = {name.removeprefix("aten::") for name in drawing if name.startswith("aten::")}
    assert {name for name in drawing if not name.startswith("_no_grad_")} <= set(DRAWING)


def test_other_threads_draw_from_the_default_generator(own):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        switch(own)
        drawn = []
        thread = threading.Thread(target=lambda: drawn.append(torch.rand(3)))
        thread.start()
        thread.join(10)
        torch.rand(3)
        switch(None)
    assert torch.equal(drawn[0], expected)


@pytest.mark.parametrize("missing", ["_dispatch_key_parse", "_dispatch_keyset_full_after"])
def test_where_torch_has_other_names_the_default_generator_is_seeded_itself(monkeypatch, missing):
    with Noise(torch.device("cpu")).seeded(3):
        expected = torch.rand(3)
    monkeypatch.setattr(thread_generator, "_LIBRARIES", [])
    monkeypatch.delattr(torch._C, missing)
    before = torch.get_rng_state()
    plain = noise.Noise(torch.device("cpu"))
    assert plain.generator is None
    with plain.seeded(3):
        assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_process_forked_in_a_block_draws_from_the_default_generator(own):
    switch(own)
    loader = torch.utils.data.DataLoader(_Drawn(), num_workers=1, worker_init_fn=_seed)
    drawn = next(iter(loader))
    switch(None)
    expected = torch.rand(1, generator=torch.Generator().manual_seed(8))
    assert torch.equal(drawn[0], expected)


class _Drawn(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return torch.rand(1)


def _seed(_worker):
    torch.default_generator.manual_seed(8)


def test_an_interrupt_within_the_switch_costs_no_later_block_its_seed(monkeypatch):
    expected = drawn(3)
    try:
        monkeypatch.setattr(thread_generator._OWN, "generator", torch.Generator())  # and the next line was not reached
        assert torch.equal(drawn(3), expected)
        assert torch.equal(drawn(3), expected)
    finally:
        switch(None)
