"""One pass of a batch through model and loss."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.data.noise import Noise
from nbopt.data.places import item_at, name_of
from nbopt.data.sources import AnySource
from nbopt.data.tree import tensors
from nbopt.i18n import _
from nbopt.objects.layers import is_silent
from nbopt.techniques.base import defines
from nbopt.techniques.compression.activations import call_changed
from nbopt.techniques.hooks import surround
from nbopt.techniques.losses.base import Loss, usual_size
from nbopt.techniques.losses.traits import SCORES
from nbopt.techniques.metrics.measuring import Measuring
from nbopt.techniques.metrics.reading import ends_in_probabilities, tensor_of
from nbopt.training.active_hooks import ActiveHooks
from nbopt.training.prepare import check_labels, check_pair, check_returned
from nbopt.training.step.calibration import Calibration
from nbopt.training.step.explaining import explain_loss, explain_pass
from nbopt.training.step.swapped import Swapped
from nbopt.training.user_code.callables import functions_of

Forward = Callable[[nn.Module, Any], tuple[Any, Any]]
Do = Callable[[Any], tuple[Any, Any, Tensor]]


class Shown(Exception):
    """What a technique was to look at was shown to it: what it would do with the loss is not needed."""


class ForwardPass:
    """The forward pass and the loss of a run.

    Parameters
    ----------
    model : torch.nn.Module
    forward : callable or None
        The user's own, see `nbopt.Run`.
    sources : sequence of sources
        Whose labels are checked with the first batch of a loss.
    acting : Acting
        The parts that may change batches and losses.
    measuring : Measuring
        The metrics, which outputs and targets have to suit.
    noise : Noise

    Attributes
    ----------
    needs_graph : bool
        Whether the loss is made of gradients, so that validation needs a graph too.
    checked : bool
        Whether outputs and targets of the present loss were looked at.
    tell : callable
        Is told in words what the user should know.
    """

    def __init__(
        self,
        model: nn.Module,
        forward: Forward | None,
        sources: tuple[AnySource | None, ...],
        acting: ActiveHooks,
        measuring: Measuring,
        noise: Noise,
    ) -> None:
        self.model, self.acting = model, acting
        self.forward = forward or call_on_pair
        self._swapped = Swapped(model)
        self.step = 0
        self._sources = sources
        self._measuring = measuring
        self._noise = noise
        self.needs_graph = False
        self.calibration = Calibration()
        self.tell: Callable[[str], None] = lambda text: None
        self._plain = forward is None and all(map(is_silent, model.modules()))
        self.checked = False
        self._doubts: list[str] = []
        self._usual = 0.0, False  # how large the loss is where nothing was learnt

    def use(self, loss: Loss) -> None:
        """Measure ``loss`` from now on."""
        self.loss = loss
        self._measuring.begin_anew(loss.traits, {place: part.traits for place, part in loss.parts.items()})
        self._learnt = False
        self.look_again()
        self._look_for_noise()

    def renew(self) -> None:
        """Go on with other modules in the model, which may draw random numbers."""
        self._swapped, self.calibration.done = Swapped(self.model), None
        self._plain = self.forward is call_on_pair and all(map(is_silent, self.model.modules()))
        self._look_for_noise()

    def _look_for_noise(self) -> None:
        self.is_silent = self._plain and not self.loss.draws
        if not self.is_silent:
            self._noise.look_at(self.model, self.forward, *functions_of(self.loss))

    def look_again(self) -> None:
        """Check the next batch's output and target as if it were the first."""
        self.checked = False

    def __call__(self, batch: Any) -> tuple[Any, Any, Tensor]:
        """Return outputs, targets and loss of a training batch."""
        acting = self.acting
        if acting.changes_batches:
            batch = acting.prepare(batch, training=True)
        do: Do = surround(acting.change_pass, self._train) if acting.change_pass else self._train
        return self._within(do, batch) if acting.change_every_pass else do(batch)

    def measure(self, batch: Any) -> tuple[Any, Any, Tensor]:
        """Return outputs, targets and loss of a batch that is not trained on."""
        return self._within(self._measure, self.acting.prepare(batch, training=False))

    def measure_output(self, output: Any, target: Any) -> Tensor:
        """Return the loss of outputs that `measure` gave, as validation shows it."""

        def lose(pair: Any) -> tuple[Any, Any, Tensor]:
            return *pair, self.loss.measure(pair[0], self.loss.prepare(*pair))

        return self._within(lose, (output, target))[2]

    def predict(self, batch: Any) -> Any:
        """Return outputs of a batch that may have no targets: inputs alone, or what `measure` takes."""

        def pass_on(batch: Any) -> tuple[Any, Any, Tensor]:
            if isinstance(batch, Tensor) or self.forward is call_on_pair:
                x = batch[0] if isinstance(batch, (tuple, list)) else batch
                output = self._call(lambda model, x: model(x), x)
            else:
                output, _target = self._call(self.forward, batch)
            return output, None, torch.zeros(())

        return self._within(pass_on, self.acting.prepare(batch, training=False))[0]

    def plain(self, batch: Any) -> tuple[Any, Any, Tensor]:
        """Return outputs, targets and loss of a training batch to which nothing random is done."""
        return self._within(self._plainly, self.acting.prepare(batch, training=False))

    def _plainly(self, batch: Any) -> tuple[Any, Any, Tensor]:
        output, target = self._outputs(batch)
        return output, target, self._lose(output, target)

    def show(self, part: Any, batch: Any) -> tuple[Any, Any, Tensor]:
        """Let a technique that may not act yet look at the outputs of a batch; their loss is not asked for."""

        def do(batch: Any) -> tuple[Any, Any, Tensor]:
            output, target = self._outputs(batch)
            part.check_outputs(output, batch)
            raise Shown(output, target, torch.zeros(()))

        try:
            around = [part.change_pass] if defines(type(part), "change_pass") else []
            self._within(surround(around, do), self.acting.prepare(batch, training=False))
        except Shown as shown:
            return shown.args
        return None, None, torch.zeros(())

    @property
    def is_narrow(self) -> bool:
        """Whether what stands around the pass computes with numbers of 16 bits."""
        return self.acting.is_coarse

    def _within(self, do: Do, batch: Any) -> tuple[Any, Any, Tensor]:
        """Do a pass within what techniques put around every one."""
        within: Do = surround(self.acting.change_every_pass, do)
        return within(batch)

    def _train(self, batch: Any) -> tuple[Any, Any, Tensor]:
        output, target = self._outputs(batch)
        if self.acting.unchecked:
            self.acting.check(output, batch)
        loss = self._lose(output, target)
        if self.acting.change_loss:
            latest = self.loss.latest  # before techniques ask for the loss of other targets
            for change in self.acting.change_loss:
                loss = change(self._lose, output, target)
            self.loss.latest = latest
        return output, target, loss

    def _measure(self, batch: Any) -> tuple[Any, Any, Tensor]:
        output, target = self._outputs(batch)
        try:
            return output, target, self.loss.measure(output, self.loss.prepare(output, target))
        except Exception as error:  # the user's loss may raise anything
            explain_loss(error, self.loss, output, target)
            raise

    def _outputs(self, batch: Any) -> tuple[Any, Any]:
        try:
            acting = self.acting
            changed = acting.change_weights or acting.change_activations
            pair = self._call(self.forward, batch) if changed else self.forward(self.model, batch)
            if not self.checked:
                check_returned(pair)
            output, target = pair
        except Exception as error:
            explain_pass(error, self.model, batch, self.step)
            raise
        if not self.checked:
            self._check(output, target, batch)
        return output, target

    def _call(self, function: Callable[[nn.Module, Any], Any], batch: Any) -> Any:
        """Return ``function(model, batch)``, the model computing with the weights that techniques make of its own."""
        if self.acting.change_activations:
            if not torch.is_grad_enabled():
                self.calibrate()
            function = partial(call_changed, self.acting.change_activations, function)
        if not self.acting.change_weights:
            return function(self.model, batch)
        return self._swapped.call(self.acting.weights, function, self.model, batch)

    def calibrate(self) -> None:
        """Let techniques find out, on the next training batch, what they need for passes at rest."""
        self.calibration.do(self.acting.calibrate, self.look, self.model)

    def look(self, batch: Any = None) -> None:
        """Do a forward pass on a batch; on the next training batch without one."""
        batch = self.calibration.next_batch() if batch is None else batch
        batch = self.acting.prepare(batch, training=False)
        self._within(lambda batch: (self._call(self.forward, batch), None, torch.zeros(())), batch)

    def _lose(self, output: Any, target: Any) -> Tensor:
        loss = self.loss
        try:
            return loss(output, loss.prepare(output, target))
        except Exception as error:  # the user's loss may raise anything
            explain_loss(error, loss, output, target)
            raise

    def _check(self, output: Any, target: Any, batch: Any) -> None:
        """Look once, on the first batch of a loss, whether outputs and targets suit it."""
        self.loss.check(output, target)
        for source in self._sources if self.forward is call_on_pair else ():  # else targets are what forward makes
            for place, part in self.loss.parts.items():
                check_labels(source, place, item_at(output, place), part)
        if not self._learnt:
            self._learn(output, target, batch)
        self._usual = usual_size(self.loss, output, target)
        self._expect()

    def _expect(self) -> None:
        for expect in self.acting.expect_loss:
            expect(*self._usual)
        self.checked = True

    def know_as(self, other: ForwardPass) -> None:
        """Take over what another pass, of a model and a loss like these, found out about a batch that is this one's."""
        self._measuring.read_as(other._measuring)
        for text in other._doubts:
            self.tell(text)
        self._learnt, self._doubts, self._usual = True, other._doubts, other._usual
        self._expect()

    def _learn(self, output: Any, target: Any, batch: Any) -> None:
        """Learn from a loss's first batch what outputs mean, which the end of their graph tells."""
        # What is drawn here is not missing elsewhere.
        with Noise.lock, nullcontext() if self.is_silent else self._noise.seeded(0):
            if next(tensors(output), None) is not None and not torch.is_grad_enabled():
                with torch.enable_grad():
                    output, target = self.forward(self.model, batch)
            losses = {place: partial(_lose, part) for place, part in self.loss.parts.items()}
            self._measuring.check(output, target, self._lose, losses)
        self._doubts = list(filter(None, [self._measuring.doubt]))
        for place, part in self.loss.parts.items():
            own = tensor_of(item_at(output, place))
            if part.traits.scale != SCORES or part.traits.classes_first is None or not ends_in_probabilities(own):
                continue
            text = _(
                "the model ends in a sigmoid or softmax, and the loss applies one again: it expects raw scores. "
                "Remove the model's last layer, or use a loss of probabilities (nn.BCELoss, nn.NLLLoss)."
            )
            self._doubts.append(f"{name_of(place)}: {text}" if place else text)
        for doubt in self._doubts:
            self.tell(doubt)
        self._learnt = True


def _lose(loss: Loss, output: Any, target: Any) -> Tensor:
    return loss(output, loss.prepare(output, target))


def call_on_pair(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    """Do the usual forward pass, of a batch (x, y)."""
    if type(batch) is not tuple or len(batch) != 2:
        check_pair(batch)
    return model(batch[0]), batch[1]
