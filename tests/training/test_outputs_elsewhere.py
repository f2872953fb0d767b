"""Several outputs where memory runs out, in other types, with losses that have weights, and with inputs by name."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbopt
from nbopt import Run
from tests.training.outputs import FORMS, LOSS, LOSSES, Net, assert_same, data, make, replayed

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Greedy(nn.Module):
    """Runs out of memory for more samples at once than fit."""

    def __init__(self, fits, training):
        super().__init__()
        self.inner, self.fits, self.greedy = Net(), fits, training

    def forward(self, x):
        if self.training is self.greedy and len(x) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return self.inner(x)


def far(output, target):
    return (output[:, 0] - target).abs().max()  # of a part, not what it is of the whole


@pytest.mark.parametrize(
    ("training", "loss"),
    [(True, LOSS), (False, LOSS), (False, {**LOSS, "angle": (0.3, far)})],
    ids=["training", "validation", "validation of what parts do not add up to"],
)
def test_where_memory_runs_out_the_curves_are_those_of_enough_memory(training, loss):
    run, free = (make(net=Greedy(fits, training), loss=loss) for fits in (5, 100))
    for each in (run, free):
        each.fit()
    if training:
        assert run.hyperparams["micro_batch"] == 4
    assert set(run.history.names) == set(free.history.names)
    for name in free.history.names:
        assert run.history[name][1].tolist() == pytest.approx(free.history[name][1].tolist(), abs=1e-5), name


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_in_16_bits_the_losses_still_add_up(precision):
    run = make(precision=precision)
    run.fit()
    total = run.history["digit_loss"][1] + 0.3 * run.history["angle_loss"][1]
    assert total.tolist() == pytest.approx(run.history["loss"][1].tolist(), rel=1e-2)
    assert run.predict(data()[0])["digit"].dtype == torch.float32


class Scaled(nn.Module):
    """A loss with weights of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, output, target):
        return functional.cross_entropy(output * self.scale, target)


def test_the_weights_of_an_output_s_loss_are_trained_too():
    run = make(loss={"digit": Scaled(), "angle": "mse"})
    run.fit()
    assert "loss.digit.scale" in run.material.parameters
    assert not torch.equal(run.material.parameters["loss.digit.scale"], torch.ones(3))
    assert_same(replayed(run), run)
    branch = run.branch(3)
    branch.fit()
    assert_same(branch, run)


@pytest.mark.parametrize("given", ["mapping", "list"])
def test_what_a_term_reads_from_around_it_and_nothing_trains_is_told(given):
    teacher = nn.Linear(3, 3)

    def distant(output, target):
        return functional.cross_entropy(teacher(output), target)

    x, digit, _angle = data()
    with pytest.warns(UserWarning, match="teacher, which loss or forward use, has weights that get gradients"):
        if given == "mapping":
            make(loss={"digit": distant, "angle": "mse"}).step(1)
        else:
            Run(nn.Linear(5, 3), (x, digit), loss=["cross_entropy", distant], device="cpu", store=None).step(1)


def test_learning_rates_are_found_for_all_outputs_at_once():
    run = make()
    sweep = run.find_lr(steps=12)
    assert len(sweep.losses) == 12 and run.step_count == 0


def test_outputs_by_position_are_stored_and_written_as_such(tmp_path):
    x, digit, angle = data()
    given = (x, (digit, angle))
    settings = {"loss": LOSSES["tuple"], "metrics": {0: ["accuracy"], 1: ["mae"]}}
    run = make("tuple", given, store=tmp_path, **settings)
    run.step(4)
    again = nbopt.open(run.id, Net(FORMS["tuple"]), given, given, store=tmp_path)
    again.fit()
    assert again.hyperparams["loss"] == "0: cross_entropy, 1: mse"
    text = again.to_yaml()
    assert "loss: {0: cross_entropy, 1: mse}\n" in text and "metrics: {0: [accuracy], 1: [mae]}\n" in text
    other = Run.from_yaml(text, Net(FORMS["tuple"]), given, given, device="cpu", store=None)
    other.fit()
    assert_same(other, again)


class OfTwo(nn.Module):
    """Takes two inputs by name."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.digit, self.angle = nn.Linear(5, 3), nn.Linear(5, 1)

    def forward(self, inputs):
        return {"digit": self.digit(inputs["left"]), "angle": self.angle(inputs["right"])}


def by_name():
    x, digit, angle = data()
    return {"left": x, "right": x.flip(0)}, {"digit": digit, "angle": angle}


def test_inputs_may_have_names_too():
    run = make(net=OfTwo(), train=by_name())
    run.fit()
    inputs, _targets = by_name()
    output = run.predict(inputs)
    assert output["digit"].shape == (24, 3)
    torch.testing.assert_close(run.predict(by_name())["angle"], output["angle"])
    assert_same(replayed(run), run)


def test_what_acts_on_inputs_says_that_it_takes_one():
    with pytest.raises(ValueError, match=r"need batches \(x, y\), x a tensor: set them to none"):
        make(net=OfTwo(), train=by_name(), input_noise=0.1).fit()
    with pytest.warns(UserWarning, match="scaling: it learns from training samples in memory, one tensor of them"):
        make(net=OfTwo(), train=by_name(), scaling="standardize").step(1)


def test_images_of_bytes_become_floats_batch_by_batch():
    x, digit, angle = data()
    images = (50 * x + 100).clamp(0, 255).byte().numpy()
    run = make(train=(images, {"digit": digit.numpy(), "angle": angle.numpy()}))
    run.step(1)
    assert run.converted == "uint8 data became float32 batch by batch"
    assert run.training.cursor.source.columns[0].dtype == torch.uint8
