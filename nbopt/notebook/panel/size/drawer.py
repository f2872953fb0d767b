"""How large a run's model is and how good, beside what smaller ones would be: a drawer of its panel."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import traitlets

from nbopt.errors import shorten
from nbopt.formatting import brief, count, milliseconds, number, percent, size
from nbopt.i18n import N_, _
from nbopt.notebook.frontend.bridge import FrontEnd
from nbopt.notebook.panel.drawers import Drawer
from nbopt.run.beside import explore_size
from nbopt.run.session.steerable import Steerable
from nbopt.run.size.explorer import Explorer
from nbopt.run.size.latency import Latency
from nbopt.run.size.layers import Layer
from nbopt.run.size.state import State
from nbopt.viz.sizes import Mark, draw_lines, draw_marks

_SOURCE = "size"
_MOST_SAMPLES = 4096

_AXES = {"bytes": N_("File size"), "nonzero": N_("Weights not 0"), "macs": N_("Operations"), "latency": N_("Latency")}
_WORDS = {
    "title": N_("Score against size"),
    "against": N_("Against"),
    "sweep": N_("Sweep"),
    "every": N_("for each"),
    "draw": N_("Draw"),
    "take": N_("Set {name} to {value}"),
    "layers": N_("Layers"),
    "layer": N_("Layer"),
    "kind": N_("Kind"),
    "parameters": N_("Parameters"),
    "zeros": N_("Zeros"),
    "bits": N_("Bits"),
    "bytes": N_("In the file"),
    "macs": N_("Operations"),
    "lost": N_("Sensitivity"),
    "inputs": N_("Input sensitivity"),
    "find": N_("Sensitivity"),
    "time": N_("Latency"),
    "samples": N_("batch of"),
    "front": N_("Pareto front"),
    "now": N_("now"),
    "was": N_("before"),
    "full": N_("uncompressed"),
    "run": N_("other runs"),
    "stored": N_("snapshots"),
    "beyond": N_("off the scale"),
    "kernels": N_("ONNX Runtime"),
    "draw_tip": N_("Try its values on the model as it is now, without training"),
    "find_tip": N_("See what the score loses if a layer alone is compressed"),
    "time_tip": N_("Measure how long the model takes for a batch, on this machine"),
    "kernels_tip": N_("Write the model for ONNX Runtime, and measure how long those files take"),
    "hint": N_("Sweep a number to see what its values would do to the score, without training."),
    "empty": N_("Measuring the model …"),
}


class SizePage(FrontEnd):
    """The page's half (size.js): takes charts and rows, and sends ``{"do": ...}``."""

    _esm = Path(__file__).parent / "size.js"
    _css = Path(__file__).parent / "size.css"
    chart: Any = traitlets.Dict().tag(sync=True)
    sweep: Any = traitlets.Dict().tag(sync=True)
    layers: Any = traitlets.List().tag(sync=True)
    axes: Any = traitlets.List().tag(sync=True)
    axis = traitlets.Unicode("bytes").tag(sync=True)
    sweeps: Any = traitlets.List().tag(sync=True)
    facts: Any = traitlets.List().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)
    busy = traitlets.Unicode().tag(sync=True)
    words: Any = traitlets.Dict().tag(sync=True)


