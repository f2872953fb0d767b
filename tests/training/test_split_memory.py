"""Steps and validations that run out of memory go on in parts, and leave no trace."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from nbopt import Run
from tests.training.parts import RARE, X, Y, net, own_mean, own_sum

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("loss", [own_mean, own_sum])
def test_what_was_found_survives_a_rewind_and_a_replay(loss):
    model = net()
    run = Run(model, (X, RARE), loss=loss, batch_size=16, micro_batch=4, lr=0.01, epochs=9, store=None)
    run.step(9)
    weights = model[0].weight.detach().clone()
    run.rewind(3)
    run.step(6)
    assert torch.equal(model[0].weight, weights)
    twin = run.replay()
    twin.wait(60)
    assert torch.equal(twin.model[0].weight, weights)


# -- memory


class Hungry(nn.Module):
    """Raises what a GPU's allocator raises for more samples than fit."""

    def __init__(self, fits, modes=(True, False)):
        super().__init__()
        self.fits, self.modes = fits, modes

    def forward(self, x):
        if self.training in self.modes and len(x) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return x


class Counter(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.calls += 1
        return x


class Observer(nn.Module):
    """Has a place in its buffer for each call, as observers of quantization make theirs as long as they need."""

    def __init__(self):
        super().__init__()
        self.register_buffer("largest", torch.zeros(0))

    def forward(self, x):
        if self.training:
            self.largest.resize_(len(self.largest) + 1)[-1] = x.detach().max()
        return x


def test_a_step_that_ran_out_of_memory_leaves_no_trace_in_buffers():
    def make():
        hungry = Hungry(10**9)
        layers = nn.BatchNorm1d(3), Counter(), Observer(), hungry
        run = Run(net(*layers), (X, Y), batch_size=16, lr=0.01, epochs=30, store=None)
        run.step(5)
        return run, hungry

    run, hungry = make()
    hungry.fits = 10
    run.step(9)
    assert [(entry.step, entry.new) for entry in run.journal if entry.name == "micro_batch"] == [(5, 8)]
    twin, _hungry = make()
    twin.set(micro_batch=8)
    twin.step(9)
    hungry.fits = 10**9
    again = run.replay()
    again.wait(60)
    for other in (twin, again):
        for name, tensor in run.model.state_dict().items():
            assert torch.equal(other.model.state_dict()[name], tensor), name


def test_a_validation_that_runs_out_of_memory_goes_on_in_parts():
    runs = [
        Run(net(Hungry(fits, (False,))), (X, RARE), (X, RARE), metrics=["accuracy"], epochs=2, lr=0.01, store=None)
        for fits in (10**9, 5)
    ]
    for run in runs:
        run.fit()
    whole, parts = runs
    for name in ("val_loss", "val_accuracy"):
        assert parts.history[name][1].tolist() == pytest.approx(whole.history[name][1].tolist(), rel=1e-6)
    told = [entry.new for entry in parts.journal if entry.name == "note"]
    assert [text.partition(" samples")[0].rpartition(" ")[2] for text in told] == ["16", "8", "4"]


def spread(output, target):
    return (output - output.mean(0)).square().sum() + functional.cross_entropy(output, target)


def both(model, batch):
    return {"scores": model(batch[0]), "of": (model(batch[0]), None)}, batch[1]


def spread_of_both(output, target):
    return spread(output["scores"], target) + output["of"][0].mean()


@pytest.mark.parametrize(
    "settings",
    [{"loss": own_sum}, {"loss": own_mean}, {"loss": spread}, {"loss": spread_of_both, "forward": both}],
    ids=["sum", "mean", "spread", "tree"],
)
def test_a_loss_of_one_s_own_is_measured_of_the_whole_batch_after_that(settings):
    val = DataLoader(TensorDataset(X, RARE), batch_size=16)
    runs = [Run(net(Hungry(fits, (False,))), (X, Y), val, epochs=2, store=None, **settings) for fits in (10**9, 5)]
    whole, parts = (run.fit().history["val_loss"][1].tolist() for run in runs)
    assert parts == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", own_mean], ids=["named", "own"])
def test_a_validation_of_samples_that_are_compared_with_each_other_is_not_done_in_parts(loss):
    def near(model, batch):
        return model(batch[0]) @ model(batch[0]).T, torch.arange(len(batch[0]))

    run = Run(net(Hungry(5, (False,))), (X, Y), (X, Y), loss, forward=near, epochs=1, store=None)
    with pytest.raises(ValueError, match=r"val: memory ran out, .* give it as a DataLoader of smaller batches"):
        run.fit()


def test_a_single_sample_that_does_not_fit_is_an_error():
    run = Run(net(Hungry(0, (False,))), (X, Y), (X, Y), epochs=1, store=None)
    with pytest.raises(torch.OutOfMemoryError):
        run.fit()
