"""A real JupyterLab server and a real browser on one notebook, for the tests here and for taking screenshots."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.browser.door import knock
from tests.kernels import AFTER_EACH_CELL, FORGET

TOKEN = "test"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What the host prints without nbopt being there.
FOREIGN = ("favicon", "Unsatisfied version", "ERR_CONNECTION", "kernelspecs", "/lsp/")


_OPEN = """from tests.browser.door import open_door
open_door({place!r}, get_ipython().user_ns)
"""


def browser_path() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Lab:
    """A JupyterLab server in a folder of its own, with settings of its own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "notebooks"
        self.root.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            environment[name] = str(folder / name.lower())
        for name in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"):
            environment[name] = str(folder / name.lower())
        startup = Path(environment["IPYTHONDIR"], "profile_default", "startup")
        startup.mkdir(parents=True)
        (startup / "eager.py").write_text(AFTER_EACH_CELL)
        self.door = str(Path(tempfile.mkdtemp(prefix="nbopt-door-"), "door"))  # a socket's path must be short
        (startup / "door.py").write_text(_OPEN.format(place=self.door))
        self.settings = Path(environment["JUPYTERLAB_SETTINGS_DIR"])
        self._log = open(folder / "server.log", "w")
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
                "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=50",
                f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self.root}",
                "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
            env=environment, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        # It takes another port if somebody was faster, and tells here which.
        self._told = Path(environment["JUPYTER_RUNTIME_DIR"], f"jpserver-{self._process.pid}.json")
        wait_until(self._answers, 60, f"the server did not start: {folder / 'server.log'}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{json.loads(self._told.read_text())['port']}"

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the server ended: {self._log.name}")
        try:
            urllib.request.urlopen(f"{self.url}/api/status?token={TOKEN}", timeout=2).close()
        except (OSError, ValueError):  # not told yet, or not yet all of it
            return False
        return True

    def set_theme(self, dark: bool) -> None:
        folder = self.settings / "@jupyterlab" / "apputils-extension"
        folder.mkdir(parents=True, exist_ok=True)
        theme = "JupyterLab Dark" if dark else "JupyterLab Light"
        (folder / "themes.jupyterlab-settings").write_text(json.dumps({"theme": theme}))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()
        shutil.rmtree(Path(self.door).parent)


class Notebook:
    """A page that shows one notebook with a live kernel."""

    def __init__(self, lab: Lab, page: Page, name: str, cells: list[str]) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on(
            "console",
            lambda message: message.type == "error" and self._note(f"{message.text} {message.location}"),
        )
        page.on("pageerror", lambda error: self._note(str(error)))
        self.path = lab.root / f"{name}.ipynb"
        empty = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        book = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}}
        book["cells"] = [{**empty, "id": f"cell{number}", "source": cell} for number, cell in enumerate(cells)]
        self.path.write_text(json.dumps(book))
        self._door = lab.door
        self._url = f"{lab.url}/doc/tree/{name}.ipynb?token={TOKEN}"
        self.open()

    def _note(self, text: str) -> None:
        if not any(word in text for word in FOREIGN):
            self.problems.append(text)

    def open(self, fresh: bool = True) -> None:
        """Load the page and wait for an idle kernel; unless ``fresh``, with the layout it was left in."""
        self.page.goto(self._url + ("&reset" if fresh else ""))
        self.page.wait_for_function(
            """() => {
                const app = window.jupyterapp;
                const doc = app && [...app.shell.widgets('main')].find(w => w.sessionContext);
                window.context = doc && doc.sessionContext;
                return window.context?.session?.kernel?.status === 'idle';
            }""",
            timeout=60_000,
        )

    def renew(self, cells: list[str], width: int, height: int) -> None:
        """Put other cells in the place of those there; the kernel stays, but its runs end, and all names go."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.evaluate(_REPLACE, cells)
        self.execute(FORGET)
        self.page.mouse.move(0, 0)
        self.problems.clear()

    def run_all(self) -> None:
        """Run all cells and wait until they are done."""
        self.command("notebook:run-all-cells")

    def command(self, name: str) -> None:
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", name)

    def execute(self, code: str) -> None:
        """Run code in the kernel as a cell runs, but beside the notebook's."""
        text = self.page.evaluate(
            """async code => {
                const future = window.context.session.kernel.requestExecute({code, store_history: false});
                const reply = await future.done;
                return (reply.content.traceback ?? []).join('\\n');
            }""",
            code,
        )
        assert not text, text

    def ask(self, code: str) -> Any:
        """Return the value of an expression in the kernel, which a thread of its own finds whatever cells do."""
        return knock(self._door, code)

    def wait_for(self, code: str, seconds: float = 30) -> Any:
        """Ask until the answer is true; return it."""
        return wait_until(lambda: self.ask(code), seconds, f"never true: {code}")

    def close(self) -> None:
        self.page.evaluate("() => window.context.shutdown().catch(() => {})")  # where a test ended the kernel itself
        self.page.close()


_REPLACE = """cells => {
    const { content } = window.jupyterapp.shell.currentWidget;
    const model = content.model.sharedModel;
    model.transact(() => {
        model.deleteCellRange(0, model.cells.length);
        model.insertCells(0, cells.map(source => ({ cell_type: 'code', source, metadata: {}, outputs: [] })));
    });
    content.activeCellIndex = 0;
    content.mode = 'command';
}"""


# The light theme last: other tests of the same server find it as it was.
LOOKS = (
    ("JupyterLab Dark", "none"),
    ("JupyterLab Dark High Contrast", "none"),
    ("JupyterLab Light", "active"),  # the system forces its own colours
    ("JupyterLab Light", "none"),
)
_AXE = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"


def barriers(page: Page, selector: str, looks: tuple[tuple[str, str], ...] = LOOKS) -> list[str]:
    """Return what axe finds in a person's way: what is a matter of colours in each theme, all else in the last one."""
    assert _AXE.exists(), "axe is not installed: `make lint` installs the packages of the extension"
    page.add_script_tag(path=_AXE)
    found = []
    for theme, forced in looks:
        page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
        page.emulate_media(forced_colors=forced)  # type: ignore[arg-type]
        rules = {} if (theme, forced) == looks[-1] else {"runOnly": ["cat.color"]}
        found += [f"{theme}, {forced}: {text}" for text in page.evaluate(_VIOLATIONS, [selector, rules])]
    return found


_VIOLATIONS = """async ([selector, rules]) => {
    const { violations } = await axe.run(selector, { ...rules, resultTypes: ['violations'] });
    return violations.flatMap(({ id, impact, nodes }) => nodes.map(({ html }) => `${impact} ${id}: ${html}`));
}"""


def wait_until(condition: Any, seconds: float, message: str) -> Any:
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(message)
        time.sleep(0.05)
    return result
