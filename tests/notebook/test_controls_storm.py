"""Changes from page and code at once: nothing is lost or made up."""

from __future__ import annotations

import random
import threading

import nbopt
from nbopt.formatting import number
from nbopt.hyperparams import Choice, Flag
from nbopt.techniques.compression.bits import WeightBits
from nbopt.techniques.compression.codebook import Codebook
from nbopt.techniques.initialization import Initialization
from tests.notebook.frontend import eventually
from tests.notebook.inputs import changes, inputs_of, settled

TURNS = 400  # of each thread


def sliders(panel):
    """The sliders of a panel by hyperparameter."""
    return {name: control.inputs[0] for name, control in panel.controls.items() if len(control.inputs) == 2}


class Logged(nbopt.Run):
    """A run that keeps what it was asked for, in order."""

    def set(self, *, source="code", **asked):
        with self.log_lock:
            self.log.append((source, threading.get_ident(), asked))
            super().set(source=source, **asked)


def test_in_a_storm_of_changes_from_page_and_code_nothing_is_lost_or_made_up(page, make_run, show, restless_threads):
    """Several threads move every control at the page and in code, while the run trains and the bridge paints."""
    run = make_run(metrics=[], val=None, recover=False)
    run.__class__ = Logged
    values = dict(run.hyperparams)
    run.log, run.log_lock = [], threading.Lock()
    panel = show(run)
    companion = panel.bridge.companion
    run.start()
    done = threading.Event()
    failures = []
    # Those end the run, act, do not go with every optimizer, or come too late.
    fixed = {"epochs", "recover", "loss", "precision", "hyperdescent", *Initialization.declared()}
    fixed |= {*WeightBits.declared(), *Codebook.declared()}
    moved = [name for name in panel.controls if name not in fixed]
    offered = {name: [stop[1] for stop in item.options] for name, item in sliders(panel).items()}
    asked = []  # by the people at the page: (thread, name, test of the value)

    def answer():
        while not done.wait(0.0005):
            page.answer(panel)

    def move(control, rng):
        """Do as a person would; return a test for what that asks for."""
        item, box = inputs_of(control)
        if isinstance(control.spec, Flag):
            value = rng.random() < 0.5
            page.do(item, value=value)
            return lambda asked: asked is value
        if isinstance(control.spec, Choice) or rng.random() < 0.5:
            stops = item.options if isinstance(control.spec, Choice) else offered[control.spec.name]
            index = rng.randrange(len(stops))
            page.do(item, index=index)
            # Or the newest value of all, where that took this one's place.
            return lambda asked: asked == stops[index] or asked not in stops
        text = rng.choice(["nonsense", "0.25", "3", "7", "0.001", number(rng.random()), str(rng.randrange(1, 200))])
        page.do(box, value=text)
        return lambda asked: number(asked) == text

    def at_the_page(seed):
        rng = random.Random(seed)
        try:
            for _turn in range(TURNS):
                name = rng.choice(moved)
                asked.append((threading.get_ident(), name, move(panel.controls[name], rng)))
        except BaseException as error:
            failures.append(error)

    def in_code(seed):
        rng = random.Random(seed)
        try:
            for _turn in range(TURNS):
                name = rng.choice(["lr", "weight_decay", "batch_size", "nesterov", "optimizer", "momentum", "l1"])
                choices = {"batch_size": [1, 48, 64, 100, 5000], "nesterov": [True, False]}
                choices["optimizer"] = ["sgd", "adam", "rmsprop", "adamw"]
                run.set(**{name: rng.choice(choices.get(name) or [0.0, rng.random(), 0.001, 0.9 * rng.random()])})
        except BaseException as error:
            failures.append(error)

    people = [threading.Thread(target=at_the_page, args=(seed,)) for seed in range(3)]
    programs = [threading.Thread(target=in_code, args=(seed,)) for seed in (10, 11)]
    watcher = threading.Thread(target=answer)
    for thread in (watcher, *people, *programs):
        thread.start()
    for thread in (*people, *programs):
        thread.join(60)
    eventually(lambda: companion.frame > 20)  # it does paint, however slow the machine is
    run.pause()
    done.set()
    watcher.join(20)
    assert failures == []

    # Every move asked for what it was, once, in its thread's order; and nobody else asked in the panel's name.
    heard = [(thread, *next(iter(changes.items()))) for source, thread, changes in run.log if source == "panel"]
    for thread in {thread for thread, _name, _is_it in asked}:
        mine = [(name, value) for asker, name, value in heard if asker == thread]
        moves = [(name, is_it) for mover, name, is_it in asked if mover == thread]
        assert [name for name, _value in mine] == [name for name, _is_it in moves]
        assert all(is_it(value) for (_name, value), (_same, is_it) in zip(mine, moves, strict=True))
    assert len(heard) == len(asked) == 3 * TURNS

    # The journal has just what was asked for and legal, in that order, and each value follows from the one before.
    expected = []
    for source, _thread, changes_ in run.log:
        for name, value in changes_.items():
            try:
                value = run.hyperparams.check({name: value})[name]
            except ValueError:
                continue
            if value != values[name]:
                expected.append((name, values[name], value, source))
                values[name] = value
    assert changes(run) == expected

    # All quiet: run, panel and page agree, but for boxes whose nonsense waits to be put right.
    for control in panel.controls.values():
        if control._problem:
            page.do(control.inputs[1], value=number(run.hyperparams[control.spec.name]))
    eventually(lambda: all(control._requested is None for control in panel.controls.values()))  # by a frame to come
    eventually(lambda: settled(page, panel))
