"""Models as programs that run without their Python code: torch.export, and ONNX with kernels for whole numbers."""

from __future__ import annotations

import inspect
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nbopt.i18n import _

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""What a model is called with: a batch of samples, in the first dimension of tensors."""


def need(name: str) -> Any:
    """Return a module of the extra ``onnx``; raise ImportError, with what to install, where it is missing."""
    try:
        return import_module(name)
    except ImportError as error:
        text = _("ONNX files need {name}, which is not installed: pip install 'nbopt[onnx]'", name=name)
        raise ImportError(f"{text} ({error}).", name=name) from error


def write_program(model: nn.Module, arguments: Arguments, path: Path) -> None:
    """Write what `torch.export.load` reads; the number of samples is free."""
    given, named = arguments
    with quiet():
        program = torch.export.export(model, given, named, dynamic_shapes=_free(model, arguments))
        torch.export.save(program, path)


def write_onnx(model: nn.Module, arguments: Arguments, path: Path) -> None:
    """Write what ONNX Runtime reads; the number of samples is free."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        need(name)
    given, named = arguments
    shapes = _free(model, arguments)
    with quiet():
        torch.onnx.export(
            model, given, path, kwargs=named, dynamo=True, dynamic_shapes=shapes, verbose=False, external_data=False
        )


def write_int8(model: nn.Module, batches: Sequence[Arguments], path: Path) -> None:
    """Write what ONNX Runtime computes with whole numbers of 8 bits; see `quantize_onnx`."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        whole = Path(folder) / "whole.onnx"
        write_onnx(model, batches[0], whole)
        quantize_onnx(whole, path, batches)


def quantize_onnx(whole: Path, path: Path, batches: Iterable[Arguments]) -> None:
    """Write an ONNX file again with weights and activations of 8 bits, between the ends that these batches have."""
    tools = need("onnxruntime.quantization")
    names = [each.name for each in need("onnxruntime").InferenceSession(whole).get_inputs()]
    fed = ([x.numpy() for x in (*given, *named.values()) if isinstance(x, Tensor)] for given, named in batches)
    reader = (dict(zip(names, inputs, strict=True)) for inputs in fed)

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> Any:
            return next(reader, None)

    kinds = {"weight_type": tools.QuantType.QInt8, "activation_type": tools.QuantType.QUInt8}
    with quiet():
        tools.quantize_static(whole, path, Reader(), quant_format=tools.QuantFormat.QDQ, per_channel=True, **kinds)


def _free(model: nn.Module, arguments: Arguments) -> Any:
    """Return the shapes of a model's arguments, those of tensors with any number of samples."""
    given, named = arguments

    def free(x: Any) -> Any:
        return {0: torch.export.Dim.AUTO} if isinstance(x, Tensor) and x.ndim else None

    if not named:
        shapes = [free(x) for x in given]
        kinds = [each.kind for each in inspect.signature(model.forward).parameters.values()]
        if inspect.Parameter.VAR_POSITIONAL in kinds:  # of any number, as of a model that torch.compile made
            first = kinds.index(inspect.Parameter.VAR_POSITIONAL)
            shapes[first:] = [tuple(shapes[first:])]
        return tuple(shapes)
    raise ValueError(_("a model that gets named arguments cannot be exported as a program: give the run a forward"))


@contextmanager
def quiet() -> Iterator[None]:
    """Have the exporters say nothing of what they do without."""
    logger = logging.getLogger()
    levels = {each: each.level for each in (logger, logging.getLogger("torch.onnx"))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in levels:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in levels.items():
                each.setLevel(level)
