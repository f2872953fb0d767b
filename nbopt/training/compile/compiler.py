"""Compiles a graph of tensor operations to machine code: a program of its own, run beside the training.

torch's compiler holds Python's lock and torch's generators for many seconds; in another process it holds up nobody.
Called by `nbopt.training.compile.build`, which writes to standard input a line with the path of the package to make and
the number of bytes to come, then the graph with example arguments. When standard input ends, so does this.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import torch
import torch._higher_order_ops.triton_kernel_wrap  # graphs refer to it as they are read


def main() -> None:
    """Read the job, do it."""
    source = sys.stdin.buffer
    header = source.readline().decode().split(" ", 2)
    threads, size, path = int(header[0]), int(header[1]), Path(header[2].rstrip("\n"))
    job = io.BytesIO(source.read(size))
    threading.Thread(target=_watch, args=(source,), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(10)  # the training comes first
    torch.set_num_threads(threads)  # it becomes part of the code
    graph, example = torch.load(job, weights_only=False)
    # With it, convolutions on a CPU get copies of everything in another layout, in every step: a small CNN takes 7.3 ms
    # a step instead of 4.7. A model that is better off so can be put into that layout as a whole.
    torch._inductor.config.layout_optimization = False
    # Beside the package, not in torch's caches: another kernel that compiles the same would write to the same files.
    torch._inductor.config.aot_inductor.output_path = str(path.with_name("parts"))
    if any("mkldnn" in str(node.target) for node in graph.graph.nodes):
        _lower_products()
    with torch.no_grad():
        program = torch.export.export(graph, tuple(example), strict=False)
        draft = path.with_name(f"{os.getpid()}-{path.name}")
        # Rounded to 16 bits wherever the eager step does.
        exact = {"emulate_precision_casts": True}
        torch._inductor.aoti_compile_and_package(program, package_path=str(draft), inductor_configs=exact)
    draft.replace(path)


def _lower_products() -> None:
    """Let oneDNN's products take weights that change: torch's own lowering wants constants, the kernel does not."""
    from torch._inductor import mkldnn_ir, mkldnn_lowerings  # noqa: F401  (which registers torch's own first)
    from torch._inductor.ir import TensorBox
    from torch._inductor.lowering import lowerings

    product = torch.ops.mkldnn._linear_pointwise  # alone, or with what is done to its result
    unary: Any = mkldnn_ir.LinearUnary.create
    binary: Any = mkldnn_ir.LinearBinary.create
    lowerings[product.default] = lambda *given: TensorBox.create(unary(*given))
    lowerings[product.binary] = lambda *given: TensorBox.create(binary(*given))


def _watch(source: io.BufferedIOBase) -> None:
    source.read()
    os._exit(1)


if __name__ == "__main__":
    main()
