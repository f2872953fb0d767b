"""Optimizers that use curvature: each step evaluates the loss several times, on all samples at once.

Swapped in within an epoch, their first step takes what is left of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from nbopt.hyperparams import Flag, Float, Int
from nbopt.i18n import N_
from nbopt.techniques.optimizers.base import GROUP, Evaluate, Optimizer


class LBFGS(Optimizer):
    """L-BFGS (Liu and Nocedal 1989), torch's, on all samples at once: a quasi-Newton method.

    A step of the run is one of torch's, with up to ``max_iter`` iterations. Weight decay joins loss and gradient.
    """

    max_iter = Int(
        5,
        low=1,
        high=20,
        ge=1,
        label=N_("Iterations a step"),
        group=GROUP,
        help=N_("Iterations of L-BFGS in one step, each on all samples."),
    )
    history_size = Int(
        10,
        low=1,
        high=100,
        ge=1,
        label=N_("Memory"),
        group=GROUP,
        help=N_("Past steps and gradient changes from which L-BFGS estimates the curvature."),
    )
    line_search = Flag(
        True,
        label=N_("Line search"),
        group=GROUP,
        help=N_("Search for a step length that meets the strong Wolfe conditions, starting from the learning rate."),
    )
    torch_class = torch.optim.LBFGS
    usual: ClassVar[Mapping[str, Any]] = {"lr": 1.0}
    repeats = True
    full_batch = True
    closing = """\
$take_weights
if run.shape_batch:  # gradients are as the weights are
    for weight in $weights:
        if weight.grad is not None:
            weight.grad = weight.grad.contiguous()
with torch.no_grad():
    for weight in $weights:
        loss = loss + hyper.weight_decay / 2 * weight.square().sum()
        if weight.grad is not None:
            weight.grad.add_(weight, alpha=hyper.weight_decay)
"""
    changed = 'if "history_size" in changes:\n    forget_oldest(optimizer, changes["history_size"])'
    evaluations: ClassVar[tuple[int, int]] = (25, 1)
    """How many evaluations of the loss a step may do, for how many iterations."""
    memory: ClassVar[dict[str, str]] = {"old_dirs": N_("curvature pairs of L-BFGS")}

    def settings(self) -> dict[str, Any]:
        """Return the live values; torch takes the search by its name."""
        return {
            "lr": self.lr,
            "max_iter": self.max_iter,
            "max_eval": self.evaluations[0] * self.max_iter // self.evaluations[1],
            "history_size": self.history_size,
            "line_search_fn": "strong_wolfe" if self.line_search else None,
        }

    def on_change(self, name: str) -> None:
        """Bring torch up to date; with a smaller memory the oldest pairs are forgotten."""
        super().on_change(name)
        if self.torch is not None:
            forget_oldest(self.torch, self.history_size)

    def full_step(self, evaluate: Evaluate) -> Tensor:
        """Do one of torch's steps; return the loss before it."""
        assert self.torch is not None
        group = self.torch.param_groups[0]

        def closure() -> Tensor:
            loss = evaluate()
            for weight in group["params"]:  # torch strings them together, which those laid out channels last refuse
                if weight.grad is not None:
                    weight.grad = weight.grad.contiguous()
            if self.weight_decay:
                with torch.no_grad():
                    for weight in group["params"]:
                        if not weight.requires_grad:
                            continue
                        loss = loss + self.weight_decay / 2 * weight.square().sum()
                        if weight.grad is not None:
                            weight.grad.add_(weight, alpha=self.weight_decay)
            return loss

        if group["lr"] == 0:  # there is nothing to search along
            return closure()
        loss: Tensor = self.torch.step(closure)  # type: ignore[assignment, arg-type]
        for state in self.torch.state.values():
            state.pop("al", None)  # torch's scratch space, as large as the memory was
        return loss


class BatchLBFGS(LBFGS):
    """The user's own L-BFGS: on each batch, as in a plain loop that hands it a closure."""

    full_batch = False


# Scripts hold the next four as they are written here, so in lines of 88 characters.


def forget_oldest(optimizer: torch.optim.Optimizer, count: int) -> None:
    """Let L-BFGS remember no more than ``count`` steps."""
    for state in optimizer.state.values():
        for key in {"old_dirs", "old_stps", "ro"} & state.keys():
            state[key] = state[key][-count:]
        state.pop("al", None)  # scratch space, as long as the memory was


