"""Tracing and compiling leave the run alone: they draw nothing, can be broken off, and end with the process."""

import shutil
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from nbopt.data.noise import Noise
from nbopt.training.compile.build import Build, NotKept, trace
from nbopt.training.compile.compiled import Compiler
from nbopt.training.compile.step import CannotCompile
from tests import zygote
from tests.benchmarks.workloads import Attentive, Recurrent, cnn
from tests.waiting import eventually

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")


@pytest.fixture
def workshop(make_run):
    """Return a maker of workshops, for two steps on four samples of a shape."""

    def make(model, *shape):
        torch.manual_seed(0)
        data = torch.randn(20, *shape), torch.randint(3, (20,))
        run = make_run(model, data, optimizer="adam", batch_size=4, tier="eager", store=None)
        run.events()
        return Compiler(run.training, 2)

    return make


def as_it_is(made):
    """Let a workshop take the traced graph for machine code."""
    made.build.compile = lambda chunk, example: lambda flat: trace(chunk, example, {})(*flat)
    return made


class Counting(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) / self.calls


class Branching(nn.Linear):
    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


class Counted(nn.Linear):
    def forward(self, x):
        return super().forward(x) * len(x[x > 0].tolist())


class ByNumpy(nn.Linear):
    def forward(self, x):
        return super().forward(x) * float(x.detach().numpy().sum())


class ByType(nn.Linear):
    """Looks at its weights in a way that tells the functions traced from modules."""

    def forward(self, x):
        return super().forward(x) * (1 + isinstance(self.weight, nn.Parameter))


class Largest(nn.Linear):
    def forward(self, x):
        return super().forward(x) * x.max().item()


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        with torch.no_grad():
            scale = self.a(x)
        return self.b(x) * scale + self.a(x).detach() + self.a(x) * 0.1


class Holding(nn.Linear):
    def forward(self, x):
        return super().forward(x * self.scale)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Recurrent, (5, 1)),
        (Attentive, (40, 1)),
        (cnn, (1, 28, 28)),
        (lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)), (4,)),
        (lambda: Largest(4, 3), (4,)),
        (lambda: Half(), (4,)),
    ],
)
def test_a_traced_chunk_computes_what_the_model_does(workshop, model, shape):
    assert as_it_is(workshop(model(), *shape)).make().chunk


def test_two_threads_trace_at_a_time(workshop):
    """As two runs of one kernel do that are compiled: torch's tracer is one for the whole process."""
    failed = []

    def traced(made):
        try:
            for _each in range(2):
                made.make()
        except CannotCompile as error:
            failed.append(str(error))

    works = [workshop(nn.Linear(5, 3), 5) for _thread in range(2)]
    for made in works:
        as_it_is(made)
    threads = [threading.Thread(target=traced, args=(made,)) for made in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_tracing_draws_nothing_and_leaves_other_threads_noise_alone(workshop):
    """torch's own compiler does not: it puts back the generator that others draw from meanwhile."""
    noise, done = Noise(torch.device("cpu")), threading.Event()

    def draw():
        with noise.seeded(1):
            return torch.stack([torch.rand(20) for _ in range(200)])

    expected, wrong, rounds = draw(), [], []

    def watch():
        while not done.is_set():
            rounds.append(1)
            wrong.extend([1] * (not torch.equal(draw(), expected)))

    made = as_it_is(workshop(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)), 4))
    before = torch.get_rng_state()
    thread = threading.Thread(target=watch)
    thread.start()
    made.make()
    done.set()
    thread.join()
    assert len(rounds) > 1
    assert not wrong
    assert torch.equal(torch.get_rng_state(), before)


def holding():
    model = Holding(4, 3)
    model.scale = torch.ones(4)  # neither parameter nor buffer
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: Counting(4, 3), "changes calls"),
        (lambda: Branching(4, 3), "decides by the numbers.*(?i:data.dependent)"),
        (lambda: Counted(4, 3), "cannot be traced"),
        (lambda: ByNumpy(4, 3), "cannot be traced"),
        (lambda: ByType(4, 3), "computes something else"),
        (holding, "FakeTensor"),
    ],
)
def test_what_machine_code_would_not_follow_is_not_compiled(workshop, model, reason):
    with pytest.raises(Exception, match=reason):
        as_it_is(workshop(model(), 4)).make()


@needs_compiler
def test_a_build_can_be_broken_off(workshop, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    made, said = workshop(nn.Linear(4, 3), 4), []

    def make():
        try:
            made.make()
        except CannotCompile as error:
            said.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    eventually(lambda: made.build.process)
    process = made.build.process
    made.build.cancel()
    thread.join(30)
    assert said
    assert process.poll() is not None
    assert not list(tmp_path.rglob("*.pt2"))


@needs_compiler
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the process in /proc")
def test_a_compiler_ends_with_the_kernel_that_started_it(tmp_path):
    script = """
import os, threading, torch
from tests.waiting import eventually
from nbopt.training.compile.build import Build
build = Build()
work = lambda: build.compile(lambda flat: [flat[0] + 1], [torch.zeros(3)])
threading.Thread(target=work, daemon=True).start()
eventually(lambda: build.process, 60)
print(build.process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    told = zygote.run(script, environment={"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)})
    stat = Path("/proc", told.stdout.strip(), "stat")

    def has_ended():
        return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"

    eventually(has_ended, 60)  # the compiler does not outlive its kernel
    assert not list(tmp_path.rglob("*.pt2"))


def test_what_was_not_compiled_before_is_not_where_only_that_is_wanted(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    build = Build(only_kept=True)
    with pytest.raises(NotKept):
        build.compile(lambda flat: [flat[0] + 1], [torch.zeros(3)])
    assert build.process is None


def test_the_compiler_s_last_words_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    program = tmp_path / "compiler.py"
    program.write_text("import sys; sys.stdin.buffer.readline(); sys.exit('no compiler for this machine')")
    monkeypatch.setattr("nbopt.training.compile.build._COMPILER", program)
    with pytest.raises(CannotCompile, match="no compiler for this machine"):
        Build().compile(lambda flat: [flat[0] + 1], [torch.zeros(3)])


def test_what_cannot_be_loaded_is_not_kept(monkeypatch, tmp_path):
    """A compiler that was disturbed: what it made is no package, and the next one is to compile anew."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    program = tmp_path / "compiler.py"
    program.write_text(
        "import pathlib, sys; header = sys.stdin.buffer.readline().decode()\n"
        "pathlib.Path(header.split(' ', 2)[2].rstrip()).write_bytes(b'half of it')"
    )
    monkeypatch.setattr("nbopt.training.compile.build._COMPILER", program)
    with pytest.raises(CannotCompile):
        Build().compile(lambda flat: [flat[0] + 1], [torch.zeros(3)])
    assert not list(tmp_path.rglob("*.pt2"))
