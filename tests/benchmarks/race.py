"""Steps per second of every contender on every workload, as ratios to the hand-written loop.

Each contender runs in turn with the hand-written loop, now before it, now after it, and its ratio is of the two runs
side by side: what else the machine does hits both.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks import rivals
from tests.benchmarks.loops import Contender, Live, by_hand, by_loader
from tests.benchmarks.workloads import Work

ROUNDS = 5
WARM_UP = 0.2
LEAST_STEPS = 50  # of the loop by hand, in a round: a dozen tell nothing
HAND, EAGER, WARM = "hand-written loop", "nbopt", "nbopt, warmed up"
TIERS = {"cpu": "auto", "cuda": "compiled"}  # auto captures no graphs yet
SKLEARN = "scikit-learn MLPClassifier"
LIGHTNING = "Lightning"
OTHERS: dict[str, Callable[[Work, str], Contender]] = {
    "DataLoader loop": by_loader,
    LIGHTNING: rivals.by_lightning,
    "skorch": rivals.by_skorch,
    "Keras on torch": rivals.by_keras,
    SKLEARN: rivals.by_sklearn,
}
NEEDS = {LIGHTNING: "lightning", "skorch": "skorch", "Keras on torch": "keras"}  # where it is absent, it does not run


class Result(NamedTuple):
    """One contender on one workload.

    Attributes
    ----------
    rate : float
        Steps per second, the median.
    ratios : list of float
        To the hand-written loop, one a round, ascending; none for that loop itself.
    """

    rate: float
    ratios: list[float]

    def __str__(self) -> str:
        if not self.ratios:
            return f"{self.rate:,.0f}"
        low, middle, high = self.ratios[0], statistics.median(self.ratios), self.ratios[-1]
        return f"{self.rate:,.0f} **{middle:.2f}** ({low:.2f} to {high:.2f})"


class Heat(NamedTuple):
    """All contenders on one workload; how nbopt did its steps once it was warm."""

    work: Work
    results: dict[str, Result]
    tier: str


def race(work: Work, device: str, seconds: float) -> Heat:
    """Let all run on one workload, each for ``seconds`` a round, or longer where steps are slow."""
    hand = by_hand(work, device)
    seconds = max(seconds, LEAST_STEPS / hand(WARM_UP))
    hand_rates: list[float] = []
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as folder:

        def compare(name: str, contender: Contender) -> None:
            contender(WARM_UP)
            rates, ratios = [], []
            for number in range(ROUNDS):
                pair = [hand, contender] if number % 2 else [contender, hand]
                one, other = (loop(seconds) for loop in pair)
                theirs, ours = (one, other) if number % 2 else (other, one)
                hand_rates.append(theirs)
                rates.append(ours)
                ratios.append(ours / theirs)
            results[name] = Result(statistics.median(rates), sorted(ratios))

        compare(EAGER, Live(work, device, Path(folder, "eager"), "eager"))
        warm = Live(work, device, Path(folder, "warm"), TIERS[device])
        compare(WARM, warm)
        for name, make in OTHERS.items():
            is_here = name not in NEEDS or find_spec(NEEDS[name]) is not None
            if is_here and (name != SKLEARN or (work.hidden and device == "cpu")):
                compare(name, make(work, device))
        tier = warm.run.tier
        warm.run.stop()
    return Heat(work, {HAND: Result(statistics.median(hand_rates), []), **results}, tier)


def table(heats: list[Heat], device: str) -> str:
    """Write the heats as Markdown."""
    head = [f"steps per second, {device}", *(heat.work.title for heat in heats)]
    rows = [
        [name, *(str(heat.results.get(name, "")) for heat in heats)]
        for name in (HAND, EAGER, WARM, *OTHERS)
        if any(name in heat.results for heat in heats)
    ]
    lines = [head, ["---"] * len(head), *rows]
    tiers = "; ".join(f"{heat.work.title}: {heat.tier}" for heat in heats)
    led = [heat.results[WARM].rate / heat.results[LIGHTNING].rate for heat in heats if LIGHTNING in heat.results]
    lead = ", ".join(f"{ratio:.1f}" for ratio in led) or "absent"
    return "\n".join(
        [
            *("| " + " | ".join(line) + " |" for line in lines),
            "",
            f"Warmed up, {tiers}.",
            f"Against Lightning, warmed up: {lead}.",
        ]
    )
