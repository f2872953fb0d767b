"""Distillation: losses as the papers have them, teachers of every kind, and what does not go, in words."""

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbopt
from nbopt.techniques.compression.distill import Distill
from nbopt.techniques.compression.hidden import attention_loss, feature_loss
from nbopt.testing import check_technique
from tests.export.scripts import is_tidy

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def net(width=4, classes=3, seed=0):
    torch.manual_seed(seed)
    conv = nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU()
    return nn.Sequential(*conv, nn.Flatten(), nn.Linear(4 * width, classes))


def teacher(classes=3):
    return net(8, classes, seed=5)


def dense(width, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, width), nn.ReLU(), nn.Linear(width, 3))


def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(24) % 3
    return torch.randn(24, 1, 6, 6, generator=generator) + y.view(-1, 1, 1, 1), y


def make(*techniques, model=None, **settings):
    settings = {"lr": 0.05, "optimizer": "sgd", "batch_size": 8, "epochs": 4, "store": None, **settings}
    return nbopt.Run(model or net(), data(), data(), device="cpu", techniques=techniques, **settings)


ALL = {"distill_weight": 0.3, "attention_weight": 2.0, "feature_weight": 0.5}
CONTRACT = {
    "soft": (lambda: Distill(teacher()), net, {"distill_weight": 0.7}, {"temperature": 2.0}, {}),
    "augmented": (lambda: Distill(teacher()), net, {"distill_weight": 0.7}, {"temperature": 2.0}, {"flip": 0.2}),
    "several": (
        lambda: Distill([teacher(), net(6, seed=3)]),
        net,
        {"distill_weight": 1.0},
        {"distill_weight": 0.2},
        {"sparsity": 0.5, "weight_bits": 4},
    ),
    "all of it": (lambda: Distill(teacher()), net, ALL, {"feature_weight": 5.0}, {"optimizer": "adam", "lr": 0.01}),
    "layers by name": (
        lambda: Distill(dense(16, 5), layers={"1": "2"}),
        lambda: dense(6),
        {"distill_weight": 0.0, "feature_weight": 1.0},
        {"feature_weight": 3.0, "distill_weight": 0.5},
        {"micro_batch": 3, "precision": "bfloat16"},
    ),
}
OFF = {"distill_weight": 0.0}


@pytest.mark.parametrize("name", CONTRACT)
def test_it_keeps_the_promises_of_every_technique(name):
    technique, model, values, change, settings = CONTRACT[name]
    check_technique(technique(), values, change, model=model, data=data(), **OFF, **settings)


def soft_loss(output, target, said, weight, temperature):
    """Return the loss of Hinton et al. 2015, section 2, as an author's loop has it."""
    soft = functional.softmax(said / temperature, 1)
    own = functional.softmax(output / temperature, 1)
    divergence = (soft * (soft.log() - own.log())).sum(1).mean()
    return (1 - weight) * functional.cross_entropy(output, target) + weight * temperature**2 * divergence


