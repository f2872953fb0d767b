"""The magics, in a real kernel."""

from __future__ import annotations

import json

import pytest
from jupyter_client.manager import start_new_kernel


class Kernel:
    def __init__(self):
        self._manager, self._client = start_new_kernel()

    def run(self, code):
        """Run a cell: what it printed, showed, handed to the front end, and raised."""
        found = {"text": "", "shown": [], "payload": [], "errors": []}

        def note(message):
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    found["text"] += content["text"]
                case "display_data" | "execute_result":
                    found["shown"].append(content["data"])
                case "error":
                    found["errors"].append(content["evalue"])

        reply = self._client.execute_interactive(code, output_hook=note, timeout=60)
        found["payload"] = reply["content"].get("payload", [])
        return found

    def ask(self, expression):
        return json.loads(self.run(f"import json; print(json.dumps({expression}))")["text"])

    def run_in(self, cell, code, expression):
        """Run code as that of a cell of the notebook; return what the expression then is, in Python's words."""
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {"told": expression}}
        message = self._client.session.msg("execute_request", content, metadata={"cellId": cell})
        self._client.shell_channel.send(message)
        reply = self._client._recv_reply(message["header"]["msg_id"], timeout=60)["content"]
        assert reply["status"] == "ok", reply
        return reply["user_expressions"]["told"]["data"]["text/plain"]

    def close(self):
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def loaded():
    kernel = Kernel()
    assert kernel.run("%load_ext nbopt")["errors"] == []
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(loaded):
    """A kernel with the extension loaded, in this order of tests: first what imports nothing heavy."""
    return loaded


def test_loading_the_extension_and_asking_for_help_imports_nothing_heavy(kernel):
    assert "No runs in this kernel yet." in kernel.run("%nbopt")["text"]
    heavy = "[m for m in ('torch', 'sklearn', 'pandas', 'bqplot', 'anywidget', 'ipywidgets') if m in sys.modules]"
    kernel.run("import sys")
    assert kernel.ask(heavy) == []


def test_help_names_what_one_needs_first(kernel):
    text = kernel.run("%nbopt")["text"]
    for word in ("nbopt.Run(", "run.start()", "run.set(", "%nbopt demo", "digits"):
        assert word in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("demo digit", "unknown demo 'digit'. Did you mean 'digits'? Allowed: digits"),
        ("demo", "Demos: digits"),
        ("demo digits now", "takes one name; got 2"),
        ("dmeo", "unknown command 'dmeo'. Did you mean 'demo'?"),
    ],
)
def test_what_is_not_understood_is_answered_in_words_and_not_by_a_traceback(kernel, line, words):
    done = kernel.run(f"%nbopt {line}")
    assert words in done["text"] and done["errors"] == []


def test_a_demo_leaves_its_code_in_the_cell_and_shows_its_panel(kernel):
    done = kernel.run("%nbopt demo digits")
    assert done["errors"] == []
    (inserted,) = [payload for payload in done["payload"] if payload["source"] == "set_next_input"]
    assert inserted["replace"] and "load_digits" in inserted["text"] and inserted["text"].endswith("run\n")
    assert [data for data in done["shown"] if "application/vnd.jupyter.widget-view+json" in data]
    kernel.run("run.step(3)")
    assert kernel.ask("run.history.last('loss') > 0 and list(run.metrics)") == ["accuracy"]


def test_the_list_of_runs_tells_their_states(kernel):
    kernel.run("from torch import nn\nimport nbopt\nX = [[0.0], [1.0]] * 8\ny = [0, 1] * 8")
    kernel.run("one = nbopt.Run(nn.Linear(1, 2), (X, y), name='one', epochs=3).fit()")
    kernel.run("two = nbopt.Run(nn.Linear(1, 2), (X, y), name='two', epochs=9)")
    kernel.run("two.step()")
    lines = {line.split()[0]: line.split()[1:] for line in kernel.run("%nbopt")["text"].splitlines() if line}
    assert lines["one"] == ["Finished", "3/3", "3", kernel.ask("one.id")]
    assert lines["two"] == ["Paused", "1/9", "1", kernel.ask("two.id")]


