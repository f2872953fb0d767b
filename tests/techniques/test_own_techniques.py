"""Techniques that nbopt does not have, each written as a user would write it: they keep what those of nbopt promise."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbopt
from nbopt.testing import check_technique
from tests.export.scripts import is_tidy
from tests.techniques.own import (
    FGSM,
    QAT,
    Distill,
    EpochCurve,
    Jitter,
    Latch,
    Pruning,
    Ready,
    Restarts,
    data,
    make,
    teacher,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")
ALL_SAMPLES = {"optimizer": "lbfgs", "max_iter": 2, "epochs": 12}
IN_PARTS = {"precision": "bfloat16", "micro_batch": 3}
ROWS = {
    "FGSM": (FGSM, {"epsilon": 0.1}, {"epsilon": 0.3}, {}),
    "FGSM of all samples": (FGSM, {"epsilon": 0.1}, {"epsilon": 0.3}, ALL_SAMPLES),
    "FGSM in parts, in 16 bits": (FGSM, {"epsilon": 0.1}, {"epsilon": 0.3}, IN_PARTS),
    "Restarts": (Restarts, {"cycles": 2}, {"cycles": 3}, {}),
    "Pruning": (Pruning, {"thinning": 0.5}, {"thinning": 0.9}, {}),
    "Pruning by steps": (Pruning, {"thinning": 0.5}, {"thinning": 0.9}, {"steps": 12, "validate_every": 5}),
    "Distill": (Distill(teacher()), {"distill": 0.5}, {"distill": 0.9}, {}),
    "Distill and mixup": (Distill(teacher()), {"distill": 0.5}, {"distill": 0.9}, {"mixup": 0.4}),
    "QAT": (QAT, {"bits": 4}, {"bits": 2}, {}),
    "QAT in parts, in 16 bits, with metrics": (QAT, {"bits": 4}, {"bits": 2}, {"metrics": ["accuracy"], **IN_PARTS}),
    "Latch": (Latch, {"latch": 2.0}, {"latch": 0.5}, {}),
    "Ready": (Ready, {"ready": 0.1}, {"ready": 0.5}, {}),
    "Jitter": (Jitter, {"jitter": 0.5}, {"jitter": 1.0}, {}),
    "EpochCurve": (EpochCurve, {"shrink": 0.1}, {"shrink": 0.4}, {}),
}


@pytest.mark.parametrize("name", ROWS)
def test_it_keeps_the_promises_of_every_technique(name):
    technique, values, change, settings = ROWS[name]
    check_technique(technique, values, change, **settings)


def test_a_script_with_them_is_tidy_and_takes_what_only_the_user_has():
    own = (FGSM, Distill(teacher()), Pruning, QAT)
    run = make(*own, epsilon=0.1, distill=0.5, thinning=0.5, bits=4, epochs=2)
    run.step(3)
    run.set(epsilon=0.0)
    run.step(2)
    text = run.to_python()
    assert is_tidy(text)
    assert "def train(model, train, val=None, *, teacher):" in text


def test_their_hyperparameters_and_curves_are_the_runs():
    run = make(Pruning, thinning=0.5, epochs=2)
    assert run.hyperparams["thinning"] == 0.5
    assert len(run.history["pruned"][0]) == 0  # it will be measured
    run.step(4)
    assert run.history["pruned"][0].tolist() == [0, 1, 2, 3]
    run.rewind(2)
    assert run.history["pruned"][0].tolist() == [0, 1]
    with pytest.raises(nbopt.errors.InvalidHyperparam, match="thinning"):
        run.set(thinning=1.0)


def test_validation_and_predictions_use_the_changed_weights_and_the_weights_stay():
    run = make(QAT, bits=2, lr=0.0, epochs=1)
    before = run.model[1].weight.clone()
    x, y = data()
    rounded = copy.deepcopy(run.model)
    run.step(3)
    with torch.no_grad():
        weight = rounded[1].weight
        step = weight.abs().max() / (2 ** (2 - 1) - 1)
        weight.copy_(weight + ((weight / step).round() * step - weight))
        expected = rounded(x)
    assert torch.allclose(run.predict(x), expected)
    assert run.history.last("val_loss") == pytest.approx(functional.cross_entropy(expected, y).item(), rel=1e-5)
    assert torch.equal(run.model[1].weight, before)


def test_a_branch_has_a_technique_of_its_own_and_shares_the_teacher():
    given = Distill(teacher())
    run = make(given, distill=0.5)
    run.step(2)
    branch = run.branch(1, distill=0.1)
    branch.step(1)
    first, second = (each.training.acting.part(Distill) for each in (run, branch))
    assert first is not second and first is not given
    assert first.teacher is second.teacher is given.teacher
    assert (first.distill, second.distill) == (0.5, 0.1)


def test_opened_again_the_run_needs_them_and_those_that_it_had(tmp_path):
    run = make(Distill(teacher()), distill=0.5, store=tmp_path)
    run.step(2)
    run.stop()
    run.recorder.close()
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with pytest.raises(ValueError, match="techniques Distill: only you have it: give it again as techniques="):
        nbopt.open(run.id, model, data(), data(), store=tmp_path)
    with pytest.raises(ValueError, match="Distill"):
        nbopt.open(run.id, model, data(), data(), techniques=[Distill(nn.Flatten())], store=tmp_path)
    again = nbopt.open(run.id, model, data(), data(), techniques=[Distill(teacher())], store=tmp_path)
    assert again.hyperparams["distill"] == 0.5
    again.recorder.close()


def test_a_recipe_takes_them():
    run = make(Pruning, thinning=0.5, epochs=2)
    run.step(4)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    again = nbopt.Run.from_yaml(run.to_yaml(), model, data(), data(), techniques=[Pruning], store=None)
    again.start()
    again.wait(60)
    assert torch.equal(model[1].weight, run.model[1].weight)
