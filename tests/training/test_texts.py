"""Names and texts: those that cannot be stored or shown are refused when given; what others wrote is made storable."""

import traceback
from pathlib import Path

import numpy as np
import pytest
import torch

from nbopt import open as open_run
from nbopt.errors import MOST, InvalidHyperparam, storable, tell_error
from nbopt.store import writer


@pytest.mark.parametrize("name", ["\ud800", Path("exp1"), 5, 0, {"a": 1}, {}, b"x", "n" * 10**7, "n" * (MOST + 1)])
def test_a_name_that_cannot_be_stored_or_shown_is_refused(make_run, name):
    with pytest.raises(InvalidHyperparam, match="name must be a string"):
        make_run(name=name)


@pytest.mark.parametrize("name", [np.str_("a"), "Über 🙂", "n" * MOST])
def test_any_other_text_is_a_name(make_run, name):
    assert make_run(name=name, store=None).name == name
    assert type(make_run(name=name, store=None).name) is str


@pytest.mark.parametrize("source", [{"a": 1}, "\udcff", None, 7, "s" * 10**7, ""])
def test_a_source_is_a_text_too(make_run, source):
    run = make_run(store=None)
    run.step()
    for ask in (
        lambda: run.set(lr=0.1, source=source),
        lambda: run.start(source=source),
        lambda: run.step(source=source),
        lambda: run.pause(source=source),
        lambda: run.stop(source=source),
        lambda: run.rewind(0, source=source),
        lambda: run.branch(0, source=source),
    ):
        with pytest.raises(InvalidHyperparam, match="source must be"):
            ask()
    assert (run.state.value, run.hyperparams["lr"], len(run.journal)) == ("paused", 1e-3, 2)


def test_the_name_of_a_metric_is_one(make_run):
    with pytest.raises(InvalidHyperparam, match="the name of a metric must be"):
        make_run(metrics={"\ud800": lambda output, target: 0.0})


@pytest.mark.parametrize("text", ["cannot read caf\udce9.png", "x" * 10**7, "\0", ""])
def test_an_exception_is_stored_whatever_its_text(make_run, tmp_path, text):
    def loss(output, target):
        if run.step_count == 3:
            raise ValueError(text)
        return torch.nn.functional.cross_entropy(output, target)

    run = make_run(loss=loss, store=tmp_path)
    told = ""
    try:
        run.step(5)
    except ValueError as error:
        assert error is run.error
    except BaseException as error:  # pytest cannot send such texts from one process to another
        told = ascii("".join(traceback.format_exception(error)))
    assert (told, run.state.value) == ("", "failed")
    writer.flush()
    record = open_run(run.id, store=tmp_path)
    assert (record.state, record.reason, list(record.journal)) == ("failed", run.end_reason, list(run.journal))
    assert record.reason.startswith("ValueError") and len(record.reason) < 20_000
    assert not any(entry.name == "store_failed" for entry in run.journal)


def test_an_exception_that_cannot_tell_its_text_is_told_by_its_kind():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    assert tell_error(Odd()) == "Odd"
    assert storable("short") == "short"


def test_the_names_of_branches_of_branches_stay_names(make_run):
    run = make_run(name="n" * MOST, store=None)
    run.step()
    for _count in range(3):
        run = run.branch(0)
        assert len(run.name) <= MOST and run.name.endswith("branch at 0")
