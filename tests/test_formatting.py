"""Numbers are written in one way, by kernel and page."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbopt
from nbopt import formatting
from nbopt.formatting import brief, number

CASES = json.loads(Path(__file__).with_name("numbers.json").read_text(encoding="utf-8"))
LONGEST = len("-1.23457e-100")


@pytest.mark.parametrize("kind", CASES)
def test_numbers_are_written_as_the_page_writes_them(kind):
    """labextension/test/numbers.test.ts reads the same table."""
    assert [getattr(formatting, kind)(float(value)) for value, _text in CASES[kind]] == [t for _value, t in CASES[kind]]


@given(st.floats(allow_nan=False))
def test_a_number_is_read_back_close_to_what_it_was_and_is_never_long(value):
    assert float(number(value)) == pytest.approx(value, rel=1e-5, abs=0)
    assert len(number(value)) <= LONGEST


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (64, "64"), ("adam", "adam"), (True, "True"), (10**20, "100000000000000000000"),
        (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_what_is_no_common_number_is_written_as_one_says_it(value, text):
    assert number(value) == text
    if isinstance(value, float):
        assert brief(value) == text


def test_no_other_place_writes_numbers_for_the_panel():
    """A format of its own would make one thing look like two. Places in a picture are nothing that is read."""
    found = []
    for path in Path(nbopt.__file__).parent.rglob("*.py"):
        if {"notebook", "hyperparams"} & set(path.parts):
            for line in path.read_text(encoding="utf-8").splitlines():
                kinds = r",|,?\.\d+[gf]|g" if "_(" in line else r",|,?\.\d+g|g"
                if re.search(rf"\{{[^{{}}]*:({kinds})\}}", line) and "float(f" not in line:
                    found.append((path.name, line.strip()))
    assert found == []
