"""A study that is carried out by a process of its own, which may be killed at any moment."""

import os

import torch

import nbopt

KINDS = {
    "tpe": {"pruner": "median", "val": 0.25},
    "hyperband": {"pruner": "hyperband", "epochs": 4, "val": 0.25},
    "cv": {"cv": 3},
    "pbt": {"sampler": "pbt", "space": ["lr", "weight_decay"], "val": 0.25},
}


def begin(store, executor="auto", kind="tpe", trials=24):
    width = nbopt.Int(8, low=4, high=16, powers=True)
    given = {"space": ["lr", "weight_decay", {"width": width}], "epochs": 2, "batch_size": 32} | KINDS[kind]
    torch.manual_seed(0)
    build = make_model if len(given["space"]) > 2 else make_model(8)
    return nbopt.Study(build, make_data(), store=store, name="victim", trials=trials, executor=executor, **given)


def make_model(width):
    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))


def make_data():
    made = torch.Generator().manual_seed(3)
    x = torch.randn(96, 4, generator=made)
    return x, (x[:, 0] + 0.5 * x[:, 1] > 0.2).long()


def found(study):
    return [(trial.number, trial.values, trial.state, trial.objectives, trial.reports) for trial in study.trials]


def start(folder, number="", **given):
    """Carry a study out in a fork of this process; return its process and what it tells, see `carry_out`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, os.fdopen(reader)
    try:
        os.close(reader)
        carry_out(folder, writer, number, **given).fit()
    finally:
        os._exit(0)


def carry_out(folder, told, number="", kind="tpe", **given):
    """Return a study, made or opened, that tells in ``told``, a file descriptor, how far it is.

    That is its id, then the number of each trial that is written. Its process may be killed at any moment.
    """
    study = open_again(number, folder, kind) if number else begin(folder, kind=kind, **given)
    os.write(told, f"{study.id}\n".encode())
    known = study._written

    def tell():
        nonlocal known
        while known < study._written:
            os.write(told, f"{known}\n".encode())
            known += 1

    study.watchers.append(tell)
    return study


def open_again(number, folder, kind="tpe"):
    build = make_model(8) if kind == "pbt" else make_model
    return nbopt.open(number, build, make_data(), store=folder)
