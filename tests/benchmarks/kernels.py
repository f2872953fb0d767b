"""How long a forward pass takes by each kind of kernel on this CPU: ``quantizing --kernels``.

An MLP of 784, 256 and 10 units and two CNNs with batch norm for images of 8 x 8, one and 64 samples, one thread. It is
measured in CPU time by `torch.utils.benchmark`, median and half the distance of quartiles; with the sizes of files, and
the mean difference of outputs from those of PyTorch, relative to the mean output.
"""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.benchmark import Timer

import nbopt

SAMPLES = 1, 64
_FARTHEST = 0.1  # that outputs of 8 bits may be off
Kernel = tuple[str, Callable[[torch.Tensor], Any], int]


def cnn(width: int) -> nn.Module:
    """Return a CNN of two convolutions with batch norm, and two dense layers."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * width, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


MODELS = {
    "MLP 784-256-10": lambda: (nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)), (784,)),
    "CNN of 16 and 32 channels": lambda: (cnn(16), (1, 8, 8)),
    "CNN of 64 and 128 channels": lambda: (cnn(64), (1, 8, 8)),
}


def make(name: str) -> tuple[nbopt.Run, torch.Tensor]:
    """Return a run that trained a little, and samples."""
    torch.manual_seed(0)
    model, shape = MODELS[name]()
    x = torch.randn(256, *shape)
    run = nbopt.Run(model, (x, torch.arange(256) % 10), batch_size=64, epochs=99, store=None, tier="eager")
    run.step(20)
    return run, x


def kernels(run: nbopt.Run, x: torch.Tensor, folder: Path) -> Iterator[Kernel]:
    """Yield each kind of kernel: its name, a forward pass, and the bytes of its file."""
    plain, folded = run.frozen_model(), run.frozen_model(fold=True)
    yield "PyTorch", plain, 0
    yield "PyTorch, norms folded", folded, 0
    yield from of_torchao(folded)
    yield from of_onnx(run, folder)
    yield "AOTInductor", *compile_ahead(export(folded, x), folder / "full.pt2")
    yield "AOTInductor, int8 by torchao's pt2e", *of_pt2e(folded, x, folder)


def of_torchao(model: nn.Module) -> Iterator[Kernel]:
    """Yield torchao's own kernels; linear layers alone have any."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

    for name, config in (("weights", Int8WeightOnlyConfig()), ("dynamic", Int8DynamicActivationInt8WeightConfig())):
        small = deepcopy(model)
        quantize_(small, config)
        yield f"torchao int8, {name}", small, 0


def of_onnx(run: nbopt.Run, folder: Path) -> Iterator[Kernel]:
    """Yield what `Run.export` writes for ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for name, int8 in (("ONNX Runtime", False), ("ONNX Runtime int8", True)):
        path = folder / f"{int8}.onnx"
        size = run.export(path, int8=int8, fold=True).bytes
        session = onnxruntime.InferenceSession(path, options)
        entry = session.get_inputs()[0].name
        yield name, lambda x, session=session, entry=entry: torch.tensor(session.run(None, {entry: x.numpy()})[0]), size


def export(model: nn.Module, x: torch.Tensor) -> torch.export.ExportedProgram:
    """Return a program for any number of samples."""
    return torch.export.export(model, (x[:64],), dynamic_shapes=({0: torch.export.Dim("samples", min=1, max=512)},))


def of_pt2e(model: nn.Module, x: torch.Tensor, folder: Path) -> tuple[Callable[[torch.Tensor], Any], int]:
    """Return a pass with weights and activations of 8 bits, and the bytes of its larger file.

    There is a program for each number of samples. Where that is free, and images have one channel, Inductor takes the
    outputs of a quantized convolution to be in another order in memory than its kernel writes them
    (`torch/_inductor/mkldnn_ir.py`, "for input with channels = 1", which holds where weights are not prepacked).
    """
    small = quantize(model, x)
    made = {
        count: compile_ahead(torch.export.export(small, (x[:count].contiguous(),)), folder / f"int8-{count}.pt2")
        for count in SAMPLES
    }
    return lambda x: made[len(x)][0](x), max(size for _do, size in made.values())


def quantize(model: nn.Module, x: torch.Tensor) -> torch.fx.GraphModule:
    """Return a model with weights and activations of 8 bits, calibrated on 64 samples."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(export(model, x).module(), quantizer)
    prepared(x[:64])
    made: torch.fx.GraphModule = convert_pt2e(prepared)
    return made


def compile_ahead(program: torch.export.ExportedProgram, path: Path) -> tuple[Any, int]:
    """Return what AOTInductor makes of a program, and the bytes of its file."""
    settings = {"freezing": True}
    torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)
    return torch._inductor.aoti_load_package(str(path)), path.stat().st_size


@torch.no_grad()
def main() -> None:
    """Print a table for each model."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    for title in MODELS:
        run, x = make(title)
        expected = run.predict(x[:64])
        print(f"{title}\n{'':36} {'1 sample':>16} {'64 samples':>18} {'file':>11} {'off by':>7}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            for name, do, size in kernels(run, x, Path(folder)):
                times = []
                for samples in SAMPLES:
                    call = {"do": do, "x": x[:samples].contiguous()}
                    timer = Timer("do(x)", globals=call, timer=time.process_time, num_threads=1)
                    found = timer.blocked_autorange(min_run_time=1.0)
                    times.append(f"{found.median * 1e3:.3f} ± {found.iqr * 500:.3f} ms")
                off = float((do(x[:64]) - expected).abs().mean() / expected.abs().mean())
                if off > _FARTHEST:
                    raise RuntimeError(f"{name} computes something else: outputs are off by {off:.0%}")
                file = f"{size:,} bytes" if size else ""
                print(f"{name:36} {times[0]:>16} {times[1]:>18} {file:>15} {off:7.1%}", flush=True)


if __name__ == "__main__":
    main()