def test_a_step_is_that_of_the_plain_loop_with_soft_labels():
    student, wise = net(), teacher()
    plain = copy.deepcopy(student)
    run = make(Distill(wise), model=student, distill_weight=0.7, temperature=3.0)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05)
    wise.eval()
    for _ in range(3):
        x, y = (each.clone() for each in run.training.cursor.peek())
        run.step(1)
        optimizer.zero_grad()
        with torch.no_grad():
            said = wise(x)
        loss = soft_loss(plain(x), y, said, 0.7, 3.0)
        loss.backward()
        optimizer.step()
    run.training.flush()
    assert run.history["loss"][1][-1] == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(student.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_losses_of_layers_are_the_papers():
    torch.manual_seed(1)
    ours, theirs, projection = torch.randn(5, 3, 4, 4), torch.randn(5, 6, 4, 4), torch.randn(6, 3)
    total = 0.0
    for n in range(5):  # eq. 2: of each sample, the distance of maps, each divided by its length
        one, other = ((each[n] ** 2).sum(0).flatten() for each in (ours, theirs))
        total += float(((one / one.norm() - other / other.norm()) ** 2).sum().sqrt())
    assert float(attention_loss(ours, theirs)) == pytest.approx(total / 5, rel=1e-5)
    assert float(attention_loss(ours, ours)) == 0.0
    guess = torch.einsum("nchw,dc->ndhw", ours, projection)
    expected = 0.5 * ((theirs - guess) ** 2).sum() / theirs.numel()
    assert float(feature_loss(ours, theirs, projection)) == pytest.approx(float(expected), rel=1e-5)
    flat = feature_loss(ours[:, :, 0, 0], theirs[:, :, 0, 0], projection)
    assert float(flat) == pytest.approx(float(0.5 * (theirs - guess)[:, :, 0, 0].pow(2).mean()), rel=1e-5)


def test_gradients_of_equal_maps_are_numbers():
    ours = torch.randn(2, 3, 4, 4, requires_grad=True)
    attention_loss(ours, ours.detach()).backward()
    assert ours.grad.isfinite().all()


def test_projections_learn_and_the_teacher_does_not():
    wise = teacher()
    before = copy.deepcopy(wise.state_dict())
    run = make(Distill(wise), distill_weight=0.0, feature_weight=1.0, epochs=40)
    run.step(1)
    part = run.training.acting.part(Distill)
    first = [each.detach().clone() for each in part.projections]
    run.step(60)
    assert all(not torch.equal(a, b) for a, b in zip(first, part.projections, strict=True))
    losses = run.history["loss"][1]
    assert losses[-6:].mean() < losses[:6].mean()
    assert all(torch.equal(before[name], value) for name, value in wise.state_dict().items())
    assert not wise.training


class Counting(nn.Module):
    """A teacher that counts the samples it is asked about."""

    def __init__(self, model):
        super().__init__()
        self.model, self.asked = model, []

    def forward(self, x):
        self.asked.append(len(x))
        return self.model(x)


ONCE, EACH = [24], [8] * 6
ASKED = {
    "as they are": ({}, ONCE, []),
    "turned": ({"flip": 1.0}, [24, 8], EACH),
    "standardized": ({"scaling": "standardize"}, [24, 8], EACH),
    "looked into": ({"feature_weight": 1.0}, [24, 8, 8], EACH),  # looked at once, before
}


@pytest.mark.parametrize("name", ASKED)
def test_the_teacher_is_asked_once_of_samples_that_are_the_same_to_the_bit(name):
    settings, first, then = ASKED[name]
    wise = Counting(teacher())
    run = make(Distill(wise), **settings)
    run.step(1)
    assert set(wise.asked) == set(first)
    wise.asked.clear()
    run.step(6)
    assert wise.asked == then
    uncached = make(Distill(teacher(), cache=False), **settings)
    uncached.step(7)
    for ours, theirs in zip(run.model.parameters(), uncached.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_run_its_best_weights_a_population_and_a_list_may_teach():
    run = make(model=teacher(), sparsity=0.5)
    run.step(6)
    x, _y = data()
    frozen = run.frozen_model()
    assert torch.equal(frozen(x), run.predict(x))
    assert float((frozen[2].weight == 0).float().mean()) > 0.3
    assert not any(weight.requires_grad for weight in frozen.parameters())
    best = run.frozen_model("best")
    assert torch.equal(best[5].bias, run.training.best_weights["5.bias"])
    population = nbopt.Population(net(), data(), data(), lr=[0.01, 0.1], batch_size=8, epochs=1, store=None)
    population.fit()
    made = {
        "run": (run, [frozen]),
        "best": (best, [best]),
        "list": ([run, best], [frozen, best]),
        "population": (population, [member.frozen_model() for member in population.members]),
    }
    for given, modules in made.values():
        student = make(Distill(given), distill_weight=1.0)
        student.step(1)
        part = student.training.acting.part(Distill)
        assert len(part.teachers) == len(modules)
        for ours, module in zip(part.teachers, modules, strict=True):
            assert torch.equal(ours(x), module(x))
    with pytest.raises(ValueError, match="at must be 'now' or 'best'; got 3"):
        run.frozen_model(3)
    with pytest.raises(ValueError, match="no best weights before the first validation"):
        make().frozen_model("best")


def refused(*techniques, model=None, **settings):
    run = make(*techniques, model=model, **settings)
    run.step(1)
    return run


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: refused(Distill(teacher(4))), "the teacher returns 4 scores and the model 3; they must"),
        (lambda: (model := net()) and refused(Distill(model), model=model), "the teacher is the model itself"),
        (lambda: refused(Distill(nn.Linear(5, 3))), "the teacher cannot take the samples of this run, 1 x 6 x 6: Runt"),
        (lambda: refused(distill_weight=0.5), r"'distill_weight': it comes with a technique, .*nbopt.Distill\(teacher"),
        (lambda: refused(kd_alpha=0.5), r"'kd_alpha': it comes with a technique"),
        (lambda: Distill("teacher"), "the teacher must be a torch.nn.Module, a run, .*; got 'teacher'"),
        (lambda: Distill([]), "the teacher must be .*; got \\[\\]"),
        (lambda: Distill(teacher(), layers=["1"]), "layers must be a mapping from names"),
        (lambda: refused(Distill(teacher()), distill_weight=1.5), "less than nothing to the model's own loss"),
        (
            lambda: refused(Distill([teacher(), teacher()]), attention_weight=1.0),
            "attention maps and features need a single teacher, and there are 2",
        ),
        (
            lambda: refused(Distill(dense(8)), model=dense(6), attention_weight=1.0),
            "attention maps are of images, and no layer that is compared gives any",
        ),
        (
            lambda: refused(Distill(teacher(), layers={"0": "9"}), feature_weight=1.0),
            "unknown module of the teacher '9'",
        ),
        (
            lambda: refused(Distill(teacher(), layers={"0": "4"}), feature_weight=1.0),
            "0 gives 4 x 4 x 4, 4 of the teacher 32: both have to give features, or both images",
        ),
        (
            lambda: refused(Distill(teacher(), layers={"0": "2"}), attention_weight=1.0),
            "attention maps need images of one size",
        ),
        (
            lambda: refused(
                Distill(teacher()), model=nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), feature_weight=1.0
            ),
            "have no layers that go together by themselves: name them",
        ),
        (
            lambda: nbopt.Run(
                net(classes=1), (data()[0], data()[1].float()), loss="mse", techniques=[Distill(teacher())]
            ),
            "soft labels need classes, and this loss has none",
        ),
    ],
)
def test_what_cannot_teach_is_refused_in_words(act, words):
    with pytest.raises((ValueError, TypeError), match=words):
        act()


