"""Small models and data, and runs that are stopped when their test is over: see `tests.runs`."""

from tests.runs import _one_torch_thread, blobs, compiled, make_run, make_tiered, mlp, weights

__all__ = ["_one_torch_thread", "blobs", "compiled", "make_run", "make_tiered", "mlp", "weights"]
