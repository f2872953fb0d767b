"""The hooks of techniques: when each is called, and how a script calls it."""

from __future__ import annotations

from typing import NamedTuple


class Hook(NamedTuple):
    """One hook.

    Attributes
    ----------
    name : str
        Of the method of a `nbopt.techniques.base.Technique`.
    when : str
        When it is called.
    call : str
        The line with which a script calls it, ``{hook}`` being the method; "" where scripts cannot hold it.
    """

    name: str
    when: str
    call: str


HOOKS = {
    hook.name: hook
    for hook in (
        Hook("fit", "once, before it first acts, with the training inputs, if they are in memory", "{hook}(data[0])"),
        Hook("change_inputs", "before each forward pass, in validation too", "x = {hook}(x)"),
        Hook("change_batch", "before each forward pass of a step", "x, y = {hook}(x, y)"),
        Hook(
            "change_weights",
            "before each forward pass, in validation too: the weights that the model computes with",
            "weights = {hook}(weights)",
        ),
        Hook("change_pass", "around forward pass and loss of a step", "do = partial({hook}, do)"),
        Hook("change_every_pass", "around change_pass, and around forward pass and loss of a validation", ""),
        Hook(
            "change_loss",
            "after the forward pass of a step: the loss that is differentiated",
            "{loss} = {hook}({lose}, output, target)",
        ),
        Hook("after_gradients", "between backward pass and update", "{hook}()"),
        Hook(
            "change_rate",
            "once a step, just before the update: the learning rate it is to use",
            "rate = {hook}(rate, step, progress, done)",
        ),
        Hook("change_groups", "after that: gives each of the optimizer's parameter groups a rate of its own", ""),
        Hook("after_step", "after the update", "{hook}(loss.detach())"),
        Hook(
            "after_epoch",
            "when an epoch, or validate_every steps, are complete and validated, if there is a validation",
            "{hook}(val_loss)",
        ),
    )
}
"""All hooks by name, in the order in which a step calls them."""
