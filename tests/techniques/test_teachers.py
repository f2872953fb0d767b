"""Teachers of every kind, what they are asked, and what cannot teach, in words."""

import copy

import pytest
import torch
from torch import nn

import nbopt
from nbopt.techniques.compression.distill import Distill
from tests.techniques.taught import data, dense, make, net, teacher

pytestmark = pytest.mark.usefixtures("one_torch_thread")


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
