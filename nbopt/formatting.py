"""How numbers are written, wherever somebody reads them: in controls, marks, journal, header, charts and tables.

Digits are those of Python in every language, with a comma between thousands where something is counted, so that a value
can be typed as it is read; units are translated. `numbers.js` of the notebook's scripts writes as this does.
"""

from __future__ import annotations

import math
from typing import Any

from nbopt.i18n import _


def number(value: Any) -> str:
    """Write a value, of a hyperparameter for example, as briefly as it can be read back.

    Examples
    --------
    >>> [number(value) for value in (1e-3, 3e-4, 64, 0.1 + 0.2, 123456.0, "adam", float("inf"))]
    ['0.001', '3e-4', '64', '0.3', '1.23456e5', 'adam', 'inf']
    """
    if isinstance(value, bool) or not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}"
    mantissa, exponent = f"{value:.5e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def setting(value: Any) -> str:
    """Write the value of a hyperparameter as it is told: what is switched is on or off.

    Examples
    --------
    >>> setting(True), setting(3e-4), setting("adam")
    ('on', '3e-4', 'adam')
    """
    return (_("on") if value else _("off")) if isinstance(value, bool) else number(value)


def brief(value: float) -> str:
    """Write a measurement, a loss for example, with four digits.

    Examples
    --------
    >>> brief(0.123456), brief(1234567.0)
    ('0.1235', '1.235e6')
    """
    return number(float(f"{value:.4g}"))


def count(value: float) -> str:
    """Write a number of steps, or of whatever else is counted.

    Examples
    --------
    >>> count(1290)
    '1,290'
    """
    return f"{value:,.0f}"


def speed(steps_per_second: float) -> str:
    """Write a speed with its unit.

    Examples
    --------
    >>> speed(1290.4), speed(2.345)
    ('1,290 steps/s', '2.3 steps/s')
    """
    figure = count(steps_per_second) if steps_per_second >= 10 else number(float(f"{steps_per_second:.2g}"))
    return _("{speed} steps/s", speed=figure)


def duration(seconds: float) -> str:
    """Write seconds as m:ss or h:mm:ss.

    Examples
    --------
    >>> duration(75), duration(3661)
    ('1:15', '1:01:01')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def percent(share: float, digits: int | None = None) -> str:
    """Write a share, an accuracy for example, with so many decimals; by default as many as it needs, up to four digits.

    Examples
    --------
    >>> percent(0.98125, 1), percent(0.5), percent(-1e-9, 1)
    ('98.1 %', '50 %', '0.0 %')
    """
    value = 100 * share
    return f"{value:.4g} %" if digits is None else f"{round(value, digits) + 0.0:.{digits}f} %"  # no -0.0


def milliseconds(seconds: float) -> str:
    """Write a short time in milliseconds, without the unit.

    Examples
    --------
    >>> milliseconds(0.000184)
    '0.184'
    """
    return f"{1e3 * seconds:.3g}"


def size(count: float) -> str:
    """Write a number of bytes with three digits.

    Examples
    --------
    >>> size(354), size(5960), size(2.5e7)
    ('354 B', '5.96 kB', '25 MB')
    """
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
