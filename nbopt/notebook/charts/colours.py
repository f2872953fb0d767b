"""Colours that colour-blind people tell apart, on white and on black: from Okabe and Ito's palette (2008)."""

from __future__ import annotations

TRAIN, VAL = "#2b8cd6", "#e0701b"  # blue, vermilion
# Runs beside this one: green, purple, dark yellow; then violet, teal and red, which need their names beside them.
OTHERS = ("#009e73", "#cc79a7", "#b08a00", "#8e5ab5", "#329c9c", "#c2504d")
PAST = "#8c8c8c"  # what a rewind gave up
MARK = "#808080"
PIN = "#d55e00"
CLASSES = ("#8e5ab5", "#1b9e5a")  # purple, green: of points, and of weights below and above zero
RACERS = (TRAIN, VAL, OTHERS[0], OTHERS[1])
DEPTH = "#5b7fa6"  # of a surface's lowest places
