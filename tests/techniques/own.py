"""Techniques that nbopt does not have, each written as a user would write it."""

import math

import torch
from torch import nn
from torch.nn import functional

import nbopt


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


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(24, 1, 6, 6, generator=generator), torch.arange(24) % 3


def make(*techniques, **settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    return nbopt.Run(model, data(), data(), techniques=techniques, **{"batch_size": 8, "store": None, **settings})
