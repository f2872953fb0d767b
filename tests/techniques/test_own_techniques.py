"""Techniques that nbopt does not have, each written as a user would write it: they keep what those of nbopt promise."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbopt
from nbopt.testing import check_technique
from tests.export.scripts import is_tidy

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class FGSM(nbopt.Technique):
    """Train on what the gradient makes hardest (Goodfellow et al. 2015, section 4)."""

    epsilon = nbopt.Float(0.0, low=0.001, high=0.5, log=True, zero=True, ge=0.0, label="Epsilon", group="Adversary")

    @property
    def acts(self):
        return self.epsilon > 0

    def change_pass(self, do, batch):
        x, y = batch
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(do((x, y))[2], x)
        return do(((x + self.epsilon * gradient.sign()).detach(), y))


class Restarts(nbopt.Technique):
    """Cosine annealing with warm restarts (Loshchilov and Hutter 2017, eq. 5)."""

    cycles = nbopt.Int(1, low=1, high=10, ge=1, label="Cycles", group="Schedule")

    def change_rate(self, rate, step, epoch, done):
        place = done * self.cycles % 1.0
        return rate * (1 + math.cos(math.pi * place)) / 2


class Pruning(nbopt.Technique):
    """Prune the smallest weights, more of them as the run goes on (Zhu and Gupta 2017, eq. 1)."""

    thinning = nbopt.Float(0.0, low=0.0, high=0.95, ge=0.0, lt=1.0, label="Thinning", group="Pruning")
    measures = ("pruned",)

    @property
    def acts(self):
        return self.thinning > 0

    @torch.no_grad()
    def after_step(self, loss):
        share = self.thinning * (1 - (1 - self.context.progress) ** 3)
        pruned = count = 0
        for weight in self.context.named_weights.values():
            if weight.ndim > 1:
                size = weight.abs().flatten()
                least = size.kthvalue(max(1, int(share * len(size)))).values
                weight[weight.abs() <= least] = 0.0
                pruned, count = pruned + (weight == 0).sum(), count + weight.numel()
        self.context.measure("pruned", pruned / count)


class Distill(nbopt.Technique):
    """Learn what a teacher says of the batch, too (Hinton et al. 2015, section 2)."""

    distill = nbopt.Float(0.0, low=0.0, high=1.0, ge=0.0, label="Distillation", group="Teacher")
    temperature = nbopt.Float(2.0, low=1.0, high=20.0, log=True, gt=0.0, label="Temperature", group="Teacher")

    def __init__(self, teacher):
        self.teacher = teacher

    @property
    def acts(self):
        return self.distill > 0

    def change_pass(self, do, batch):
        output, target, loss = do(batch)
        with torch.no_grad():
            wanted = functional.softmax(self.teacher(batch[0]) / self.temperature, 1)
        own = functional.log_softmax(output / self.temperature, 1)
        soft = functional.kl_div(own, wanted, reduction="batchmean")
        soft = soft * self.temperature**2
        return output, target, torch.lerp(loss, soft, self.distill)


class Jitter(nbopt.Technique):
    """Draw a factor of the loss at random."""

    jitter = nbopt.Float(0.0, low=0.0, high=1.0, ge=0.0, label="Jitter", group="Noise")
    draws = True

    @property
    def acts(self):
        return self.jitter > 0

    def change_loss(self, lose, output, target):
        return lose(output, target) * (1 + self.jitter * torch.rand(()))


class EpochCurve(nbopt.Technique):
    """Decay the weights once an epoch, the more the later."""

    shrink = nbopt.Float(0.0, low=0.0, high=0.5, ge=0.0, lt=1.0, label="Shrink", group="Regularization")
    measures = ("left",)

    @property
    def acts(self):
        return self.shrink > 0

    @torch.no_grad()
    def after_epoch(self, val_loss):
        left = 1 - self.shrink * self.context.progress
        for weight in self.weights:
            weight.mul_(left)
        self.context.measure("left", left)


class QAT(nbopt.Technique):
    """Train with weights and activations of few bits (Jacob et al. 2018, section 3).

    The gradient passes through the rounding as if it were not there (Bengio et al. 2013).
    """

    bits = nbopt.Int(0, low=2, high=8, zero=True, ge=0, label="Bits", group="Quantization")

    @property
    def acts(self):
        return self.bits > 0

    def round(self, x):
        step = x.detach().abs().max().clamp(min=1e-8) / (2 ** (self.bits - 1) - 1)
        return x + ((x / step).round() * step - x).detach()

    def change_weights(self, weights):
        matrices = {name: self.round(w) for name, w in weights.items() if w.ndim > 1}
        return {**weights, **matrices}

    def change_pass(self, do, batch):
        hooks = []
        for layer in self.context.model.modules():
            if isinstance(layer, (nn.Tanh, nn.ReLU)):
                hooks.append(layer.register_forward_hook(self.round_output))
        try:
            return do(batch)
        finally:
            for hook in hooks:
                hook.remove()

    def round_output(self, layer, inputs, output):
        return self.round(output)


class Latch(nbopt.Technique):
    """Scale gradients, and by what the last change brought."""

    latch = nbopt.Float(1.0, low=0.1, high=10.0, gt=0.0, label="Latch", group="Latch")
    memory = ("held",)
    held = 1.0

    def on_change(self, name):
        self.held = self.latch / 2

    def after_gradients(self):
        for weight in self.weights:
            weight.grad.mul_(self.latch * self.held)


class Ready(nbopt.Technique):
    """Make noise ready before a step, every other one, and add it to the gradients."""

    ready = nbopt.Float(0.0, low=0.0, high=1.0, ge=0.0, label="Ready", group="Noise")
    memory = ("noise",)
    noise = 0.0

    @property
    def acts(self):
        return self.ready > 0

    def before_step(self):
        if self.context.step % 2 == 0:
            self.noise = math.sin(self.context.step + 7 * self.context.progress)

    def after_gradients(self):
        for weight in self.weights:
            weight.grad.add_(self.ready * self.noise)


def teacher():
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()


ALL_SAMPLES = {"optimizer": "lbfgs", "max_iter": 2, "epochs": 12}
ROWS = {
    "FGSM": (FGSM, {"epsilon": 0.1}, {"epsilon": 0.3}, {}),
    "FGSM in parts": (FGSM, {"epsilon": 0.1}, {"epsilon": 0.3}, {"micro_batch": 3}),
    "FGSM of all samples": (FGSM, {"epsilon": 0.1}, {"epsilon": 0.3}, ALL_SAMPLES),
    "FGSM in 16 bits": (FGSM, {"epsilon": 0.1}, {"epsilon": 0.3}, {"precision": "bfloat16"}),
    "Restarts": (Restarts, {"cycles": 2}, {"cycles": 3}, {}),
    "Pruning": (Pruning, {"thinning": 0.5}, {"thinning": 0.9}, {}),
    "Pruning by steps": (Pruning, {"thinning": 0.5}, {"thinning": 0.9}, {"steps": 12, "validate_every": 5}),
    "Distill": (Distill(teacher()), {"distill": 0.5}, {"distill": 0.9}, {}),
    "Distill and mixup": (Distill(teacher()), {"distill": 0.5}, {"distill": 0.9}, {"mixup": 0.4}),
    "QAT": (QAT, {"bits": 4}, {"bits": 2}, {}),
    "QAT in 16 bits": (QAT, {"bits": 4}, {"bits": 2}, {"precision": "bfloat16", "micro_batch": 3}),
    "QAT with metrics": (QAT, {"bits": 4}, {"bits": 2}, {"metrics": ["accuracy"]}),
    "Latch": (Latch, {"latch": 2.0}, {"latch": 0.5}, {}),
    "Ready": (Ready, {"ready": 0.1}, {"ready": 0.5}, {}),
    "Jitter": (Jitter, {"jitter": 0.5}, {"jitter": 1.0}, {}),
    "EpochCurve": (EpochCurve, {"shrink": 0.1}, {"shrink": 0.4}, {}),
}


@pytest.mark.parametrize("name", ROWS)
def test_it_keeps_the_promises_of_every_technique(name):
    technique, values, change, settings = ROWS[name]
    check_technique(technique, values, change, **settings)


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(24, 1, 6, 6, generator=generator), torch.arange(24) % 3


def make(*techniques, **settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    return nbopt.Run(model, data(), data(), techniques=techniques, **{"batch_size": 8, "store": None, **settings})


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