class NewtonCG(torch.optim.Optimizer):
    """Newton's method by conjugate gradients (Martens 2010, section 3)."""

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        weight_decay: float = 0.0,
        damping: float = 1e-2,
        cg_iterations: int = 20,
    ) -> None:
        settings: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        settings.update(damping=damping, cg_iterations=cg_iterations)
        super().__init__(params, settings)

    def step(self, closure: Any) -> Any:  # type: ignore[override]
        """Do a step along the solution of (H + damping I) d = -gradient.

        Parameters
        ----------
        closure : callable
            Gets ``differentiate``, to be called with the loss instead of ``backward``;
            returns the loss.
        """
        group = self.param_groups[0]
        weights = group["params"]
        graph: list[Any] = [None] * len(weights)  # gradients that have one themselves

        def differentiate(loss: Tensor) -> None:
            found = torch.autograd.grad(
                loss,
                weights,
                create_graph=True,
                allow_unused=True,
            )
            for k, (weight, part) in enumerate(zip(weights, found, strict=True)):
                if part is None:
                    continue
                graph[k] = part if graph[k] is None else graph[k] + part
                part, last = part.detach(), weight.grad
                weight.grad = part.clone() if last is None else last + part

        loss = closure(differentiate)
        self.move(graph)
        return loss

    def move(self, graph: list[Any]) -> None:
        """Do the step from the gradients that the weights hold.

        ``graph`` holds the loss's own, with what they are differentiated through.
        """
        group = self.param_groups[0]
        weights, slopes = [], []
        for weight, slope in zip(group["params"], graph, strict=True):
            if slope is not None and slope.requires_grad:
                weights.append(weight)
                slopes.append(slope)
        if not weights:
            return
        decay = group["weight_decay"]
        ridge = group["damping"] + decay

        def curvature(direction: list[Tensor]) -> list[Tensor]:
            found = torch.autograd.grad(
                slopes,
                weights,
                direction,
                retain_graph=True,
                allow_unused=True,
            )
            bent = []
            for part, along in zip(found, direction, strict=True):
                bent.append(ridge * along if part is None else part + ridge * along)
            return bent

        with torch.no_grad():
            residual = [-weight.grad - decay * weight for weight in weights]
        solution = solve(curvature, residual, group["cg_iterations"])
        with torch.no_grad():
            for weight, part in zip(weights, solution, strict=True):
                weight.add_(part, alpha=group["lr"])


def solve(curvature: Any, residual: list[Tensor], iterations: int) -> list[Tensor]:
    """Solve curvature(x) = residual by conjugate gradients, from x = 0.

    See Nocedal and Wright 2006, algorithm 7.1. Where the curvature along a direction is
    not positive it ends: with what it has, or with the gradient's direction.
    """
    solution = [torch.zeros_like(part) for part in residual]
    direction, size = residual, dot(residual, residual)
    goal = size * 1e-10
    for iteration in range(iterations):
        if size <= goal:
            break
        bent = curvature(direction)
        bend = dot(direction, bent)
        if not bend > 0:
            return residual if iteration == 0 else solution
        length = size / bend
        solution = [x + length * d for x, d in zip(solution, direction, strict=True)]
        residual = [r - length * b for r, b in zip(residual, bent, strict=True)]
        size, before = dot(residual, residual), size
        pairs = zip(residual, direction, strict=True)
        direction = [r + size / before * d for r, d in pairs]
    return solution


def dot(first: list[Tensor], second: list[Tensor]) -> float:
    """Return the scalar product of two vectors in parts."""
    pairs = zip(first, second, strict=True)
    return sum(float((a.detach() * b.detach()).sum()) for a, b in pairs)


class Newton(Optimizer):
    """Newton's method on all samples at once, each step solved by conjugate gradients (Martens 2010, section 3).

    Curvature is exact, from second derivatives: the model's layers must have them. With a learning rate of 1 and no
    damping a step ends in the minimum of a quadratic loss.
    """

    damping = Float(
        1e-2,
        low=1e-6,
        high=10.0,
        log=True,
        zero=True,
        ge=0.0,
        label=N_("Damping"),
        group=GROUP,
        help=N_("Added to the curvature in every direction: the larger, the closer to gradient descent."),
    )
    cg_iterations = Int(
        20,
        low=1,
        high=100,
        ge=1,
        label=N_("CG iterations"),
        group=GROUP,
        help=N_("Conjugate-gradient iterations for Newton's step, each with two passes over all samples."),
    )
    torch_class = NewtonCG
    usual: ClassVar[Mapping[str, Any]] = {"lr": 1.0}
    curved = True
    repeats = True
    full_batch = True

    def settings(self) -> dict[str, Any]:
        """Return the live values."""
        return {**super().settings(), "damping": self.damping, "cg_iterations": self.cg_iterations}

    def full_step(self, evaluate: Evaluate) -> Tensor:
        """Do one Newton step; return the loss before it."""
        assert isinstance(self.torch, NewtonCG)
        loss: Tensor = self.torch.step(evaluate)
        return loss
