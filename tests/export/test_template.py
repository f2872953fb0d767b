"""Templates."""

import pytest

from nbopt.export.template import render


def test_lines_and_blocks_stand_under_conditions():
    template = "a\nb  #? one\n#? two\nc\n#? one not two\nd\n#?\n#?\ne  #? not one\n"
    assert render(template, {"one": True, "two": False}, {}) == "a\nb\n"
    assert render(template, {"one": False, "two": True}, {}) == "a\nc\ne\n"


def test_words_are_filled_in_and_keep_their_indentation():
    assert render("if x:\n    $body\n$none\nend", {}, {"body": "a = 1\n\nb = 2", "none": ""}) == (
        "if x:\n    a = 1\n\n    b = 2\nend\n"
    )


def test_mistakes_in_a_template_are_errors():
    with pytest.raises(KeyError, match="flag"):
        render("a  #? flag", {}, {})
    with pytest.raises(KeyError, match="word"):
        render("$word", {}, {})
    with pytest.raises(ValueError, match="no end"):
        render("#? one\na", {"one": True}, {})
