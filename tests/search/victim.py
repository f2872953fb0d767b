"""A study that is carried out by a process of its own, which may be killed at any moment."""

import os

import torch

import nbopt

TRIALS = 24


def begin(store, sampler, executor="auto"):
    data = make_data()
    given = {"space": ["lr", "weight_decay", {"width": nbopt.Int(8, low=4, high=16, powers=True)}]}
    given |= {
        "epochs": 2,
        "batch_size": 32,
        "trials": TRIALS,
        "sampler": sampler,
        "pruner": "median",
        "executor": executor,
    }
    return nbopt.Study(make_model, data, 0.25, store=store, name="victim", **given)


def make_model(width):
    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))


def make_data():
    made = torch.Generator().manual_seed(3)
    x = torch.randn(96, 4, generator=made)
    return x, (x[:, 0] + 0.5 * x[:, 1] > 0.2).long()


def found(study):
    return [(trial.number, trial.values, trial.state, trial.objectives, trial.reports) for trial in study.trials]


def start(folder, number="", executor="auto"):
    """Carry a study out in a fork of this process; return its process and what it tells, see `carry_out`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, os.fdopen(reader)
    try:
        os.close(reader)
        carry_out(folder, number, executor, writer).fit()
    finally:
        os._exit(0)


def carry_out(folder, number, executor, told):
    """Return a study, made or opened, that tells in ``told``, a file descriptor, how far it is.

    That is its id, then the number of each trial that is written. Its process may be killed at any moment.
    """
    study = nbopt.open(number, make_model, make_data(), store=folder) if number else begin(folder, "tpe", executor)
    os.write(told, f"{study.id}\n".encode())
    known = study._written

    def tell():
        nonlocal known
        while known < study._written:
            os.write(told, f"{known}\n".encode())
            known += 1

    study.watchers.append(tell)
    return study
