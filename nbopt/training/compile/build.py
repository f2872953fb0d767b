"""From a chunk to machine code: traced here, compiled ahead of time in a process of its own, and loaded.

Tracing takes a second at most and draws no random numbers. What was compiled stays on the disk, see `packages`: the
same model on the same machine is loaded at once the next time.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from nbopt.i18n import _
from nbopt.torch_private import package_loader
from nbopt.training.compile import products
from nbopt.training.compile.origin import Origin, find_loaded, keep_loaded
from nbopt.training.compile.packages import find_packages
from nbopt.training.compile.step import CannotCompile, Chunk

_COMPILER = Path(__file__).with_name("compiler.py")
_TRACING = threading.Lock()  # torch traces in one thread of a process at a time


class NotKept(CannotCompile):
    """There is no machine code from before, and none is to be made."""


class Build:
    """Compiles chunks, one at a time.

    Parameters
    ----------
    only_kept : bool
        Whether to load no more than what was compiled before.
    origin : Origin, optional
        What the chunk follows from, for what this process has loaded already.
    is_evaluation : bool
        Whether chunks do no steps, see `products`.

    Attributes
    ----------
    process : subprocess.Popen or None
        That of the last one, if it had to be compiled.
    """

    def __init__(self, only_kept: bool = False, origin: Origin | None = None, is_evaluation: bool = False) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._only_kept, self._origin, self._is_evaluation = only_kept, origin, is_evaluation
        self._cancelled = False

    def compile(self, chunk: Chunk, example: list[Tensor]) -> Chunk:
        """Compile a chunk for arguments of these shapes.

        Raises
        ------
        CannotCompile
            If there is no compiler, or the model breaks it.
        NotKept
            If it would have to be compiled, and is not to be.
        """
        origin = self._origin
        if origin is not None and (known := find_loaded(origin)) is not None:
            return known
        try:
            made = self._compile(chunk, example)
        except CannotCompile:
            raise
        except Exception as error:  # whatever a compiler raises
            raise CannotCompile(_last_words(f"{type(error).__name__}: {error}")) from error
        if origin is not None:
            keep_loaded(origin, made)
        return made

    def _compile(self, chunk: Chunk, example: list[Tensor]) -> Chunk:
        graph = trace(chunk, example, products.replacements(self._is_evaluation))
        try:
            return self._load(graph, example)
        except NotKept:
            raise
        except CannotCompile:
            if self._cancelled or not products.are_in(graph):
                raise
        return self._load(trace(chunk, example, {}), example)  # a torch that does not let them be replaced

    def _load(self, graph: fx.GraphModule, example: list[Tensor]) -> Chunk:
        packages, key = find_packages(), _key(graph, example)
        if (content := packages.get(key)) is not None:
            return _load_package(content)
        if self._only_kept:
            raise NotKept
        with packages.workplace() as place:
            content = self._make(graph, example, place / "package.pt2", packages.caches)
        ready = _load_package(content)  # before it is kept, as what cannot be loaded is to be compiled again
        packages.put(key, content)
        return ready

    def _make(self, graph: fx.GraphModule, example: list[Tensor], path: Path, caches: Path) -> bytes:
        job = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, about its own classes
            torch.save((graph, example), job)
        text = job.getbuffer()
        header = f"{torch.get_num_threads()} {len(text)} {path}\n".encode()
        # -P: the folder of the program holds modules of ours, whose names are not to hide anybody's.
        command = [sys.executable, "-P", str(_COMPILER)]
        # torch's compiler loads what lies in its caches: they are within the user's own folder too. In a session of its
        # own: Ctrl-C in a notebook is not meant for it.
        places = {"TORCHINDUCTOR_CACHE_DIR": str(caches), "TRITON_CACHE_DIR": str(caches / "triton")}
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | places,
        )
        self.process = process
        _running.add(process)
        with process:
            try:
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write(header)
                process.stdin.write(text)
                process.stdin.flush()
                said = process.stdout.read().decode(errors="replace")
            finally:
                process.kill()
                _running.discard(process)
        if not path.exists():
            raise CannotCompile(_last_words(said))
        return path.read_bytes()

    def cancel(self) -> None:
        """Break off, from any thread."""
        self._cancelled = True
        if self.process is not None:
            self.process.kill()


def _load_package(content: bytes) -> Chunk:
    with tempfile.TemporaryDirectory(prefix="nbopt-") as place:  # what was checked is what is loaded
        path = Path(place, "package.pt2")
        path.write_bytes(content)
        # Not by `aoti_load_package`, which compiles and loads samples in torch's own folder to learn about the CPU.
        ready: Chunk = package_loader()(str(path), "model", False, 1, -1).boxed_run
    return ready


def trace(chunk: Chunk, example: list[Tensor], replaced: products.Decompositions) -> fx.GraphModule:
    """Return the operations of a chunk as a graph, some of them replaced, without doing them.

    Raises
    ------
    CannotCompile
        If the operations depend on the values of tensors, or on tensors that are not the model's.
    """

    def spread(*flat: Tensor) -> Any:
        return chunk(list(flat))

    try:
        with _TRACING:
            return make_fx(spread, decomposition_table=replaced, tracing_mode="fake")(*example)
    except Exception as error:  # whatever torch, or the model, raises
        told = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        rule = _("Python code that decides by the numbers in tensors, for one, is not followed")
        raise CannotCompile(_("the model cannot be traced ({rule}): {error}", rule=rule, error=told)) from error


def _key(graph: fx.GraphModule, example: list[Tensor]) -> str:
    """Return the name of a graph's package, which stands for all that the code depends on."""
    facts = [
        graph.code,
        *[(tuple(tensor.shape), tensor.stride(), str(tensor.dtype)) for tensor in example],
        torch.__version__,
        torch.get_num_threads(),
        torch.backends.cpu.get_cpu_capability(),
        _COMPILER.read_text(),
    ]
    digest = hashlib.sha256(repr(facts).encode())
    for name, tensor in sorted(graph.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else _("the compiler ended without a word")


_running: set[subprocess.Popen[bytes]] = set()


@atexit.register
def _kill_all() -> None:
    for process in list(_running):
        process.kill()
