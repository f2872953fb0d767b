"""A process that carries out a study and may be killed at any moment: ``python victim.py STORE [ID] [SAMPLER]``.

It prints the study's id, then a line for each trial that is written, and "done" at the end.
"""

import sys

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


if __name__ == "__main__":
    torch.set_num_threads(1)
    store, number, sampler = [*sys.argv[1:], *["", "", "tpe"][len(sys.argv) - 1 :]]
    study = nbopt.open(number, make_model, make_data(), store=store) if number else begin(store, sampler)
    print(study.id, flush=True)
    told = study._written

    def tell():
        global told
        while told < study._written:
            print(f"trial {told}", flush=True)
            told += 1

    study.watchers.append(tell)
    study.fit()
    print("done", flush=True)
