"""Chunks captured as graphs: what a graph can hold, and what it does with a run's tensors. Needs no GPU."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from nbopt.techniques.losses.choice import LOSSES
from nbopt.techniques.optimizers.formulas import FORMULAS
from nbopt.training.compile.captured import RECORDERS, Captured, Shape
from nbopt.training.compile.compiled import Compiler
from nbopt.training.compile.layouts import Apart, Joined
from nbopt.training.compile.step import Arguments, CannotCompile, Layer, Signature, find_trained, make_chunk, stand_in
from tests.benchmarks.workloads import SMALL, Attentive, Recurrent, cnn
from tests.training import graphs
from tests.training.test_build import Branching
from tests.training.tiered import CHANGES, MORE, STEPS, pull, switches

captured = pytest.mark.parametrize("compiled", ["captured"], indirect=True)


@pytest.fixture
def recorded(monkeypatch):
    """Let graphs be recorded on the CPU, and return them."""
    made = []

    def record(work):
        made.append(graphs.record(work))
        return made[-1]

    monkeypatch.setitem(RECORDERS, "cpu", record)
    return made


@pytest.mark.parametrize(("model", "shape"), [(Recurrent, (5, 1)), (Attentive, (40, 1)), (cnn, (1, 28, 28))])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_captured_computes_what_the_model_does(make_run, recorded, model, shape, precision):
    torch.manual_seed(0)
    data = torch.randn(20, *shape), torch.randint(3, (20,))
    run = make_run(model(), data, optimizer="adam", batch_size=4, tier="eager", store=None, precision=precision)
    run.events()
    assert Compiler(run.training, 2).make().chunk  # which compares them
    assert len(recorded) == 1


@captured
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_no_slider_captures_again(make_tiered, compiled, recorded, optimizer):
    run = make_tiered(optimizer=optimizer)
    pull(run, 30)
    for change in CHANGES + MORE[optimizer]:
        run.set(**change)
        pull(run, run.step_count + 15)
    assert run.training.tiers.steps == compiled.steps
    assert len(recorded) == 2  # on copies, to see whether it computes the same, and on the run's own tensors


@captured
def test_a_run_taken_elsewhere_captures_its_new_tensors(make_tiered, compiled, recorded):
    run = make_tiered()
    pull(run, 60)
    assert len(recorded) == 2
    run.step(1)  # eagerly
    pull(run, 75)
    assert len(switches(run)) == 3
    assert len(recorded) == 2
    run.rewind(22)  # the optimizer's state is another one
    pull(run, 75)
    assert len(recorded) == 3


@captured
def test_what_cannot_be_captured_stays_eager_and_says_why(make_tiered, compiled):
    run = make_tiered(Branching(4, 3))
    pull(run, 20)
    assert run.tier.startswith("eager steps (it cannot be captured as a graph: RuntimeError: operation not permitted")
    assert not switches(run)


@captured
def test_auto_captures_nothing_before_it_was_measured(make_tiered, compiled, recorded, monkeypatch):
    monkeypatch.setattr("nbopt.training.step.mode._TRAINED_SECONDS", 0.0)
    run = make_tiered(tier="auto")
    pull(run, 30)
    assert not recorded
    assert "not tested on a GPU yet" in run.tier


@captured
def test_what_a_run_says_of_captured_steps(make_tiered, compiled):
    run = make_tiered()
    pull(run, 30)
    assert run.tier == f"captured as a graph, {STEPS} steps a launch"


def test_a_graph_that_cannot_be_recorded_leaves_its_tensors_alone(monkeypatch):
    def fail(work):
        work()
        raise RuntimeError("operation not permitted when stream is capturing\nand 20 lines more")

    monkeypatch.setitem(RECORDERS, "cpu", fail)
    with pytest.raises(CannotCompile, match=r"RuntimeError: operation not permitted when stream is capturing$"):
        Captured(lambda flat: [flat[0] + flat[1]], [torch.ones(3)], [Shape.of(torch.ones(3))])


class Counting(TorchDispatchMode):
    """Counts operations that are kernels on a GPU."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += not function.is_view
        return function(*args, **(kwargs or {}))


def example(model, optimizer, loss, device, steps=4, batch=64, size=64):
    """Return a chunk and its arguments on a device."""
    twin, names = stand_in(model.to(device))
    layers = [Layer(name, torch.ones(batch, size, device=device)) for name in names]
    signature = Signature(steps, batch, optimizer, type(loss), True, 1, (), True)
    formula = FORMULAS[optimizer]
    weights = [weight.detach().clone() for _name, weight in find_trained(twin)]
    numbers = len(formula.numbers(optimizer(model.parameters(), lr=0.1).param_groups[0], 1))
    target = torch.zeros(steps * batch, device=device)
    buffers = [buffer.clone() for name, buffer in twin.named_buffers() if not name.endswith("mask")]
    arguments = Arguments(
        weights,
        buffers,
        [],
        [torch.zeros_like(weight) for _key in formula.keys for weight in weights],
        torch.zeros(steps * batch, size, device=device),
        target.long(),
        [torch.ones(steps, batch, size, device=device) for _layer in layers],
        [],
        torch.zeros(steps, 1 + numbers, device=device),
    )
    return make_chunk(twin, loss, formula, layers, signature, ()), arguments.flat()


def test_a_captured_step_of_a_small_mlp_is_few_kernels():
    """One by one, the updates of its four tensors alone were 56 of 78."""
    chunk, flat = example(SMALL.model(), torch.optim.SGD, LOSSES["cross_entropy"](), "meta")  # not of a CPU
    with torch.no_grad(), Counting() as counting:
        chunk(flat)
    assert counting.count <= 4 * 34


@pytest.mark.parametrize("optimizer", FORMULAS)
def test_a_chunk_uses_no_tensors_of_another_device_and_reads_none(optimizer):
    """torch's meta device refuses both, as a GPU would."""
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.ReLU(), nn.Linear(64, 10))
    chunk, flat = example(model, optimizer, LOSSES["cross_entropy"](), "meta")
    with torch.no_grad():
        losses, outputs = chunk(flat)
    assert losses.device.type == outputs.device.type == "meta"


def test_joined_weights_are_updated_as_each_by_itself():
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3, 2, 2), (5, 7), (1, 1), (6,), (), (0,)]

    def draw():
        drawn = [torch.randn(shape, generator=generator) for shape in shapes]
        return [drawn[0].to(memory_format=torch.channels_last), drawn[1].T, *drawn[2:]]

    weights, gradients, l1 = draw(), draw(), torch.tensor(0.3)
    apart, joined = Apart(), Joined(weights)
    expected = apart.penalize(apart.join(gradients), apart.join(weights), l1)
    got = joined.cut(joined.penalize(joined.join(gradients), joined.join(weights), l1))
    for one, other, weight in zip(expected, got, weights, strict=True):
        torch.testing.assert_close(other, one)
        assert other.stride() == weight.stride() or weight.numel() < 2
    assert torch.equal(joined.cut(joined.join(weights))[0], weights[0])
