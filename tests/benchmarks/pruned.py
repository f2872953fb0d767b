"""What pruning and distillation cost and bring: a step's cost, 90 % pruned, three methods at 95 %, a small student.

``python -m tests.benchmarks.pruned [--only cost grown methods taught few] [--data digits] [--on test] [--seeds 5]``:
CPU time, one thread. ``--on val`` is for choosing settings: what is reported comes from ``test``. A student has all
images that its teacher had, or as ``few`` a tenth of them, eight times as often: the same ones alone and taught.
"""

import argparse
import statistics
import time

import torch
from torch import nn

import nbopt
from nbopt.training.state import Stepped
from tests.benchmarks import images
from tests.benchmarks.workloads import SMALL

PARTS = ("cost", "grown", "methods", "taught", "few")
GROWN = {"sparsity_begin": 0.2, "sparsity_end": 0.8, "sparsity_every": 5}
WIDTHS = {"digits": (32, 10), "fashion": (16, 5)}  # of a teacher, and of a student with a tenth of its weights
TEACHER = {"fashion": {"flip": 0.5, "crop": 0.05}}  # its augmentation
TEACHERS = 3
WAYS = {  # temperature, weight and teachers; none: alone
    "taught": ((0, 0, 0), (1.0, 0.9, 1), (2.0, 0.5, 1), (4.0, 0.9, 1)),
    "few": ((0, 0, 0), (2.0, 0.5, 1), (2.0, 1.0, 1), (2.0, 1.0, TEACHERS)),
}


def cnn(size, seed, width=32):
    """Return a network for images of so many pixels; its number of weights grows with the square of ``width``."""
    torch.manual_seed(seed)
    side = 2 if size == 8 else 7
    dense = nn.Linear(2 * width * side**2, 4 * width), nn.ReLU(), nn.Linear(4 * width, 10)
    return nn.Sequential(*images.halved(size, width, 2 * width), nn.Flatten(), *dense)


def train(model, data, on, seed, epochs, **settings):
    """Train; return the run and its accuracy on images that it was not trained on, in points."""
    given = {"epochs": epochs, "batch_size": 64, "lr": 2e-3, "schedule": "cosine", "tier": "eager", **settings}
    run = nbopt.Run(model, data.train, store=None, seed=seed, device="cpu", **given)
    for _event in run.events():
        pass
    x, y = getattr(data, on)
    return run, 100 * float((run.predict(x).argmax(1) == y).float().mean())


def tell(name, found):
    """Print the mean of what seeds came to."""
    spread = statistics.stdev(found) if len(found) > 1 else 0.0
    print(f"  {name:34} {statistics.mean(found):6.2f}  (standard deviation {spread:.2f})", flush=True)


def count(model):
    """Return the number of weights."""
    return sum(weight.numel() for weight in model.parameters())


def go(events, steps):
    """Pull until so many steps are done, or a few more; return the CPU time of one."""
    began, done = time.process_time(), 0
    while done < steps:
        event = next(events)
        done += event.steps if isinstance(event, Stepped) else 0
    return (time.process_time() - began) / done


def cost(train, net, rounds=25, steps=580, tiers=("eager", "compiled")):
    """Print a step's CPU time, 90 % pruned or of 8 bits, as multiples of a plain one: medians of blocks in turn."""
    for tier in tiers:
        plans = {"plain": {}, "magnitude": {"sparsity": 0.9}, "grown": {"sparsity": 0.9, "sparsity_end": 0.9}}
        plans["every 50"] = {"sparsity": 0.9, "sparsity_every": 50}
        plans["none returns"] = {"sparsity": 0.9, "sparsity_regrow": False}
        plans["8 bits"] = {"weight_bits": 8}
        if tier == "eager":
            plans["gradient"] = {"sparsity": 0.9, "sparsity_method": "gradient"}
        sides = {}
        for name, plan in plans.items():
            run = nbopt.Run(
                net(),
                train,
                store=None,
                device="cpu",
                batch_size=64,
                epochs=10**4,
                tier=tier,
                **plan,
            )
            events = sides[name] = run.events()
            run.training.meter.tick(running=True)
            go(events, 60)
            while tier == "compiled" and not run.training.tiers.steps and run.step_count < 5000:
                go(events, 1)
                time.sleep(0.2)  # another process compiles
            print(f"  {name}: {run.tier}", flush=True)
        taken = {name: [] for name in plans}
        for _ in range(rounds):
            for name, events in sides.items():
                taken[name].append(go(events, steps))
        plain = taken["plain"]
        print(f"  {tier}: plain step {1e6 * statistics.median(plain):.0f} us")
        for name, found in taken.items():
            ratios = [one / other for one, other in zip(found, plain, strict=True)]
            print(f"    {name:12} {statistics.median(ratios):.3f}", flush=True)


