"""A teacher turned on while a run trains, that has not what is asked of it: said in words, and the run is as before."""

import pytest
import torch
from torch import nn

import nbopt
from nbopt.errors import InvalidHyperparam
from nbopt.techniques.compression.distill import Distill
from tests.techniques.taught import dense, make, net, teacher

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SETTINGS = {"tier": "eager", "epochs": 20}
OFF = {"distill_weight": 0.0, **SETTINGS}
UNFIT = {
    "no images": (
        lambda: Distill(dense(8)),
        lambda: dense(6),
        {"attention_weight": 1.0},
        "attention maps are of images",
    ),
    "two teachers": (lambda: Distill([teacher(), teacher()]), net, {"feature_weight": 1.0}, "need a single teacher"),
    "no such layer": (
        lambda: Distill(teacher(), layers={"9": "1"}),
        net,
        {"feature_weight": 1.0},
        "unknown module of the model '9'",
    ),
    "no layers": (
        lambda: Distill(teacher()),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 3)),
        {"feature_weight": 1.0},
        r"name them, nbopt.Distill\(teacher, layers={model's: teacher's}\)",
    ),
    "other classes": (lambda: Distill(teacher(4)), net, {"distill_weight": 0.5}, "returns 4 scores and the model 3"),
    "teachers of other classes": (
        lambda: Distill([teacher(), teacher(4)]),
        net,
        {"distill_weight": 0.5},
        "the teachers return 3 and 4 scores; they must have the same classes",
    ),
    "other inputs": (
        lambda: Distill(nn.Linear(3, 3)),
        net,
        {"attention_weight": 0.5},
        "the teacher cannot take the samples of this run, 1 x 6 x 6: .*mat1 and mat2 shapes",
    ),
    "other shapes": (lambda: nbopt.Ticket(dense(5)), lambda: dense(6), {"ticket": True}, "differ in 1.weight"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_it_is_refused_at_rest_and_while_it_trains(name):
    technique, model, change, words = UNFIT[name]
    off = {"ticket": False, **SETTINGS} if "ticket" in change else OFF
    run, plain = (make(technique(), model=model(), **off) for _ in range(2))
    run.step(2)
    with pytest.raises(InvalidHyperparam, match=words):
        run.set(lr=0.01, **change)
    run.start()
    with pytest.raises(InvalidHyperparam, match=words):
        run.set(**change)
    run.wait()
    plain.fit()
    assert run.state is nbopt.RunState.FINISHED
    assert run.journal.changes() == []
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), plain.model.parameters(), strict=True))


def test_a_look_at_a_teacher_leaves_no_trace():
    run, plain = (make(Distill(teacher()), model=with_norm(), **OFF) for _ in range(2))
    for each in (run, plain):
        each.step(3)
    run.set(attention_weight=2.0, feature_weight=0.5)
    run.set(attention_weight=0.0, feature_weight=0.0)
    for each in (run, plain):
        each.step(3)
    for ours, theirs in zip(run.model.state_dict().values(), plain.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    run.set(attention_weight=2.0)
    run.step(1)
    assert run.step_count == 7


def with_norm():
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(4, 4, 3)
    return nn.Sequential(*conv, nn.Flatten(), nn.Linear(16, 3))
