"""Distillation: losses as the papers have them, teachers of every kind, and what does not go, in words."""

import copy
import signal

import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

import nbopt
from nbopt.techniques.compression.distill import Distill
from nbopt.techniques.compression.hidden import attention_loss, feature_loss
from nbopt.testing import check_technique
from tests import zygote
from tests.export.scripts import execute, is_tidy
from tests.techniques.taught import ALL, data, dense, make, net, teacher

pytestmark = pytest.mark.usefixtures("one_torch_thread")
CONTRACT = {
    "soft": (lambda: Distill(teacher()), net, {"distill_weight": 0.7}, {"temperature": 4.0}, {}),
    "augmented": (lambda: Distill(teacher()), net, {"distill_weight": 0.7}, {"temperature": 4.0}, {"flip": 0.2}),
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


def test_a_script_asks_for_the_teacher_and_is_tidy():
    run = make(Distill(teacher()), **ALL)
    run.step(3)
    text = run.to_python()
    assert is_tidy(text)
    assert "def train(model, train, val=None, *, teacher):" in text


def test_a_script_asks_a_teacher_about_what_a_loader_fetches():
    loader = DataLoader(list(zip(*data(), strict=True)), 8, shuffle=True)
    run = nbopt.Run(net(), loader, techniques=[Distill(teacher())], epochs=2, device="cpu", store=None)
    run.step(6)
    execute(run.to_python(), model := net(), loader, teacher=teacher())
    for ours, theirs in zip(run.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_stored_run_keeps_the_temperature_that_it_was_made_with_whatever_the_default_is_by_then(
    tmp_path, monkeypatch
):
    run = make(Distill(teacher()), store=tmp_path)
    run.step(5)
    monkeypatch.setattr(Distill.declared()["temperature"], "default", 9.0)
    assert make(Distill(teacher())).hyperparams["temperature"] == 9.0
    opened = nbopt.open(run.id, net(), data(), data(), techniques=[Distill(teacher())], store=tmp_path, device="cpu")
    assert opened.hyperparams["temperature"] == 2.0
    opened.step(3)
    run.step(3)
    for ours, theirs in zip(opened.model.parameters(), run.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


KILLED = """
import os, signal, sys
import nbopt
from nbopt import Distill
from tests.techniques.taught import ALL, data, make, teacher
run = make(Distill(teacher()), store=sys.argv[1], sparsity=0.5, sparsity_end=0.9, sparsity_every=2,
           sparsity_method="gradient", group_lasso=0.01, **ALL)
run.step(5)
run.set(sparsity=0.7, temperature=4.0)
run.step(2)
run.set(distill_weight=0.9)
print(run.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_all_of_it_survives_kill_9(tmp_path):
    killed = zygote.run(KILLED, tmp_path)
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
    steady.set(sparsity=0.7, temperature=4.0)
    steady.step(2)
    steady.set(distill_weight=0.9)
    steady.step(5)
    for ours, theirs in zip(opened.model.parameters(), steady.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="Distill"):
        nbopt.open(opened.id, net(), data(), data(), techniques=[Distill(net(8, seed=6))], store=tmp_path)