def grown(data, on, width, seeds, epochs):
    """Print the accuracy of dense networks, and of some pruned gradually to 90 %, which train as long."""
    ways = {"dense": {}, "90 %, all at once": {"sparsity": 0.9}, "90 %, grown": {"sparsity": 0.9, **GROWN}}
    ways["the same, none returns"] = {**ways["90 %, grown"], "sparsity_regrow": False}
    for name, plan in ways.items():
        nets = (cnn(data.size, seed, width) for seed in range(seeds))
        tell(name, [train(net, data, on, seed, epochs, **plan)[1] for seed, net in enumerate(nets)])


def methods(data, on, width, seeds, epochs):
    """Print the accuracy of networks pruned gradually to 95 % by three methods."""
    for name in ("magnitude", "gradient", "random"):
        nets = (cnn(data.size, seed, width) for seed in range(seeds))
        plan = {"sparsity": 0.95, "sparsity_method": name, **GROWN}
        tell(f"95 % by {name}", [train(net, data, on, seed, epochs, **plan)[1] for seed, net in enumerate(nets)])


def taught(part, data, on, widths, augmented, seeds, epochs):
    """Print the accuracy of students alone and taught by a network with ten times as many weights."""
    wide, narrow = widths
    teachers = []
    for seed in range(90, 90 + max(several for _temperature, _weight, several in WAYS[part])):
        run, points = train(cnn(data.size, seed, wide), data, on, seed, epochs, **augmented)
        teachers.append(run.frozen_model())
        print(f"  teacher {points:.2f}", flush=True)
    share = count(cnn(data.size, 0, narrow)) / count(teachers[0])
    print(f"  a student has {share:.3f} of the {count(teachers[0])} weights of a teacher")
    if part == "few":
        few = len(data.train[0]) // 10
        data, epochs = data._replace(train=tuple(each[:few] for each in data.train)), 8 * epochs
    for temperature, weight, several in WAYS[part]:
        extra = {"distill_weight": weight, "temperature": temperature} if several else {}
        found = []
        for seed in range(seeds):
            techniques = [nbopt.Distill(teachers[:several])] if several else []
            student = cnn(data.size, seed, narrow)
            found.append(train(student, data, on, seed, epochs, techniques=techniques, **extra)[1])
        tell(f"by {several}, temperature {temperature:g}, weight {weight:g}" if several else "alone", found)


def main():
    """Print the figures asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--data", nargs="*", choices=images.NAMES, default=("digits",))
    parser.add_argument("--on", choices=("val", "test"), default="test")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="by default 30, of Fashion-MNIST 12")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.data:
        data, widths = images.load(name), WIDTHS[name]
        epochs = asked.epochs or (30 if name == "digits" else 12)
        for part in asked.only:
            began = time.process_time()
            print(f"{name}, {part}, {asked.seeds} seeds, {epochs} epochs, accuracy on {asked.on} images", flush=True)
            if part == "cost":
                cost(data.train, lambda size=data.size, width=widths[0]: cnn(size, 0, width), steps=40)
                if data.size == 8:
                    print("MLP 64-64-10", flush=True)
                    x, y = data.train
                    cost((x.flatten(1), y), SMALL.model)
            elif part in WAYS:
                taught(part, data, asked.on, widths, TEACHER.get(name, {}), asked.seeds, epochs)
            else:
                {"grown": grown, "methods": methods}[part](data, asked.on, widths[0], asked.seeds, epochs)
            print(f"  ({time.process_time() - began:.0f} s of CPU)", flush=True)


if __name__ == "__main__":
    main()
