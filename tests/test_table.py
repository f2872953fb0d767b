import doctest
import pickle
import re
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest

import nbopt
from nbopt.errors import UnknownName
from nbopt.hyperparams import Choice, Flag, Float, Hyperparams, HyperparamTable, Int, Strategy, Tunable

COLUMNS = ["default", "range", "legal", "group", "help"]


class Kettle(Tunable):
    heat = Float(0.5, low=1e-3, high=10.0, log=True, zero=True, ge=0.0, lt=100.0, group="Stove", help="How hot.")
    cups = Int(4, low=1, high=1 << 20, powers=True, ge=1, group="Stove", help="A" + " very" * 40 + " long text.")
    lid = Flag(True)


class Sealed(Kettle):
    tint = Choice("<b>red</b>", options=("<b>red</b>", '"blue" & green'), help="<script>alert(1)</script>")


@pytest.fixture
def hyperparams():
    kind = Strategy("plain", classes={"plain": Kettle, "sealed": Sealed})
    kind.__set_name__(Tunable, "kettle")
    made = Hyperparams()
    made.declare(kind)
    made.assign("heat", 2.5)
    return made


class Cells(HTMLParser):
    """The cells of each row, and every tag there is."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.attributes = [], set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(attrs)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.rows[-1][-1] += data


def test_a_row_tells_what_its_declaration_does(hyperparams):
    table = HyperparamTable(hyperparams.specs)
    assert list(table) == ["kettle", "heat", "cups", "lid", "tint"]
    assert dict(table["heat"]) == {
        "name": "heat",
        "default": 0.5,
        "range": "0, then 0.001 to 10, on a log scale",
        "legal": "a finite number at least 0 and below 100",
        "group": "Stove",
        "help": "How hot.",
    }
    assert (table["cups"]["range"], table["cups"]["legal"]) == (
        "1 to 1048576, in powers of 2",
        "a whole number at least 1",
    )
    assert table["lid"]["range"] == table["lid"]["legal"] == "True or False"
    assert table["kettle"]["range"] == table["kettle"]["legal"] == "plain, sealed"


def test_the_legal_values_of_the_table_are_those_of_the_error(hyperparams):
    for name, row in HyperparamTable(hyperparams.specs).items():
        with pytest.raises(ValueError, match=re.escape(row["legal"])):
            hyperparams.check({name: object()})


def test_an_unknown_row_is_answered_with_the_one_that_was_meant():
    with pytest.raises(UnknownName, match="Did you mean 'lr'"):
        nbopt.hyperparams()["learning_rate"]


def test_text_is_aligned_and_says_everything(hyperparams):
    text = str(hyperparams)
    assert text == repr(hyperparams)
    head, *lines = text.split("\n")
    places = [head.index(title) for title in ("name", "now", "default", "range", "legal", "group", "help")]
    for line in lines:
        assert all(line[place - 2 : place].strip() == "" for place in places[1:]), line
    assert max(map(len, lines)) <= 160
    columns = [
        " ".join(line[start:end].strip() for line in lines)
        for start, end in zip(places, [*places[1:], None], strict=True)
    ]
    assert columns[0].split() == list(hyperparams)
    assert " ".join(columns[1].split()) == "plain 2.5 4 True <b>red</b>"
    assert "A" + " very" * 40 + " long text." in " ".join(columns[-1].split())


def test_a_run_s_table_is_as_it_is_now(hyperparams):
    assert "2.5" in repr(hyperparams) and "9.75" not in repr(hyperparams)
    hyperparams.assign("heat", 9.75)
    assert "9.75" in repr(hyperparams)


def test_html_holds_the_same_as_text_that_no_browser_takes_for_markup_and_no_colours(hyperparams):
    cells = Cells(hyperparams._repr_html_())
    assert cells.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    assert cells.rows[0] == ["name", "now", *COLUMNS]
    assert [row[0] for row in cells.rows[1:]] == list(hyperparams)
    assert cells.rows[-1][1:4] == ["<b>red</b>", "<b>red</b>", '<b>red</b>, "blue" & green']
    assert cells.rows[-1][-1] == "<script>alert(1)</script>"
    assert {name for name, _ in cells.attributes} == {"style"}
    assert not re.search("color|background|border", " ".join(value for _, value in cells.attributes))


def test_the_frame_holds_values_as_they_are(hyperparams):
    frame = hyperparams.to_pandas()
    assert list(frame.columns) == ["now", *COLUMNS] and list(frame.index) == list(hyperparams)
    assert frame["now"].to_dict() == dict(hyperparams)
    assert [type(value) for value in frame["now"]] == [str, float, int, bool, str]


def test_a_table_of_nothing_has_its_head():
    assert str(HyperparamTable([])).split() == ["name", *COLUMNS]
    assert list(HyperparamTable([]).to_pandas().columns) == COLUMNS


def test_called_the_module_lists_all_that_any_run_can_have():
    table = nbopt.hyperparams()
    torch = pytest.importorskip("torch")
    for model, loss in [(torch.nn.Linear(2, 3), "cross_entropy"), (torch.nn.Linear(2, 1), "huber")]:
        run = nbopt.Run(model, (torch.randn(8, 2), torch.zeros(8).long()), loss=loss, store=None)
        assert set(run.hyperparams) <= set(table)
        shown = Cells(run.hyperparams._repr_html_()).rows
        assert shown[0][1] == "now" and len(shown) == len(run.hyperparams) + 1
    assert {"momentum", "delta", "gamma", "dropout", "damping", "pct_start"} <= set(table)
    assert all(row["group"] and row["help"] for row in table.values())
    frame = table.to_pandas()
    assert isinstance(frame, pd.DataFrame) and list(frame.columns) == COLUMNS
    assert frame.loc["lr", "default"] == table["lr"]["default"] == 1e-3


def test_the_module_stays_what_declarations_are_imported_from():
    from nbopt.hyperparams import Float as taken

    assert nbopt.hyperparams.Float is nbopt.Float is taken
    assert pickle.loads(pickle.dumps(nbopt.Int)) is nbopt.hyperparams.Int


def test_the_examples_of_its_docstrings_run():
    for module in (nbopt.hyperparams, sys.modules[HyperparamTable.__module__]):
        result = doctest.testmod(module, extraglobs={"nbopt": nbopt})
        assert result.attempted and not result.failed
