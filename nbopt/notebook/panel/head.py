"""What stands above a control's inputs: its name, what became of a request, why it does not act, and help."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any, NamedTuple

from nbopt.formatting import setting
from nbopt.hyperparams import Choice, Flag, Hyperparam, Hyperparams
from nbopt.i18n import _


class Told(NamedTuple):
    """What a head says beside the name.

    Attributes
    ----------
    badge : str
        HTML: what became of a request, or else what the control offers.
    why : str
        Why it does not act; "" where it does.
    default : Any
        The value that it would have if nobody had given one.
    differs : bool
        Whether it has another one now.
    slope : tuple of str, optional
        An arrow to where the loss would fall, and the same in words; both "" before anybody asked, None where nobody
        can.
    """

    badge: str
    why: str
    default: Any
    differs: bool
    slope: tuple[str, str] | None = None


def write_head(spec: Hyperparam[Any], named: bool, told: Told, ends: tuple[str, str] | None) -> str:
    """Return the head as HTML.

    Parameters
    ----------
    spec : Hyperparam
    named : bool
        Whether the name stands here, and not beside a check box.
    told : Told
    ends : (low, high), optional
        What stands below the ends of the slider.
    """
    default = setting(told.default)
    differs = html.escape(_("differs from the default, {value}", value=default), quote=True)
    parts = [
        _label(spec) if named else "",
        f'<span class="nbopt-differs" role="img" aria-label="{differs}" title="{differs}">●</span>' * told.differs,
        _arrow(*told.slope) if told.slope and told.slope[0] else "",
        f'<span class="nbopt-unit">{html.escape(spec.unit)}</span>' * bool(spec.unit),
        f'<span class="nbopt-badge">{told.badge}</span>',
        f'<div class="nbopt-why">{html.escape(told.why)}</div>' * bool(told.why),
        f'<div class="nbopt-about">{_about(spec, default, told.slope)}</div>',
        '<div class="nbopt-ends"><span>{}</span><span>{}</span></div>'.format(*map(html.escape, ends)) if ends else "",
    ]
    return "".join(parts)


def _label(spec: Hyperparam[Any]) -> str:
    tip = html.escape(spec.help, quote=True)
    return f'<label class="nbopt-label" title="{tip}">{html.escape(spec.title)}</label>'


def _arrow(glyph: str, words: str) -> str:
    tip = html.escape(words, quote=True)
    return f'<span class="nbopt-slope" role="img" aria-label="{tip}" title="{tip}">{glyph}</span>'


def _about(spec: Hyperparam[Any], default: str, slope: tuple[str, str] | None) -> str:
    """Return what the question mark opens: help, range, the names it goes by, and what a click can do."""
    also = spec.synonyms.replace(" ", ", ")
    lines = [
        spec.help,
        _("Range: {range}. Legal: {legal}.", range=spec.offered, legal=spec.legal)
        if spec.offered != spec.legal
        else _("Legal: {legal}.", legal=spec.legal),
        _("In code: {name}.", name=spec.name) + (" " + _("Elsewhere: {names}.", names=also) if also else ""),
    ]
    if slope is not None:
        lines.append(slope[1])
    reset = _("Reset to {value}", value=default)
    text = "".join(f"<div>{html.escape(line)}</div>" for line in lines if line)
    buttons = [("reset", reset), ("ask", _("What if?")), *([("which", _("Which way?"))] if slope is not None else [])]
    made = (f'<button type="button" class="nbopt-{name}">{html.escape(words)}</button>' for name, words in buttons)
    return text + " ".join(made)


def reason_not_to_act(name: str, values: Hyperparams, inert: Mapping[str, str]) -> str:
    """Return why a hyperparameter does not act now, in words; "" if it does."""
    if name in inert:
        return _sentence(inert[name])
    if name not in values.active:
        where = (
            _("{label} is {options}", label=values.label(strategy), options=_(" or ").join(options))
            for strategy, options in values.owners(name).items()
        )
        return _("Acts where {condition}.", condition=_(" or ").join(where))
    needs, unless = values.spec(name).needs, values.spec(name).unless
    if unless and values[unless]:
        return _("Acts once {label} is 0.", label=values.label(unless))
    return _("Acts once {condition}.", condition=_other(needs, values)) if _is_off(needs, values) else ""


def _is_off(name: str, values: Hyperparams) -> bool:
    if not name or name not in values:
        return False
    return values[name] == values.spec(name).default if isinstance(values.spec(name), Choice) else not values[name]


def _other(name: str, values: Hyperparams) -> str:
    spec, label = values.spec(name), values.label(name)
    if isinstance(spec, Flag):
        return _("{label} is on", label=label)
    if isinstance(spec, Choice):
        return _("{label} is not “{option}”", label=label, option=spec.default)
    return _("{label} is above 0", label=label)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
