"""A copy that is still tied to its original is found before its first step.

`nbopt.run.copies.copying` ties anew what it can. A global variable that the user's functions read, or a way around all
attributes, it cannot see. Therefore the copy does a step on a batch, and is put back; every operation on a weight or
buffer of the original is refused before it is done, so that the original never changes.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nbopt.data.thread_generator import within_mode
from nbopt.data.tree import tensors
from nbopt.i18n import _
from nbopt.objects.buffers import put_tensors_back
from nbopt.objects.reaching import reach
from nbopt.run.copies.counters import Counters
from nbopt.run.spec import RunSpec
from nbopt.torch_private import DispatchMode
from nbopt.training.snapshots.hooked import find_hooked
from nbopt.training.snapshots.outside import compare, keep, put_back, roots_of
from nbopt.training.step.passes import call_on_pair
from nbopt.training.user_code.callables import functions_of

if TYPE_CHECKING:
    from nbopt.training.training import Training


_OURS, _TORCH = Path(__file__).parents[1], Path(torch.__file__).parent


class Tied(RuntimeError):
    """A copy used what belongs to its original."""


def check_hooks(spec: RunSpec) -> None:
    """See that hooks of the user's optimizer reach what they act on otherwise than by global variables.

    Raises
    ------
    Tied
        If they do not: those of a copy would act on the original.
    """
    roots = {"model": spec.model, "loss": spec.loss, "forward": spec.forward}
    _held, shared, _left = find_hooked(spec.own_optimizer, roots)
    if shared:
        given = ", ".join(f"{name}={name}" for name in shared)
        rule = _("give them as default arguments, def hook(optimizer, args, kwargs, {given})", given=given)
        said = _("a hook of the optimizer reads global variables ({names})", names=", ".join(shared))
        said = _("{said}, and would act on the same ones when a copy of the run trains", said=said)
        raise Tied(f"{said}: {rule}.")


def check_ties(twin: Training, original: Training, at_rest: bool) -> None:
    """Do a step with a copy, without its update, and see that it leaves the original alone.

    Parameters
    ----------
    twin, original : Training
        What the twin keeps may have changed afterwards.
    at_rest : bool
        Whether the original does not train meanwhile: then what it keeps beside weights is compared too.

    Raises
    ------
    Tied
        If it does not; names what was used, and where.
    """
    if _is_plain(twin) or DispatchMode is None:
        return
    rule = _("pass what belongs to the model through its attributes or arguments, not through global variables")
    before: dict[str, Tensor] = {}
    after: dict[str, Tensor] = {}
    kept = keep(original, original.model.state_dict(), before) if at_rest else None
    counters = Counters(original) if at_rest else None
    try:
        _probe(twin, original, rule)
    finally:
        if counters is not None:
            counters.put_back()
    if kept is None:
        return
    now = keep(original, original.model.state_dict(), after)
    if changed := compare(kept["roots"], now["roots"], before, after):
        put_back(original, kept, before)
        names = ", ".join(changed)
        said = _("a step of a copy of the model changes {names} of the run it was copied from", names=names)
        raise Tied(f"{said}: {rule}.")


def _probe(twin: Training, original: Training, rule: str) -> None:
    watch, put_back = _Watch({}, rule), twin.acting.keep()
    try:
        batch = twin.cursor.peek()
        common = {_storage(tensor) for tensor in [*tensors(batch), *_state(twin).values()]}
        foreign = {_storage(tensor): name for name, tensor in _state(original).items()}
        watch = _Watch({place: name for place, name in foreign.items() if place not in common}, rule)
        watch.known |= common
        with twin.noise.lock, twin.noise.seeded(twin.step_seed + twin.step), watch:
            _output, _target, loss = twin.pass_.plain(batch)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
    except Tied as tied:
        raise Tied(str(tied)) from None  # the notes of a step that fails do not fit
    except Exception:  # the step itself will raise it, where it belongs
        return
    finally:
        watch.undo()
        put_back()
        for weight in twin.material.parameters.values():
            weight.grad = None
    if watch.written:
        twin.pass_.tell(
            _(
                "{place}: this writes to a tensor outside of the model, which the run and its copies share.",
                place=watch.written[0],
            )
        )


class _Watch(DispatchMode or object):  # type: ignore[misc]
    """Refuses operations on the original's tensors, and notes what is written that is nobody's.

    Parameters
    ----------
    foreign : dict of int to str
        Names of the original's tensors, by where they are in memory.
    rule : str
        What to do about it.

    Attributes
    ----------
    known : set of int
        Where the copy's tensors are, and those that its step made.
    written : list of str
        The lines that write elsewhere.
    """

    def __init__(self, foreign: dict[int, str], rule: str) -> None:
        super().__init__()
        self.known = {0}
        self.written: list[str] = []
        self._foreign = foreign
        self._rule = rule
        self._before: list[tuple[Tensor, Tensor]] = []

    def undo(self) -> None:
        """Undo what was written elsewhere."""
        put_tensors_back(self._before)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in tensors([args, kwargs]):
            if (name := self._foreign.get(_storage(tensor))) is not None:
                said = _(
                    "a copy of the model still uses {name} of the run it was copied from ({place})",
                    name=name,
                    place=_say_place(),
                )
                raise Tied(f"{said}: {self._rule}.")
        for argument, value in zip(func._schema.arguments, args, strict=False):
            writes = argument.alias_info is not None and argument.alias_info.is_write
            if writes and isinstance(value, Tensor) and _storage(value) not in self.known:
                self._before.append((value, value.clone()))
                self.written.append(_say_place())
                self.known.add(_storage(value))
        with within_mode():
            result = func(*args, **kwargs)
        self.known.update(_storage(tensor) for tensor in tensors(result))
        return result


def _say_place() -> str:
    """Return the lines of the user's that led here, from the one that we called."""
    found: list[str] = []
    for frame in reversed(traceback.extract_stack()):
        ours = Path(frame.filename).is_relative_to(_OURS)
        if ours and frame.filename != __file__:
            break
        if not ours and not Path(frame.filename).is_relative_to(_TORCH):
            found.append(_("{name}, line {number}: {line}", name=frame.name, number=frame.lineno, line=frame.line))
    return " → ".join(reversed(found)) or _("in its backward pass")


def _state(training: Training) -> dict[str, Tensor]:
    """Return all tensors of a run's objects, by where they are."""
    roots = roots_of(training)
    found = {place: value for place, value in reach(roots) if isinstance(value, Tensor)}
    for root, module in roots.items():
        if isinstance(module, nn.Module):  # scripted ones have them elsewhere
            found.update((*module.named_parameters(prefix=root), *module.named_buffers(prefix=root)))
    return found


def _storage(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # it has none, as a sparse one
        return 0


def _is_plain(training: Training) -> bool:
    """Whether model, loss and forward pass are torch's and ours through and through."""
    own = functions_of(training.loss) or training.pass_.forward is not call_on_pair
    return not own and all(map(_is_torch, training.model.modules()))


def _is_torch(module: nn.Module) -> bool:
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or "forward" in vars(module)
    return type(module).__module__.startswith("torch.nn.modules.") and not hooked
