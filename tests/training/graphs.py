"""A GPU's graphs on the CPU: operations are recorded, and done again on the same places in memory.

What a CUDA graph cannot hold fails here too: reading a number off the device, or numbers that come from Python's side.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

_WAITS = {"aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::is_nonzero", "aten::lift_fresh"}


class Recording(TorchDispatchMode):
    """Notes operations, and puts back what they wrote to when the recording began."""

    def __init__(self):
        super().__init__()
        self.operations = []
        self._before = []
        self._made = set()  # memory that came into being here

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function._schema.name in _WAITS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {function._schema.name}")
        arguments = _noted((args, kwargs or {}))
        inputs = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, torch.Tensor)]
        if function._schema.is_mutable:
            self._before += [(tensor, tensor.clone()) for tensor in inputs if _place(tensor) not in self._made]
        results = function(*args, **(kwargs or {}))
        known = {_place(tensor) for tensor in inputs}
        given = tree_leaves(_noted(results))
        fresh = [one if isinstance(one, torch.Tensor) and _place(one) not in known else None for one in given]
        self._made |= {_place(tensor) for tensor in fresh if tensor is not None}
        if function._schema.is_mutable or any(tensor is not None for tensor in fresh):  # not for views alone
            self.operations.append((function, arguments, fresh))
        return results

    def end(self):
        for tensor, numbers in reversed(self._before):
            tensor.copy_(numbers)
        for *_operation, fresh in self.operations:  # nothing was computed yet
            for tensor in filter(lambda tensor: tensor is not None, fresh):
                tensor.fill_(torch.nan if tensor.is_floating_point() else 0)

    def launch(self):
        for function, arguments, fresh in self.operations:
            args, kwargs = _noted(arguments) if torch.Tag.inplace_view in function.tags else arguments
            results = function(*args, **kwargs)
            leaves = [results] if isinstance(results, torch.Tensor) else tree_leaves(results)
            for place, result in zip(fresh, leaves, strict=True):
                if place is not None:
                    place.copy_(result)


def _noted(tree):
    """Return tensors as they are now: some operations turn them in place, but not their numbers."""
    return tree_map_only(torch.Tensor, torch.ops.aten.alias.default, tree)


def _place(tensor):
    return tensor.untyped_storage().data_ptr()


def record(work):
    """Record as a CUDA graph does; to be put among `nbopt.training.compile.captured.RECORDERS`."""
    recording = Recording()
    with torch.no_grad():
        with recording:
            results = work()
        recording.end()
    return torch.no_grad()(recording.launch), results
