"""A browser, and pages of the viewer in it."""

import pytest
from browser import Viewer, chromium
from record_tables import ROWS, write_page


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("page") / "inspect.html", ROWS)


@pytest.fixture
def open_page(browser):
    opened = []

    def open_it(file, view="", **options):
        opened.append(Viewer(browser, file, view, **options))
        return opened[-1]

    yield open_it
    for viewer in opened:
        assert viewer.faults == []
        viewer.page.close()
