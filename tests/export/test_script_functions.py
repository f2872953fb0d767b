"""A script holds the functions and classes of the user's, under names that hide nothing."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbopt
from tests.export import scripts
from tests.export.scripts import is_tidy

make, follow, check = scripts.make, scripts.follow, scripts.check


SLOPE = 0.1


def half(value):
    return value / 2


def leaky(output, target):
    """Be a loss with a helper, a constant and a module."""
    penalty = SLOPE * torch.mean(output**2) / math.sqrt(4)
    return half(functional.cross_entropy(output, target)) + penalty


def swapped(model, batch):
    x, y = batch
    return model(x), y


def alone(model, batch):
    return model(batch[:, :4]), batch[:, 4].long()


def confidence(output, target):
    return output.softmax(1).amax(1).mean()


def test_functions_of_the_users_are_written_out(mlp, blobs):
    settings_ = {"loss": leaky, "forward": swapped, "metrics": [confidence, "accuracy"], "epochs": 3, "batch_size": 20}
    run, initial = make(mlp(), blobs, blobs, **settings_)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert largest == 0.0
    assert "def half" in text
    assert "SLOPE = 0.1" in text
    assert is_tidy(text)


def step(model, batch):
    """Return outputs and targets, under a name of the script."""
    return model(batch[0]), batch[1]


def loss(output, target):
    """Be a loss under a name of the script."""
    if output.ndim == 1:
        return loss(output[None], target)
    return functional.cross_entropy(output, target)


def test_what_has_a_name_that_the_script_hides_gets_another_one(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, loss=loss, forward=step, epochs=2)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert "def own_step(model, batch)" in text
    assert largest == 0.0
    assert is_tidy(text)


def full(model, batch):
    return model(batch[0]), batch[1]


class Waited(nbopt.Technique):
    """A technique that is called as a variable of a script is, though not of this one."""

    decay = nbopt.Float(0.1, low=0.0, high=1.0, label="Decay", group="Regularization")

    @torch.no_grad()
    def after_step(self, loss):
        for weight in self.weights:
            weight.mul_(1 - self.decay)


def test_what_has_a_name_of_what_the_script_leaves_out_stays(mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, forward=full, techniques=[Waited], epochs=2)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert "own_full(model, batch)" in text
    assert "waited_technique.after_step" in text
    assert largest == 0.0
    assert is_tidy(text)


class Part(Waited):
    """One that is called as a variable of the lines that stand for another technique."""


class Seen(Waited):
    """One that is called as a variable of the lines of a loss."""


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Part, {"micro_batch": 7}),
        (Seen, {"loss": ["cross_entropy", (0.5, "hinge")], "balance": "uncertainty"}),
        (Part, {}),
    ],
    ids=["batches in parts", "terms that are balanced", "nothing of that name"],
)
def test_a_technique_has_no_name_of_the_lines_of_others(mlp, blobs, kind, settings):
    run, initial = make(mlp(), blobs, blobs, techniques=[kind], epochs=2, batch_size=20, **settings)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert f"{kind.__name__.lower()}{'_technique' * bool(settings)}.after_step" in text
    assert largest == 0.0


def test_samples_in_a_single_array(mlp, blobs):
    data = torch.cat([blobs[0], blobs[1][:, None].float()], 1)
    run, initial = make(mlp(), data, data, forward=alone, epochs=3, batch_size=20)
    assert check(follow(run, {}), initial, data, data)[1] == 0.0


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(label_smoothing=0.1), functional.cross_entropy])
def test_losses_of_torchs(loss, mlp, blobs):
    run, initial = make(mlp(), blobs, blobs, loss=loss, epochs=2)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert largest == 0.0
    assert is_tidy(text)


def test_what_cannot_be_written_out_is_an_argument(mlp, blobs):
    teacher = mlp(seed=3)

    def distilled(output, target):
        return functional.cross_entropy(output, target) + (output - teacher(blobs[0][: len(output)])).square().mean()

    def with_teacher(model, batch):
        return model(batch[0]) + teacher(batch[0]), batch[1]

    run, initial = make(mlp(), blobs, blobs, loss=[distilled, "cross_entropy"], forward=with_teacher, epochs=2)
    text = follow(run, {}).to_python()
    assert "``loss`` is what the run was given: distilled uses teacher: Sequential has" in text
    assert is_tidy(text)
    given = {"loss": distilled, "forward": with_teacher}
    assert scripts.compare(run, scripts.execute(text, initial, blobs, blobs, **given), initial) == 0.0


def test_values_that_functions_were_made_with_are_written_out(mlp, blobs):
    weight, limit, kind = torch.tensor([1.0, 2.0, 0.5]), 0.5, torch.float64

    def sure(output, target):
        return (output.to(kind).softmax(1).amax(1) > limit).float().mean()

    loss = lambda output, target: functional.cross_entropy(output, target, weight)  # noqa: E731
    metrics = {"sure": sure, "highest": lambda output, target: output.amax()}
    run, initial = make(mlp(), blobs, blobs, loss=loss, metrics=metrics, epochs=2)
    text, largest = check(follow(run, {}), initial, blobs, blobs)
    assert largest == 0.0
    assert "limit = 0.5" in text
    assert is_tidy(text)


def test_a_metric_that_cannot_be_written_out_is_left_out(mlp, blobs):
    model = mlp()
    run, initial = make(mlp(), blobs, blobs, metrics={"far": lambda output, target: model(blobs[0]).mean()}, epochs=2)
    text = follow(run, {}).to_python()
    assert "# The metric far is left out" in text
    assert scripts.execute(text, initial, blobs, blobs)["val_loss"] == run.history["val_loss"][1].tolist()
