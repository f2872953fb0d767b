"""Whether a technique compiles, acts, is declared and can be written: what is promised is looked at."""

import pytest
import torch
from torch import nn

import nbopt
from tests.techniques.own import FGSM, Distill, Restarts, data, make

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_what_is_measured_has_to_be_declared():
    class Measures(nbopt.Technique):
        measures = ("one",)

        def after_step(self, loss):
            self.context.measure("won", 1.0)

    with pytest.raises(nbopt.errors.InvalidHyperparam, match="Did you mean 'one'"):
        make(Measures).step(1)


class Nearly(nbopt.Technique):
    def after_gradient(self):
        pass


class Around(nbopt.Technique):
    """Stand around each pass."""

    around = nbopt.Flag(False, label="Around", group="Around")

    @property
    def acts(self):
        return self.around

    def change_every_pass(self, do, batch):
        return do(batch)


class Rate(nbopt.Technique):
    lr = nbopt.Float(0.1, low=0.1, high=1.0, label="Rate", group="Rate")

    def after_gradients(self):
        pass


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (FGSM, TypeError, "must be a list of classes or instances of nbopt.Technique; got"),
        ("fgsm", TypeError, "must be a list of classes or instances of nbopt.Technique; got 'fgsm'"),
        ([nn.ReLU], TypeError, "is none"),
        ([Distill], TypeError, "Distill: .*teacher.*: give an instance instead of the class"),
        ([Nearly], TypeError, "after_gradient is no hook, and nothing would call it. Did you mean 'after_gradients'"),
        ([FGSM, FGSM], ValueError, "there is a FGSM already"),
        ([type("Mixup", (FGSM,), {})], ValueError, "there is a Mixup already"),
        ([Rate], ValueError, "Rate: there is a hyperparameter lr already"),
        ([type("Empty", (nbopt.Technique,), {})], TypeError, "Empty defines no hook: one of fit, before_step"),
    ],
)
def test_what_is_no_technique_is_refused_in_words(given, kind, words):
    with pytest.raises(kind, match=words):
        nbopt.Run(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), data(), techniques=given, store=None)


def test_a_script_refuses_a_hook_that_it_cannot_hold():
    run = make(Around, around=True)
    run.step(1)
    with pytest.raises(ValueError, match="Around: a script does not hold what change_every_pass does"):
        run.to_python()


class Budget(nbopt.Technique):
    """End a run, at a validation, once so many steps are done; it counts them itself."""

    budget = nbopt.Int(0, low=1, high=100, zero=True, ge=0, label="Budget", group="Budget")
    scale = nbopt.Float(1.0, low=0.1, high=2.0, gt=0.0, label="Scale", group="Budget", initial=True)
    memory = ("spent",)
    spent = 0

    @classmethod
    def imply(cls, given):
        return {"budget": 5} if "scale" in given else {}

    @classmethod
    def conflict(cls, values, chosen):
        return "budget: an epoch of one step has none" if values["budget"] and chosen["optimizer"].repeats else ""

    def before_first_step(self):
        for weight in self.context.named_weights.values():
            weight.data.mul_(self.scale)

    def after_step(self, loss):
        self.spent += 1

    def after_epoch(self, val_loss):
        pass

    def end_reason(self):
        return "the budget is spent" if self.budget and self.spent >= self.budget else ""

    @property
    def facts(self):
        return [("budget left", str(self.budget - self.spent))]


class Purse(Budget):
    """The same, inherited."""


def test_a_technique_steers_the_course_of_a_run():
    run = make(Purse, scale=0.5, epochs=9)
    before = run.model[1].weight.detach().clone()
    assert run.hyperparams["budget"] == 5
    run.set(budget=6)
    run.start()
    run.wait(60)
    assert (run.step_count, run.end_reason) == (6, "the budget is spent")
    assert run.technique_facts == [("budget left", "0")]
    run.rewind(0)
    assert torch.equal(run.model[1].weight, before)
    run.step(1)
    assert run.technique_facts == [("budget left", "4")]  # of what it was at first
    with pytest.raises(nbopt.errors.InvalidHyperparam, match="scale: it acts only before the first step"):
        run.set(scale=1.0)
    with pytest.raises(nbopt.errors.InvalidHyperparam, match="budget: an epoch of one step has none"):
        run.set(optimizer="lbfgs")


class Compiling(nbopt.Technique):
    """Base of techniques that say that they compile."""

    still = nbopt.Flag(True, label="Still", group="Still")
    compiles = True


class Pulls(Compiling):
    compiles = True

    def after_gradients(self):
        pass


class Shrinks(Compiling):
    compiles = True

    def after_step(self, loss):
        self.shrink()

    def shrink(self):
        [weight.data.mul_(0.9) for weight in self.weights]


class Curves(Compiling):
    compiles = True
    measures = ("curve",)

    def after_step(self, loss):
        self.context.measure("curve", loss)


class Counts(Compiling):
    compiles = True
    count = 0

    def change_rate(self, rate, step, epoch, done):
        self.count += 1
        return rate / self.count


class Follows(Compiling):
    compiles = True
    last = 1.0

    def change_rate(self, rate, step, epoch, done):
        return rate * self.last

    def after_step(self, loss):
        self.last = loss


class Falls(Compiling):
    """Keep the promise: a rate that follows from the step alone, and losses that are noted."""

    compiles = True

    def __init__(self):
        self.seen = []

    def change_rate(self, rate, step, epoch, done):
        return rate / (1 + step)

    def after_step(self, loss):
        self.seen.append(loss)


@pytest.mark.parametrize(
    ("technique", "words"),
    [
        (Pulls, "Pulls.compiles: the compiled step does not call after_gradients. Leave compiles out"),
        (Shrinks, "after_step reads self.weights, and is called for several steps at once"),
        (Curves, "after_step reads self.context, and is called for several steps at once"),
        (Counts, "change_rate keeps something from step to step"),
        (Follows, "change_rate reads self.last, which after_step sets"),
    ],
    ids=lambda item: item.__name__ if isinstance(item, type) else "",
)
def test_what_cannot_compile_is_not_believed(technique, words):
    with pytest.raises(TypeError, match=words):
        make(technique)


def test_what_can_compile_is_believed():
    run = make(Falls, epochs=1)
    run.step(1)
    assert run.training.acting.obstacle == ""


class ByModel(nbopt.Technique):
    """Act where the model is small."""

    small = nbopt.Int(9, low=1, high=100, ge=1, label="Small", group="Small")

    @property
    def acts(self):
        return len(self.context.named_weights) < self.small

    def after_gradients(self):
        pass


class ByWeights(ByModel):
    """Act where there are few weights."""

    @property
    def acts(self):
        return any(weight.ndim > 1 for weight in self.weights)


@pytest.mark.parametrize("technique", [ByModel, ByWeights])
def test_whether_it_acts_goes_by_hyperparameters_where_a_script_is_written(technique):
    run = make(technique, epochs=1)
    run.step(1)
    assert len(run.training.acting.after_gradients) == 1
    with pytest.raises(
        ValueError, match=f"{technique.__name__}: for a script, whether it acts has to follow from hyper"
    ):
        run.to_python()


@pytest.mark.parametrize("name", ["Run", "Hyper", "Model"])
def test_a_class_may_be_called_as_something_in_a_script_is(name):
    run = make(type(name, (Restarts,), {"__module__": __name__, "__doc__": Restarts.__doc__}))
    run.set(cycles=2)
    run.step(4)
    script = {}
    exec(run.to_python(), script)
    model = make(Restarts).model
    script["train"](model, data(), data())
    for mine, theirs in zip(run.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
