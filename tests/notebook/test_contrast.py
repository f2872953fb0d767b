"""What is drawn in charts can be seen, in every theme of JupyterLab: axe does not look at drawings."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from nbopt.notebook.charts.colours import CLASSES, MARK, OTHERS, PAST, PIN, TRAIN, VAL
from nbopt.notebook.frontend.bridge import Companion

THEMES = Path(sys.prefix, "share/jupyter/lab/themes/@jupyterlab")
CSS = Companion._css
NAMES = ["theme-light-extension", "theme-dark-extension", "theme-dark-high-contrast-extension"]
TEXT, GRAPHICS = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11


def values_of(theme):
    """The variables of a theme, and those of the panel, which come from it."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((THEMES / theme).glob("*.css")))
    # What JupyterLab itself defines stands behind the names in other themes.
    everything = "".join(path.read_text(encoding="utf-8") for path in sorted(THEMES.glob("*/*.css")))
    found = dict(re.findall(r"var\((--md-[\w-]+),\s*(#\w+)\)", everything))
    found.update(re.findall(r"(--[\w-]+)\s*:\s*([^;{}]+)", text))
    found.update(re.findall(r"(--nbopt-[\w-]+)\s*:\s*([^;{}]+);", CSS))
    return found


def colour(text, values):
    """Red, green, blue from 0 to 255, and how much of it covers."""
    text = text.strip()
    if match := re.fullmatch(r"var\((--[\w-]+)(?:,\s*(.+))?\)", text):
        return colour(values.get(match[1], match[2]), values)
    if match := re.fullmatch(r"rgba?\((\d+)[, ]+(\d+)[, ]+(\d+)(?:[,/ ]+([\d.]+)(%?))?\)", text):
        cover = float(match[4] or 1) / (100 if match[5] else 1)
        return (*map(float, match.group(1, 2, 3)), cover)
    if text == "white":
        return 255.0, 255.0, 255.0, 1.0
    digits = text.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    return (*(float(int(digits[k : k + 2], 16)) for k in (0, 2, 4)), 1.0)


def over(front, back):
    cover = front[3]
    return (*(cover * a + (1 - cover) * b for a, b in zip(front[:3], back[:3], strict=True)), 1.0)


def luminance(seen):
    linear = [
        part / 12.92 if (part := value / 255) <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for value in seen[:3]
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(front, back):
    bright, dark = sorted((luminance(over(front, back)), luminance(back)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_the_measure_is_that_of_the_standard():
    assert contrast(colour("#000", {}), colour("white", {})) == pytest.approx(21)
    assert contrast(colour("#999999", {}), colour("#fff", {})) == pytest.approx(2.85, abs=0.01)


@pytest.mark.parametrize("theme", NAMES)
def test_lines_marks_and_points_stand_out_from_their_ground(theme):
    values = values_of(theme)
    ground = colour("var(--nbopt-ground)", values)
    drawn = {name: colour(name, values) for name in (TRAIN, VAL, *OTHERS, PAST, MARK, PIN, *CLASSES)}
    rules = re.findall(r"\.nbopt-over-(mark|best|pin) \{ border-left: \d+px \w+ ([^;]+);", CSS)
    assert len(rules) == 3
    drawn |= {rule: colour(text, values) for rule, text in rules}
    found = {name: round(contrast(front, ground), 2) for name, front in drawn.items()}
    assert {name: ratio for name, ratio in found.items() if ratio < GRAPHICS} == {}


@pytest.mark.parametrize("theme", NAMES)
def test_texts_can_be_read_wherever_they_stand(theme):
    values = values_of(theme)
    ground = colour("var(--nbopt-ground)", values)
    cover = re.findall(r"\.nbopt-over[^{]*(?:note|up)[^{]*\{[^}]*color-mix\(in srgb, var\(--nbopt-ground\) (\d+)%", CSS)
    assert len(cover) == 2 and "color: var(--nbopt-text)" in CSS.split(".nbopt-over > div {")[1].split("}")[0]
    text = colour("var(--nbopt-text)", values)
    veil = (*ground[:3], min(map(float, cover)) / 100)
    backs = [over(veil, colour(name, values)) for name in (TRAIN, VAL, *OTHERS, PAST)]
    assert min(contrast(text, back) for back in [ground, *backs]) >= TEXT
    for name in ("--nbopt-soft", "--jp-content-font-color2"):  # the button of the scale, and the numbers of the axes
        assert contrast(colour(f"var({name})", values), ground) >= TEXT
