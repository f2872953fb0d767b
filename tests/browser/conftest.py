from __future__ import annotations

import itertools

import pytest
from playwright.sync_api import BrowserContext, expect, sync_playwright

from tests.browser.lab import FLAGS, Lab, Notebook, browser_path

_numbers = itertools.count()
_UNOPTIMIZED = "--js-flags=--no-maglev,--no-opt"  # no page of a test lives long enough to gain by it; those measured do
expect.set_options(timeout=30_000)  # as patient as the other waits


# They end with the tests of this folder: what later tests fork would hold the browser's pipes open for ever.
@pytest.fixture(scope="package")
def lab(tmp_path_factory):
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.close()


@pytest.fixture(scope="package")
def chromium():
    path = browser_path()
    assert path, "no Chromium found: `make browser` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, _UNOPTIMIZED])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def desk(lab, chromium):
    """Keep a notebook open, so that a test need not wait for a page, a kernel and what is imported there."""
    kept = Desk(lab, chromium.new_context())
    yield kept
    kept.clear()


class Desk:
    """A notebook that lies open; a new one, page and kernel, where a test failed."""

    def __init__(self, lab: Lab, context: BrowserContext) -> None:
        self._lab = lab
        self._context = context
        self._lying: Notebook | None = None

    def take(self, cells: list[str], width: int, height: int) -> Notebook:
        """Return the notebook that lies open, with these cells."""
        if self._lying is None:
            page = self._context.new_page()
            page.set_viewport_size({"width": width, "height": height})
            self._lying = Notebook(self._lab, page, f"notebook{next(_numbers)}", cells)
        else:
            self._lying.renew(cells, width, height)
        return self._lying

    def clear(self) -> None:
        """Close it."""
        if self._lying is not None:
            self._lying.close()
            self._lying = None


@pytest.fixture
def notebook(desk, request):
    """Show the given cells in the notebook that lies open."""
    failed = request.session.testsfailed

    def show(*cells: str, width: int = 1400, height: int = 1100) -> Notebook:
        return desk.take(list(cells), width, height)

    yield show
    if request.session.testsfailed > failed:
        desk.clear()  # whatever went wrong shall not go on in the next test
