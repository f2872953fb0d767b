"""Metrics of whole runs: what is warned of, what is refused before the first step, what is measured in between."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbopt import Run

pytestmark = pytest.mark.usefixtures("one_torch_thread")

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(60, 4, generator=GENERATOR)
Y = (X[:, 0] > 0).float()[:, None]
CLASSES = torch.arange(60) % 3


def binary(*end):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 1), *end)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", nn.BCEWithLogitsLoss()])
def test_a_sigmoid_before_a_loss_that_applies_one_is_said(loss):
    run = Run(binary(nn.Sigmoid()), (X, Y), (X, Y), loss, metrics="accuracy", epochs=1, store=None)
    with pytest.warns(UserWarning, match="ends in a sigmoid or softmax, and the loss applies one again"):
        run.fit()
    shown = run.history.last("val_accuracy")
    assert shown == pytest.approx(float(((run.model(X) > 0.5) == Y.bool()).float().mean()))
    assert [entry.name for entry in run.journal if entry.name == "note"] == ["note"]


def test_a_softmax_before_cross_entropy_is_said():
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
    with pytest.warns(UserWarning, match="expects raw scores"):
        Run(model, (X, CLASSES), epochs=1, store=None).fit()


@pytest.mark.parametrize(
    ("end", "loss"), [((nn.Sigmoid(),), nn.BCELoss()), ((), nn.BCEWithLogitsLoss()), ((nn.Sigmoid(),), "mse")]
)
def test_other_ends_are_not(end, loss):
    run = Run(binary(*end), (X, Y), loss=loss, epochs=1, store=None).fit()
    assert not [entry for entry in run.journal if entry.name == "note"]


def test_a_model_that_returns_its_loss_has_no_metrics_before_the_first_step():
    class Scored(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, batch):
            return functional.cross_entropy(self.layer(batch[0]), batch[1])

    options = {"forward": lambda net, batch: (net(batch), batch[1]), "loss": lambda output, _labels: output}
    run = Run(Scored(), (X, CLASSES), (X, CLASSES), metrics="accuracy", store=None, **options)
    with pytest.raises(ValueError, match="metric accuracy: there is nothing to measure in a single number"):
        run.fit()
    assert run.step_count == 0
    Run(Scored(), (X, CLASSES), (X, CLASSES), epochs=1, store=None, **options).fit()


def test_losses_made_of_gradients_by_inputs_are_validated_with_a_graph():
    def forward(net, batch):
        points = batch[0].detach().clone().requires_grad_()
        value = net(points)
        (slope,) = torch.autograd.grad(value.sum(), points, create_graph=True)
        return slope[:, :1] + value, torch.zeros_like(value)

    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    run = Run(model, (X, Y), (X, Y), "mse", forward=forward, metrics="mae", lr=0.01, epochs=2, store=None).fit()
    output, target = forward(model, (X, Y))
    assert run.history.last("val_loss") == pytest.approx(functional.mse_loss(output, target).item(), rel=1e-5)
    assert run.history.last("val_mae") == pytest.approx(output.abs().mean().item(), rel=1e-5)


def test_an_output_of_several_tensors_goes_whole_to_a_function():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 1)

        def forward(self, x):
            return {"digit": self.a(x), "angle": self.b(x)}

    def hits(output, target):
        return (output["digit"].argmax(1) == target).float().mean()

    def loss(output, target):
        return functional.cross_entropy(output["digit"], target) + output["angle"].square().mean()

    model = Two()
    run = Run(model, (X, CLASSES), (X, CLASSES), loss, metrics=[hits], epochs=2, store=None).fit()
    assert run.history.last("val_hits") == pytest.approx(float(hits(model(X), CLASSES)))
    run.rewind(1)


def test_a_branch_reads_outputs_as_its_parent_does():
    model = binary(nn.Sigmoid())
    options = {"loss": lambda o, t: functional.binary_cross_entropy(o, t), "metrics": "accuracy", "store": None}
    run = Run(model, (X, Y), (X, Y), batch_size=60, **options)
    run.step(1)
    twin = run.branch(at=1)
    twin.step(1)
    by_hand = float(((twin.model(X) > 0.5) == Y.bool()).float().mean())
    assert twin.history.last("val_accuracy") == pytest.approx(by_hand)


def test_probabilities_worked_out_by_hand_are_told_of():
    class ByHand(nn.Linear):
        def forward(self, x):
            return 1 / (1 + torch.exp(-super().forward(x)))

    def loss(output, target):
        return -(target * output.log() + (1 - target) * (1 - output).log()).mean()

    with pytest.warns(UserWarning, match="these all lie within 0 and 1: where they are probabilities"):
        Run(ByHand(4, 1), (X, Y), (X, Y), loss, metrics="accuracy", epochs=1, store=None).fit()


def test_labels_that_a_loss_leaves_out_are_left_out_in_training_validation_and_script():
    labels = CLASSES.clone()
    labels[::4] = 255

    def loss(output, target):
        return functional.cross_entropy(output, target, ignore_index=255)

    torch.manual_seed(0)
    run = Run(nn.Linear(4, 3), (X, labels), (X, labels), loss, metrics="accuracy", epochs=3, store=None).fit()
    kept = labels != 255
    by_hand = float((run.model(X).argmax(1) == labels)[kept].float().mean())
    assert run.history.last("val_accuracy") == pytest.approx(by_hand)
    assert "# The metric accuracy is left out: labels 255 are ignored" in run.to_python()


@pytest.mark.parametrize(("width", "kept"), [(1000, 8), (20_000, 1)])
def test_of_large_outputs_only_the_last_are_kept_for_metrics_and_snapshots(width, kept):
    torch.manual_seed(0)
    model, seen = nn.Linear(4, width), []

    def mean(output, _target):
        seen.append(output)
        return float(output.mean())

    run = Run(model, (X, torch.zeros(60, width)), loss="mse", metrics=mean, batch_size=10, epochs=3, store=None)
    run.step(6)  # an epoch, and what it measures
    assert [len(output) for output in seen] == [10 * min(kept, 6)]
    assert run.history.last("mean") == float(seen[0].mean())
    run.step(5)
    run.set(epochs=4)  # before a change, a snapshot is taken
    tensors = run.snapshots[-1].tensors
    assert run.snapshots[-1].step == 11
    assert sum(name.startswith("recent.") and name.endswith(".output") for name in tensors) == min(kept, 5)


def test_what_returns_no_number_is_told_so():
    def matrix(output, target):
        return output.T @ output

    run = Run(nn.Linear(4, 3), (X, CLASSES), (X, CLASSES), metrics=[matrix], epochs=1, store=None)
    with pytest.warns(UserWarning, match=r"metric val_matrix is not a number: .* one number; got \(3, 3\) float32"):
        run.fit()


def test_a_script_leaves_out_what_it_would_read_otherwise():
    run = Run(binary(nn.Sigmoid()), (X, Y), (X, Y), nn.BCELoss(), metrics=["accuracy", "mae"], epochs=1, store=None)
    for text in (run.to_python(), run.fit().to_python()):
        assert "# The metric accuracy is left out: the outputs are probabilities" in text
        assert "def mae" in text


def test_metrics_of_complex_outputs_are_the_users_own():
    torch.manual_seed(0)
    x, y = torch.randn(60, 4, dtype=torch.cfloat), torch.randn(60, 3, dtype=torch.cfloat)
    model = nn.Linear(4, 3, dtype=torch.cfloat)
    distance = {"distance": lambda output, target: (output - target).abs().mean()}
    run = Run(model, (x, y), (x, y), lambda o, t: (o - t).abs().square().mean(), metrics=distance, epochs=2, store=None)
    run.fit()
    assert run.history.last("val_distance") == pytest.approx(float((run.predict(x) - y).abs().mean()), rel=1e-5)
