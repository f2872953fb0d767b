"""Which of two runs is better: both repeated under the same seeds, and the difference told with an interval."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from nbopt.formatting import count
from nbopt.i18n import _
from nbopt.run.population.comparing import compare
from nbopt.run.population.of_run import AsksMany
from nbopt.run.session.registry import live_runs
from nbopt.training.state import RunState

SEEDS = 16
_TELL_SECONDS = 0.5  # between two words of how far the repeats are


class Verdict:
    """Repeats two runs when somebody asks, in a thread, and says what came of it.

    Parameters
    ----------
    wake : callable
        Tells the bridge that there is something to draw.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._told: dict[tuple[object, ...], str] = {}
        self._busy = ""
        self._is_closed = False

    def close(self) -> None:
        """Repeat nothing any more."""
        self._is_closed = True

    def tell(self, ids: Sequence[str]) -> dict[str, str]:
        """Return, of the runs compared, what there is to say (``text``) and what can be asked for (``ask``), in words.

        Parameters
        ----------
        ids : sequence of str
            The panel's own run first.
        """
        if (pair := _find(ids)) is None:
            return {}
        if self._busy:
            return {"text": self._busy}
        if text := self._told.get(_moment(pair)):
            return {"text": text}
        return {"ask": _("Which is better? Repeat both under {count} seeds", count=SEEDS)}

    def ask(self, ids: Sequence[str]) -> None:
        """Repeat two runs that live in this kernel, each up to where it is, and compare them."""
        pair = _find(ids)
        if pair is None or self._busy:
            return
        self._busy = _("Repeating both under {count} seeds …", count=SEEDS)
        threading.Thread(target=self._work, args=(pair,), name="nbopt repeats", daemon=True).start()

    def _work(self, pair: Sequence[AsksMany]) -> None:
        moment = _moment(pair)
        try:
            for run in pair:
                self._repeat(run)
            text = str(compare(pair[0], pair[1]))
        except Exception as error:  # nobody would see it
            text = str(error)
        self._told, self._busy = {moment: text}, ""
        self._wake()

    def _repeat(self, run: AsksMany) -> None:
        known = run.repeats
        done = known is not None and {member.until for member in known} == {run.step_count}
        repeats = known if known is not None and done and len(known) == SEEDS else run.repeat(SEEDS)
        while repeats.state is RunState.RUNNING:
            repeats.wait(_TELL_SECONDS)
            told = {"name": run.name, "step": count(repeats.step_count), "steps": count(run.step_count)}
            self._busy = _("Repeating {name}: step {step} of {steps}", **told)
            self._wake()
            if self._is_closed:
                repeats.stop()


def _find(ids: Sequence[str]) -> Sequence[AsksMany] | None:
    """Return two runs that live here and were trained; None for any others."""
    live = {run.id: run for run in live_runs()}
    found = [run for run in map(live.get, ids) if isinstance(run, AsksMany) and run.step_count]
    return found if len(found) == len(ids) == 2 else None


def _moment(pair: Sequence[AsksMany]) -> tuple[object, ...]:
    return tuple(item for run in pair for item in (run.id, run.step_count, len(run.journal.schedule())))
