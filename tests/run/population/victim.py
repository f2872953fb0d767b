"""A stored population that is trained and changed all the time, to be killed: see `tests.run.victim`."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import nbopt
from nbopt.record.journal import SWITCH
from nbopt.record.ledger import unwrap
from nbopt.store.reading import read

MEMBERS = 6
STEPS_MORE = 60
TIERS = {"population": "eager", "compiled population": "compiled"}
"""The kinds of victims that are populations, and how they do their steps."""

OPTIONS = {
    "lr": [1e-4, 1e-3, 3e-3],
    "weight_decay": [0.0, 1e-3],
    "dropout": [0.0, 0.1, 0.5],
    "l1": [0.0, 1e-4],
    "label_smoothing": [0.0, 0.1],
    "clip_norm": [0.0, 0.5],
}
FOR_ALL = {"batch_size": [8, 16, 20], "optimizer": ["adam", "sgd"]}
COMPILED = ["lr", "weight_decay", "dropout", "l1"]
"""In what members may differ and be compiled."""


def material():
    """Return a model, always with the same weights, and its data."""
    from tests.run.victim import material

    return material()


def new_population(store, kind):
    model, train, val = material()
    values = {"lr": nbopt.spread(1e-4, 3e-3, MEMBERS), "seed": range(MEMBERS)}
    return nbopt.Population(model, train, val, epochs=10**6, batch_size=16, tier=TIERS[kind], store=store, **values)


def open_population(store, run):
    model, train, val = material()
    return nbopt.open(run, model, train, val, store=store)


def be_victim(store: str, seed: str, run_id: str, kind: str, out: int, show: Callable[[Any], Any] | None) -> None:
    """Train and change a population for ever, telling ``out`` of each entry of its ledger.

    One that is to be compiled begins to tell once it is.
    """
    chance = random.Random(seed)
    population = open_population(store, run_id) if run_id else new_population(store, kind)
    if show is not None:
        show(population)
    population.start()
    while TIERS[kind] == "compiled" and not population.puller.together.compiled.at_work:
        time.sleep(0.01)
    os.write(out, f"{population.id} {os.getpid()}\n".encode())
    told = 0
    while True:
        time.sleep(chance.uniform(0, 0.03))
        change(population, chance, kind)
        for entry in population.keeping.ledger[told:]:
            told += 1
            os.write(out, f"{json.dumps(entry)}\n".encode())  # a whole line or nothing


def change(population, chance, kind):
    """Do something to a population, as chance has it; to one that is compiled, what it stays compiled with, mostly."""
    names, for_all = (COMPILED, 0.03) if TIERS[kind] == "compiled" else ([*OPTIONS], 0.3)
    deed = chance.choice(["set", "set", "set", "set", "clone", "stop", "all"])
    member, other = chance.sample(range(MEMBERS), 2)
    if deed == "set":
        name = chance.choice(names)
        population.set(members=[member], **{name: chance.choice(OPTIONS[name])})
    elif deed == "stop" and sum(not one.state.is_ended for one in population) > 3:
        population.stop(members=[member])
    elif deed == "clone" and not population[member].state.is_ended:
        population.clone(member, into=other, lr=chance.choice(OPTIONS["lr"]))
    elif deed == "all" and chance.random() < for_all:
        name = chance.choice(list(FOR_ALL))
        population.pause()
        population.set(**{name: chance.choice(FOR_ALL[name])})
        population.start()


def ends_as_unbroken(store: Path, run: str, kind: str) -> bool:
    """Go on with a population that was killed, and compare it with one to which the same is done without a break."""
    resumed = open_population(store, run)
    if "not_exact" in [entry.name for entry in resumed.journal]:
        return False
    resumed.step(STEPS_MORE)
    unbroken = do_the_same(read(run, store).ledger, resumed.ticks, kind)
    return all(map(are_the_same, resumed, unbroken))


def was_compiled(store: Path, run: str) -> bool:
    """Whether machine code did the last steps that a store knows of."""
    switches = [own.new["many"] for _member, own in map(unwrap, read(run, store).ledger) if own.name == SWITCH]
    return bool(switches) and switches[-1] in ("compiled", "whole")


def do_the_same(ledger, steps, kind):
    """Return a population to which all is done that a ledger tells of, by what anybody can call.

    Only that machine code does its steps from where it did them, and not from when it is there, nobody can ask for.
    """
    population, done, tier = new_population(None, kind), 0, ""

    def step(count):
        compiled, evaluation = population.puller.together.compiled, population.puller.together.evaluation
        compiled.is_on = compiled.is_awaited = tier in ("compiled", "whole")  # whatever has to be compiled anew
        evaluation.is_on = evaluation.is_awaited = tier == "whole"
        population.step(count)

    for entry in ledger:
        if entry.step > done:
            step(entry.step - done)
            done = entry.step
        member, own = unwrap(entry)
        if own.name == SWITCH:
            tier = own.new["many"]
        elif own.name == "clone":
            changes = {name: value for name, value in own.new.items() if name not in ("member", "into")}
            population.clone(own.new["member"], into=own.new["into"], **changes)
        elif own.name == "stopped" and member is not None and "copied" not in own.new:
            population.stop(members=[member])
        elif own.kind == "change" and population[member].hyperparams[own.name] != own.new:
            population.set(members=None if own.name in FOR_ALL else [member], **{own.name: own.new})
    if steps > done:
        step(steps - done)
    return population


def are_the_same(member, other):
    """Whether members have the same weights, curves, changes and states."""
    pairs = zip(member.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    curves = [{name: one.history[name][1].tolist() for name in one.history.names} for one in (member, other)]
    changed = [[entry[:4] for entry in one.journal.changes()] for one in (member, other)]
    alike = curves[0] == curves[1] and changed[0] == changed[1] and member.state is other.state
    return alike and all(torch.equal(own, same) for own, same in pairs)
