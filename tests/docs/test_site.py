"""The documentation builds as a site without a warning, every link in it leads somewhere, and nothing is fetched."""

import importlib.util
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest
from browser import MISSING, chromium
from page_blocks import ROOT
from tiers import HANG_GUARD

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mkdocs", "material")),
    reason='the site needs mkdocs-material: pip install "rest-verl[docs]"',
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG_GUARD,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.skipif(MISSING is not None, reason=MISSING or "")
def test_search_works_as_the_overview_says_it_is_served(site):
    """From disk it does not: the theme would fetch a script for it."""
    handler = partial(QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, chromium() as browser:
        Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        while page.query_selector(".md-search-result__item") is None:
            # Again, since the theme listens only once its scripts have loaded: what is typed before is lost.
            for query in ("", "advantage"):
                page.locator("input[name=query]").fill(query, force=True)
            page.wait_for_timeout(500)
        assert "algorithm.html" in " ".join(
            page.eval_on_selector_all(".md-search-result__item a", "all => all.map(one => one.href)")
        )
        server.shutdown()
    assert "python -m http.server --directory build/site" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


class References(HTMLParser):
    """What a page loads by itself, where its links lead, and which anchors it has."""

    def __init__(self, page: Path):
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(given["href"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if given.get("id"):
            self.anchors.add(given["id"])


@pytest.fixture(scope="module")
def pages(site):
    # the page for addresses that do not exist is written for a server's root
    return {page: References(page) for page in site.rglob("*.html") if page.name != "404.html"}


def test_every_page_of_docs_is_there(site, pages):
    expected = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert expected <= {page.relative_to(site) for page in pages}
    assert not list(site.rglob("*.py"))


def test_nothing_is_fetched_from_elsewhere(pages):
    assert {source for page in pages.values() for source in page.loads if urlsplit(source).netloc} == set()
    styles = [style.read_text(encoding="utf-8") for page in pages for style in page.parent.glob("**/*.css")]
    assert styles and not any("url(http" in style or "url(//" in style for style in styles)


def test_every_link_within_the_site_leads_to_a_page_and_to_its_anchor(pages):
    dead = []
    for page, references in pages.items():
        for link in references.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchors = pages[target].anchors if target in pages else set()
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in anchors):
                dead.append((page.name, link))
    assert dead == []


def test_source_files_that_pages_mention_are_pages_with_the_file_in_them(site):
    shown = (site / "source" / "rest_verl" / "core" / "entropy.py.html").read_text(encoding="utf-8")
    assert "variance_exact" in shown
    listed = (site / "source" / "rest_verl" / "formats" / "index.html").read_text(encoding="utf-8")
    assert 'href="rlla.py.html"' in listed