def test_a_teacher_of_others_may_teach_features_and_no_weight_given_later_is_taken():
    run = make(Distill(teacher(5)), distill_weight=0.0, feature_weight=0.5)
    before = copy.deepcopy(run.model.state_dict())
    run.step(2)
    assert not torch.equal(run.model[0].weight, before["0.weight"])


def test_a_script_asks_for_the_teacher_and_is_tidy():
    run = make(Distill(teacher()), **ALL)
    run.step(3)
    text = run.to_python()
    assert is_tidy(text)
    assert "def train(model, train, val=None, *, teacher):" in text


KILLED = """
import os, signal, sys
import nbopt
from tests.techniques.test_distill import ALL, Distill, data, make, teacher
run = make(Distill(teacher()), store=sys.argv[1], sparsity=0.5, sparsity_end=0.9, sparsity_every=2,
           sparsity_method="gradient", group_lasso=0.01, **ALL)
run.step(5)
run.set(sparsity=0.7, temperature=2.0)
run.step(2)
run.set(distill_weight=0.9)
print(run.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_all_of_it_survives_kill_9(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    opened = nbopt.open(
        killed.stdout.strip(), net(), data(), data(), techniques=[Distill(teacher())], store=tmp_path, device="cpu"
    )
    assert opened.step_count == 7 and opened.hyperparams["distill_weight"] == 0.9
    opened.step(5)
    steady = make(
        Distill(teacher()),
        **{"sparsity": 0.5, "sparsity_end": 0.9, "sparsity_every": 2, "sparsity_method": "gradient"},
        **{"group_lasso": 0.01, **ALL},
    )
    steady.step(5)
    steady.set(sparsity=0.7, temperature=2.0)
    steady.step(2)
    steady.set(distill_weight=0.9)
    steady.step(5)
    for ours, theirs in zip(opened.model.parameters(), steady.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="Distill"):
        nbopt.open(opened.id, net(), data(), data(), techniques=[Distill(net(8, seed=6))], store=tmp_path)
