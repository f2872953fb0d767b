from __future__ import annotations

import itertools

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.lab import FLAGS, Lab, Notebook, browser_path

_numbers = itertools.count()
expect.set_options(timeout=30_000)  # as patient as the other waits


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def chromium():
    path = browser_path()
    assert path, "no Chromium found: `make browser` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def notebook(lab, chromium):
    """Open a new notebook with the given cells."""
    opened = []

    def open_notebook(*cells: str, width: int = 1400, height: int = 1100) -> Notebook:
        context = chromium.new_context(viewport={"width": width, "height": height})
        opened.append(Notebook(lab, context.new_page(), f"notebook{next(_numbers)}", list(cells)))
        return opened[-1]

    yield open_notebook
    for item in opened:
        item.close()