def test_a_run_of_the_list_is_given_back_by_its_id_or_name(kernel):
    kernel.run("name = two.id\nfound = %nbopt show two")
    assert kernel.ask("found is two")
    assert "text/html" in kernel.run("%nbopt show {name}")["shown"][1]
    assert "unknown run of this kernel 'tow'" in kernel.run("%nbopt show tow")["text"]
    assert "id or the name of a run" in kernel.run("%nbopt show")["text"]
    kernel.run("two.name = 'the second one'\nfound = %nbopt show the second one\nsame = found is two")
    kernel.run("other = nbopt.Run(nn.Linear(1, 2), (X, y), name='one')")
    told = kernel.run("found = %nbopt show one")["text"]
    assert kernel.ask("[same, found]") == [True, None]
    assert f"several are called 'one': show one by its id, {kernel.ask('one.id')}, {kernel.ask('other.id')}" in told
    kernel.run("two.name = 'two'\nother.name = 'other'")
    kernel.run("again = nbopt.open(two.id, nn.Linear(1, 2), (X, y))\nfound = %nbopt show two")
    assert kernel.ask("found is again")


def test_a_population_and_a_study_are_listed_and_given_back_like_a_run(kernel):
    kernel.run(
        "import torch\n"
        "data = torch.randn(8, 2), torch.randn(8, 1)\n"
        "many = nbopt.Population(torch.nn.Linear(2, 1), data, loss='mse', lr=[0.1, 0.2], name='many', store=None)\n"
        "search = nbopt.Study(objective=lambda trial: trial['a'], space={'a': nbopt.Float(0.5, low=0.0, high=1.0)}, "
        "name='search', store=None)"
    )
    text = kernel.run("%nbopt")["text"]
    assert "many" in text and "search" in text
    kernel.run("one = %nbopt show many\nother = %nbopt show search")
    assert kernel.ask("[one is many, other is search]") == [True, True]


def test_a_run_is_shown_as_a_panel_where_a_notebook_listens(kernel):
    data, still = kernel.run("two")["shown"]
    assert "nbopt-still" in still["text/html"] and still["text/plain"].startswith("<Run 'two'")
    assert "application/vnd.jupyter.widget-view+json" in data and data["text/plain"].startswith("<Run 'two'")


def test_unloading_takes_the_magic_away_and_loading_brings_it_back(kernel):
    assert kernel.run("%unload_ext nbopt")["errors"] == []
    gone = kernel.run("%nbopt")
    assert "No runs" not in gone["text"] and "not found" in gone["text"] + "".join(gone["errors"])
    assert kernel.ask("two.state.name") == "PAUSED"  # runs go on
    kernel.run("%load_ext nbopt")
    assert "two" in kernel.run("%nbopt")["text"]


def test_a_run_that_no_cell_shows_any_more_is_free(kernel):
    kernel.run(
        "import gc, weakref, torch, nbopt\n"
        "refs = []\n"
        "def alive():\n"
        "    gc.collect()\n"
        "    return [ref() is not None for ref in refs]\n"
        "def make():\n"
        "    data = torch.randn(96, 4), torch.arange(96) % 3\n"
        "    run = nbopt.Run(torch.nn.Linear(4, 3), data, store=None)\n"
        "    refs.append(weakref.ref(run))\n"
        "    return run\n"
    )
    again = "run = make()\nrun.show()\nrun.step(3)"
    assert kernel.run_in("second", again, "alive()") == "[True]"
    assert kernel.run_in("second", again, "alive()") == "[True, True]"
    assert kernel.run_in("second", again, "alive()") == "[False, True, True]"
    assert kernel.run_in("third", "", "alive()") == "[False, True, True]"