class SizeDrawer:
    """Shows what an `Explorer` finds out, and asks it.

    Parameters
    ----------
    run : Steerable
    wake : callable
        Tells the bridge that there is something to show.
    is_seen : callable
        Whether anybody looks at the panel.

    Attributes
    ----------
    widget : SizePage
    explorer : Explorer
    """

    def __init__(self, run: Steerable, wake: Callable[[], None], is_seen: Callable[[], bool]) -> None:
        self._run, self._wake = run, wake
        self._problem = self._swept = ""
        self.explorer: Explorer = explore_size(run, wake, is_seen)
        self.widget = SizePage(
            words={name: _(text) for name, text in _WORDS.items()},
            axes=[[name, _(text)] for name, text in _AXES.items()],
        )
        self.widget.on_msg(lambda _widget, content, _buffers: self._hear(content))
        self.explorer.begin()

    def close(self) -> None:
        """Find out nothing any more; the widget is closed with its panel."""
        self.explorer.close()

    # -- what the user does, on the kernel's threads

    def _hear(self, content: Any) -> None:
        self._problem = ""
        match content:
            case {"do": "axis", "name": str(name)} if name in _AXES:
                self.widget.axis = name
                if name == "latency" and not self.explorer.latencies:
                    self.explorer.time(1)
            case {"do": "sweep", "name": str(name), "by": str(by)} if self._is_sweep(name, by):
                self._swept = name
                self.explorer.sweep(name, by)
            case {"do": "take", "value": int(value) | float(value), "by": str(by)} if self._swept and value == value:
                self._take(value, by)
            case {"do": "sensitivity"}:
                self.explorer.find_sensitivity()
            case {"do": "time", "samples": int(samples)} if 1 <= samples <= _MOST_SAMPLES:
                self.explorer.time(samples)
            case {"do": "kernels", "samples": int(samples)} if 1 <= samples <= _MOST_SAMPLES:
                self.explorer.find_kernels(samples)
            case {"do": "time" | "kernels", "samples": _number}:
                self._problem = _("Latency is measured with 1 to {most} samples.", most=count(_MOST_SAMPLES))
            case _:
                self._problem = _("The sizes do not understand {message}.", message=shorten(content))
        self._wake()

    def _is_sweep(self, name: str, by: str) -> bool:
        ways = self.explorer.compressing
        return name in ways and by in ("", *ways[name])

    def _take(self, value: float, by: str) -> None:
        found = self.explorer.tradeoffs.get(self._swept)
        changes: dict[str, Any] = {self._swept: value}
        if found is not None and found.by:
            changes.update((found.by, option) for option in found.scores if _way(option) == by)
        try:
            self._run.set(source=_SOURCE, **changes)
        except Exception as error:  # nobody would see it
            self._problem = str(error)

    # -- what is shown, on the bridge's thread

    def paint(self) -> None:
        """Show what is known; called by the bridge alone."""
        explorer, page = self.explorer, self.widget
        with page.hold_sync():
            page.chart = self._chart()
            page.sweep = self._sweep()
            page.layers = [self._row(layer) for layer in explorer.layers]
            page.sweeps = [
                [name, self._label(name), [[by, self._label(by)] for by in ways]]
                for name, ways in explorer.compressing.items()
            ]
            page.facts = self._facts()
            page.busy = explorer.at_work
            page.note = self._problem or explorer.problem

    def _row(self, layer: Layer) -> list[str]:
        explorer = self.explorer
        sizes, bits = explorer.packed.sizes, explorer.packed.bits
        largest = max(layer.weights, key=lambda name: sizes.get(name, 0))
        return [
            layer.name or "·",
            layer.kind,
            count(layer.parameters),
            percent(1 - layer.nonzero / layer.parameters, 1),
            str(bits.get(largest, "")),
            size(sum(sizes.get(name, 0) for name in layer.weights)),
            count(layer.macs),
            *(
                self._score(lost[layer.name]) if layer.name in lost else ""
                for lost in (explorer.lost, explorer.lost_inputs)
            ),
        ]

    def _facts(self) -> list[list[str]]:
        explorer = self.explorer
        if not explorer.trail:
            return []
        now = explorer.trail[-1]
        facts = [
            [self._label(explorer.metric), self._score(now.score)],
            [_("File size"), size(now.bytes)],
            [_("Weights not 0"), _("{nonzero} of {all}", nonzero=count(now.nonzero), all=count(now.parameters))],
            [_("Operations for a sample"), count(now.macs)],
        ]
        if (took := explorer.latencies.get(now.structure)) is not None:
            facts.append([_("Latency, batch of {count}", count=count(took.samples)), _tell_latency(took)])
        for kernel in explorer.kernels:
            told = _("{name}, batch of {count}", name=kernel.name, count=count(kernel.latency.samples))
            facts.append([told, f"{_tell_latency(kernel.latency)}, {size(kernel.bytes)}"])
        return facts

    def _chart(self) -> dict[str, Any]:
        explorer, axis = self.explorer, self.widget.axis

        def mark(kind: str, state: State, name: str = "") -> Mark:
            took = explorer.latencies.get(state.structure)
            x = getattr(state, axis) if axis != "latency" else math.nan if took is None else took.median
            return Mark(kind, x, state.score, ", ".join([*([name] if name else []), self._tell(state)]))

        marks = [mark("stored", state) for state in explorer.stored.values()]
        marks += [mark("was", state) for state in explorer.trail[:-1]]
        if explorer.full is not None:
            marks.append(mark("full", explorer.full))
        marks += [mark("run", state, name) for name, state in explorer.others.values()]
        marks += [mark("now", state) for state in explorer.trail[-1:]]
        write = {"bytes": size, "latency": _tell_milliseconds}.get(axis, count)
        return draw_marks(marks, explorer.lower_is_better, write, self._tick)

    def _sweep(self) -> dict[str, Any]:
        found = self.explorer.tradeoffs.get(self._swept)
        if found is None:
            return {}
        lines = {_way(option): scores for option, scores in found.scores.items()}
        metric, name = self._label(self.explorer.metric), self._label(found.name)
        title = _("{metric} by {name}, without training", metric=metric, name=name)
        texts = [number(value) if value else _("off") for value in found.values]
        drawn = draw_lines(found.values, texts, lines, self._run.hyperparams[found.name], self._tick, self._score)
        return drawn and {**drawn, "title": title, "name": name}

    def _tell(self, state: State) -> str:
        step = _("step {step}", step=count(state.step))
        values = [f"{self._label(name)} {number(value)}" for name, value in state.values.items() if value]
        return ", ".join([step, *values, self._score(state.score), size(state.bytes)])

    def _label(self, name: str) -> str:
        if name in self._run.hyperparams:
            return self._run.hyperparams.label(name)
        return _("Validation {measure}", measure=name.removeprefix("val_").replace("_", " "))

    def _score(self, value: float) -> str:
        return percent(value, 1) if self.explorer.metric.endswith("accuracy") else brief(value)

    def _tick(self, value: float) -> str:
        return percent(value) if self.explorer.metric.endswith("accuracy") else brief(value)


def size_drawer(run: Steerable, wake: Callable[[], None], is_seen: Callable[[], bool]) -> Drawer:
    """Return the drawer of a panel that tells of its model's size; for the parameters see `SizeDrawer`."""
    tip = _("See how large the model is, and how good smaller ones would be")
    return Drawer(_("Size"), tip, lambda: SizeDrawer(run, wake, is_seen))


def _way(option: Any) -> str:
    """Return what is written beside the line of an option."""
    return "" if option is None else (_("on") if option else _("off")) if isinstance(option, bool) else str(option)


def _tell_milliseconds(seconds: float) -> str:
    return _("{count} ms", count=milliseconds(seconds))


def _tell_latency(took: Latency) -> str:
    median, spread = 1e3 * took.median, 1e3 * took.spread / 2
    digits = max(0, 1 - math.floor(math.log10(spread or median or 1.0)))  # two of the spread, the median's as far
    return _("{median} ± {spread} ms", median=f"{median:,.{digits}f}", spread=f"{spread:,.{digits}f}")
