"""Processes of a test's own that need not import torch and nbopt: forks of one that has, and where no thread runs.

For code that is killed, or whose end is looked at. What is about imports of nbopt forks one that has imported torch
alone, with what its first optimizer would; what is about imports of torch takes a new interpreter.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
_HEADER = struct.Struct("!i")


class Process:
    """Code that runs as ``python -c`` would run it; ``stdin`` and ``stdout`` are pipes.

    Parameters
    ----------
    code : str
    *arguments : str
        ``sys.argv[1:]``.
    cwd : path-like, optional
    environment : dict, optional
        What differs from the variables here.
    bare : bool
        Whether torch is all that is imported.
    """

    def __init__(
        self,
        code: str,
        *arguments: Any,
        cwd: Any = ROOT,
        environment: dict[str, str] | None = None,
        bare: bool = False,
    ) -> None:
        self._bare = bare
        (its_in, self.stdin), (self.stdout, its_out) = _pipe(), _pipe()
        self._stderr = tempfile.TemporaryFile("w+")
        job = [code, [*map(str, arguments)], str(cwd), {**os.environ, **(environment or {})}]
        with its_in, its_out:
            self.pid = _ask(bare, job, its_in, its_out, self._stderr)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def end(self, told: str = "") -> subprocess.CompletedProcess[str]:
        """Tell it this and no more, and wait for its end; return what it printed since, and how it ended."""
        try:
            with self.stdin, self.stdout, self._stderr:
                self.stdin.write(told)
                self.stdin.close()
                printed = self.stdout.read()
                code = _ask(self._bare, self.pid)
                self._stderr.seek(0)
                return subprocess.CompletedProcess([], code, printed, self._stderr.read())
        except BaseException:
            self.kill()
            raise


def run(code: str, *arguments: Any, **where: Any) -> subprocess.CompletedProcess[str]:
    """Run code to its end, see `Process`."""
    return Process(code, *arguments, **where).end()


def _pipe() -> tuple[IO[str], IO[str]]:
    reader, writer = os.pipe()
    return os.fdopen(reader), os.fdopen(writer, "w")


@functools.cache
def _zygotes() -> tuple[list[socket.socket], subprocess.Popen[bytes]]:
    """Start the one that has imported both, and the bare one; they end with this process."""
    ours, its = zip(*(socket.socketpair() for _which in range(2)), strict=True)
    files = [each.fileno() for each in its]
    command = [sys.executable, "-m", "tests.zygote", *map(str, files)]
    process = subprocess.Popen(command, cwd=ROOT, pass_fds=files, stdin=subprocess.DEVNULL)
    for each in its:
        each.close()
    return list(ours), process


def _ask(bare: bool, what: Any, *files: IO[str]) -> int:
    """Have one start a job, or wait for the process of this number; return that number, or the exit code."""
    asked, text = _zygotes()[0][bare], json.dumps(what).encode()
    socket.send_fds(asked, [_HEADER.pack(len(text))], [file.fileno() for file in files])
    asked.sendall(text)
    answer = asked.recv(_HEADER.size, socket.MSG_WAITALL)
    assert answer, "the zygote ended"
    return int(_HEADER.unpack(answer)[0])


def _serve(asking: socket.socket) -> tuple[Any, list[int]] | None:
    """Fork as asked; return the job in each of the forks, and None where nobody asks any more."""
    while True:
        header, files, *_flags = socket.recv_fds(asking, _HEADER.size, 3)
        if not header:
            return None
        what = json.loads(asking.recv(_HEADER.unpack(header)[0], socket.MSG_WAITALL))
        if isinstance(what, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(what, 0)[1])
        elif not (answer := os.fork()):
            asking.close()
            return what, files
        for file in files:
            os.close(file)
        asking.sendall(_HEADER.pack(answer))


def main() -> None:
    """Import, and serve; a fork goes on behind this call, and ends as any interpreter does."""
    import torch
    import torch._dynamo

    torch.set_num_threads(1)
    full, bare = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    if os.fork():
        asking, other = bare, full
    else:
        asking, other = full, bare
        import nbopt

        assert nbopt.Run
    other.close()
    gc.freeze()  # a fork that looks at all of this when it ends would have to copy it first
    with asking:
        job = _serve(asking)
    if job is None:
        return
    (code, arguments, folder, environment), files = job
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = ["-c", *arguments]
    sys.path.insert(0, "")
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(code, "<string>", "exec"), module.__dict__)


if __name__ == "__main__":
    main()
