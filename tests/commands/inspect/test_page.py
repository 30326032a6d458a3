"""The page is one file that asks nobody for anything, and holds no text of a trajectory as markup."""

import base64
import hashlib
import re

import pytest
from record_tables import Part, record, records_of

from rest_verl.commands.inspect.page import PageStep, render_page
from rest_verl.commands.inspect.step_data import step_data

HOSTILE = "</script><script>steal(1)</script>"


@pytest.fixture(scope="module")
def page():
    data = step_data(records_of([record([Part(HOSTILE)], uid=HOSTILE, prompt=HOSTILE)]))
    return render_page(f"{HOSTILE}\u202e", [PageStep(3, 1, 1, data)])


def hash_of(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy == (
        f"default-src 'none'; script-src {hash_of(script)}; style-src {hash_of(style)}; base-uri 'none'; "
        "form-action 'none'"
    )


def test_no_address_and_no_attribute_with_code_or_style_is_in_the_page(page):
    without_names = page.replace('"http://www.w3.org/2000/svg"', "")  # of SVG's elements; nobody fetches it
    assert not re.search(r"https?:|//[a-z]|url\(|@import|\bsrc=|\bhref=", without_names)
    assert not re.search(r"<[^>]*\s(style|on\w+)=", page)


def test_no_text_of_a_trajectory_and_no_title_is_markup(page):
    assert "steal" not in page.replace("&lt;script&gt;steal(1)&lt;/script&gt;", "")
    assert "\u202e" not in page and "⟨U+202E⟩" in page


def test_the_same_records_give_the_same_page(page):
    data = step_data(records_of([record([Part(HOSTILE)], uid=HOSTILE, prompt=HOSTILE)]))
    assert render_page(f"{HOSTILE}\u202e", [PageStep(3, 1, 1, data)]) == page


def test_text_is_never_read_as_markup_by_the_script(page):
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", page)
