"""The installed Chromium without a window, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

_PATH = shutil.which("chromium")
MISSING = (
    "needs a browser: apt-get install chromium"
    if _PATH is None
    else "needs Playwright: pip install playwright"
    if find_spec("playwright") is None
    else None
)
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_PATH, args=list(_OPTIONS))
        yield browser
        browser.close()
