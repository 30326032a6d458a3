"""Hooks of MkDocs that bring what the pages link to outside of docs/ into the site.

Pages link to source files and to the repository's other pages by relative paths, which work in a checkout and on a
code host. The site has no repository beside it: each such file becomes a page under source/, a folder a list of its
files, and the links are turned to them. Nothing needs to know where the repository is hosted.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
DOCS, SOURCE = "docs/", "source/"
# Pages of the repository that stand in the site's navigation.
PAGES = ("recipes/README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".yml": "yaml", ".jinja": "jinja", ".toml": "toml"}
# Where a page quotes a result file, for benchmarks/page_numbers.py: nothing that a reader of the site needs.
MARK = re.compile(r"<!--(?:[=|].*?|/)-->\n?(?=\|)|<!--(?:[=|].*?|/)-->")
# A link's target up to its anchor; addresses of the web and anchors of the same page are none of these.
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)#\s]+)")

slug = slugify(case="lower")


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each file and folder outside of docs/ that a page links to, and for those that these link to."""
    waiting = list(PAGES)
    for file in files.documentation_pages():
        waiting += _linked(DOCS + file.src_uri, file.content_string)
    done: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path.startswith(DOCS) or path in done or not (ROOT / path).exists():
            continue  # mkdocs itself complains about what is not there
        done.add(path)
        text = _text(path)
        where = InclusionLevel.INCLUDED if path in PAGES else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, _page(path), content=text, inclusion=where))
        if _has_links(path):
            waiting += _linked(path, text)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn the links of a page to the pages of the site, and leave out the marks of its numbers."""
    markdown = MARK.sub("", markdown)
    address = page.file.src_uri
    path = _path(address)
    if not _has_links(path):
        return markdown

    def turned(link: re.Match[str]) -> str:
        target = _target(path, link[1])
        goal = target.removeprefix(DOCS) if target.startswith(DOCS) else _page(target)
        return posixpath.relpath(goal, posixpath.dirname(address) or ".")

    return LINK.sub(turned, markdown)


def _linked(path: str, text: str) -> Iterator[str]:
    for link in LINK.findall(text):
        yield _target(path, link)


def _target(path: str, link: str) -> str:
    """Where a link leads, as a path in the repository; the links of a folder's list are relative to the folder."""
    folder = path if (ROOT / path).is_dir() else posixpath.dirname(path)
    return posixpath.normpath(posixpath.join(folder, link))


def _page(path: str) -> str:
    """The site's page for a path outside of docs/."""
    if (ROOT / path).is_dir():
        return f"{SOURCE}{path}/index.md"
    return f"{SOURCE}{path}" if path.endswith(".md") else f"{SOURCE}{path}.md"


def _path(address: str) -> str:
    """The path in the repository of what a page of the site shows."""
    if not address.startswith(SOURCE):
        return DOCS + address
    path = address.removeprefix(SOURCE)
    if (ROOT / path).is_file():
        return path
    return posixpath.dirname(path) if posixpath.basename(path) == "index.md" else path.removesuffix(".md")


def _has_links(path: str) -> bool:
    """Whether the page of a path is Markdown that was written for the repository, or a list of files made here."""
    return path.endswith(".md") or (ROOT / path).is_dir()


def _text(path: str) -> str:
    """Markdown of the page for a path outside of docs/."""
    here = ROOT / path
    if here.is_dir():
        names = sorted(entry.name for entry in here.iterdir() if entry.is_file() and not entry.name.startswith("."))
        return f"# {path}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)
    text = here.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    # out of the search, which is for what is written about the code
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n"
    fence = "`" * (3 + max((len(run) for run in re.findall("`{3,}", text)), default=0))
    return f"{head}{fence}{LANGUAGES.get(PurePosixPath(path).suffix, 'text')}\n{text.rstrip()}\n{fence}\n"
