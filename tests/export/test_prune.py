"""Leaving out of a script what its run did not use, and what nothing needs."""

import re

import pytest

from nbopt.export.script.prune import prune
from nbopt.export.script.text import break_long, fill
from nbopt.export.script.unused import find_unused

CASES = {
    "a statement goes with the name it needs": ("a = gone(1)\nb = 2\n", "b = 2\n"),
    "a name that is only set goes too": ("gone = 1\nb = 2\n", "b = 2\n"),
    "its comment goes with it": ("# why\na = gone\n\n# what\nb = 2\n", "\n# what\nb = 2\n"),
    "a test that cannot hold": ("if gone > 1:\n    a = 1\nelse:\n    b = 2\nc = 3\n", "b = 2\nc = 3\n"),
    "a test that holds": ("if here:\n    a = 1\nelse:\n    b = 2\n", "a = 1\n"),
    "another test in its place": ("if gone:\n    a = 1\nelif b:\n    c = 2\n", "if b:\n    c = 2\n"),
    "another test in its place, that holds": ("if gone:\n    a = 1\nelif here:\n    c = 2\n", "c = 2\n"),
    "a test of nothing": ("if a:\n    gone()\nb = 2\n", "b = 2\n"),
    "a loop over it": ("for k in gone:\n    a = 1\nb = 2\n", "b = 2\n"),
    "a block within it": ("with gone(x):\n    # why\n    a = 1\n", "# why\na = 1\n"),
    "a function": ("def gone():\n    return 1\n\nb = 2\n", "\nb = 2\n"),
    "one of two values": ("a = 1 if gone else f(2 if here else 3)\n", "a = f(2)\n"),
    "one of several reasons": ("if a or gone:\n    b = 1\n", "if a:\n    b = 1\n"),
    "none of several reasons": ('if "no" in a or gone:\n    b = 1\nc = 2\n', "c = 2\n"),
    "what holds anyway": ("if here and a:\n    b = 1\n", "if a:\n    b = 1\n"),
    "what holds in any case": ("if here or a:\n    b = 1\n", "b = 1\n"),
    "what does not hold": ("if not here:\n    a = 1\nelse:\n    b = 2\n", "b = 2\n"),
    "what does not hold, in an expression": (
        "a = 1 if not (gone or b) else 2\nb = 1 if not gone else 2\n",
        "a = 1 if not (b) else 2\nb = 1\n",
    ),
    "what a loop goes over": ("for k in a if here else b:\n    c = k\n", "for k in a:\n    c = k\n"),
    "how long a loop goes on": ("while a and here:\n    c = 1\n", "while a:\n    c = 1\n"),
    "what holds anyway, of three": ("if here and a and b:\n    c = 1\n", "if a and b:\n    c = 1\n"),
    "nothing but what holds anyway": ("a = here and here\n", "a = here and here\n"),
    "what has to hold too": ("if a and gone:\n    b = 1\nc = 2\n", "c = 2\n"),
    "a part of a sum": ("a = b + 3 * gone\nc = c + gone\n", "a = b\n"),
    "a text": ('if "gone" in a:\n    b = 1\nif "there" in a:\n    c = 2\n', 'if "there" in a:\n    c = 2\n'),
    "letters of several bytes": ('a = f("\u00e4\u00f6", 1 if here else 2)\n', 'a = f("\u00e4\u00f6", 1)\n'),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_known_is_left_out(name):
    text, left = CASES[name]
    assert prune(text, {"gone": False, "here": True, "'gone'": False, "'no' in a": False}) == left


FUNCTION = """
def train(model, data):
    optimizer = make(model.parameters())
    scales = [group["lr"] for group in optimizer.groups]
    total = 0
    unread = 0
    extra = 0
    losses = []
    notes = []
    best, at = None, 0
    def lose(x):
        return halve(x)
    def halve(x):
        return x / 2
    for step, x in enumerate(data):
        unread += step
        hint = step + 1
        if hint > total:
            notes.append(step)
        for weight in model.parameters():
            weight.grad = None
        for scale in scales:
            scale.clear()
        extra = extra + 1
        loss = lose(x)
        losses.append(loss)
        best, at = loss, step
        if extra > 9:
            break
    return losses, at
"""


def test_what_nothing_needs_is_found():
    assert find_unused(FUNCTION, set()) == {"optimizer", "scales", "scale", "total", "unread", "hint", "notes"}
    assert find_unused(FUNCTION, {"notes"}) == {"optimizer", "scales", "scale", "unread"}
    assert find_unused(FUNCTION, {"scales"}) == {"total", "unread", "hint", "notes"}


def test_what_nothing_needs_is_left_out_with_all_that_it_is_made_of():
    text = prune(FUNCTION, dict.fromkeys(find_unused(FUNCTION, set()), False))
    assert not {"optimizer", "scale", "hint", "notes", "unread"} & set(re.findall(r"\w+", text))
    assert "weight.grad = None" in text and "extra = extra + 1" in text and "def halve" in text


def test_words_are_filled_in_and_keep_their_indentation():
    filled = fill("if x:\n    $body\n$none\nend", body="a = 1\n\nb = 2", none="")
    assert filled == "if x:\n    a = 1\n\n    b = 2\nend"
    with pytest.raises(KeyError, match="word"):
        fill("$word")


def test_a_call_that_grows_too_long_is_broken():
    names = ", ".join(f"argument_{k}" for k in range(8))
    broken = break_long(fill("value = function($names)", names=names))
    assert broken.splitlines()[:2] == ["value = function(", "    argument_0,"]
