"""The viewer's page in the installed Chromium, driven by Playwright and watched: requests, dialogs and complaints."""

from __future__ import annotations

import re
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


class Viewer:
    """A page of the viewer, and what it did that it must not do.

    Tests wait with `expect` and `wait_for_url`: Playwright's `wait_for_function` evaluates its text in
    the page whenever it has to look twice, and the page's policy forbids that.
    """

    def __init__(self, browser, file, view="", **options):
        self.page = browser.new_page(viewport={"width": 1440, "height": 900}, **options)
        self.faults = []
        self.page.on("request", lambda request: self._fault_unless(request.url.startswith(file.as_uri()), request.url))
        self.page.on(
            "console", lambda message: self._fault_unless(message.type not in ("error", "warning"), message.text)
        )
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append(dialog.message), dialog.dismiss()))
        self.page.goto(f"{file.as_uri()}#{view}")
        self.page.wait_for_selector("html[data-ready]")

    def _fault_unless(self, fine, what):
        if not fine:
            self.faults.append(what)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def texts(self, selector):
        """Text of all elements of a selector."""
        return self.page.locator(selector).all_text_contents()

    def groups(self):
        """The uids of the groups as listed."""
        return self.page.eval_on_selector_all(".group", "all => all.map(one => one.dataset.uid)")

    def rows(self):
        """The numbers of the trajectories as listed."""
        return self.page.eval_on_selector_all(".card", "all => all.map(one => Number(one.dataset.row))")

    def panel(self):
        """What the panel says of a token, by name."""
        return dict(
            self.page.eval_on_selector_all("#panel dd", "all => all.map(one => [one.dataset.name, one.textContent])")
        )

    def view(self):
        """What the address says of the view."""
        return self.page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")

    def expect(self, selector):
        """Playwright's assertions on a selector, which wait until they hold."""
        from playwright.sync_api import expect

        return expect(self.page.locator(selector))

    def wait_for_step(self, step):
        self.page.wait_for_url(re.compile(rf"[#&]step={step}&"))


def rgba(css):
    """A computed colour as red, green, blue and opacity in [0, 1]."""
    numbers = [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", css.removeprefix("color(srgb"))]
    scale = 1 if css.startswith("color(srgb") else 255
    return [*(number / scale for number in numbers[:3]), *(numbers[3:] or [1.0])]


def contrast(text, *grounds):
    """WCAG's contrast of a text on grounds, of which the first lies at the bottom."""
    below = rgba(grounds[0])[:3]
    for ground in grounds[1:]:
        *colour, opacity = rgba(ground)
        below = [opacity * over + (1 - opacity) * under for over, under in zip(colour, below, strict=True)]
    one, other = sorted([_luminance(rgba(text)[:3]), _luminance(below)])
    return (other + 0.05) / (one + 0.05)


def _luminance(colour):
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
