"""Make the pictures of docs/inspect.md from records of real runs, in Chromium.

    bash examples/custom_environment_cpu.sh --steps 10
    python docs/make_pictures.py runs/shop RUNS_BESIDE --view "step=10&row=8"

RUNS_BESIDE is the same run with `rest.credit=trajectory`. The view is what stands after the # of the page's address,
of a trajectory that shows much; a token of it is chosen by `token=...`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from playwright.sync_api import Browser, sync_playwright

from rest_verl.commands.inspect.command import inspect

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1400, 875
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


def main(
    run: Annotated[Path, typer.Argument(help="The run of most pictures.")],
    beside: Annotated[Path, typer.Argument(help="The run beside it.")],
    view: Annotated[str, typer.Option(help="The trajectory to show, such as step=10&row=8&token=30.")],
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = IMAGES,
) -> None:
    """Take the pictures, and those of a phone's width next to them in `out`/narrow if that folder is there."""
    step = view.split("&")[0]
    views = {
        "overview": step,
        "trajectory": f"{view}&mode=region",
        "entropy": f"{view}&mode=entropy",
        "dark": f"{view}&mode=region&theme=dark",
    }
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(OPTIONS))
        one, two = Path(folder) / "one.html", Path(folder) / "two.html"
        inspect([run], out=one, steps=None, limit=200, set_=None, open_=False)
        inspect([run, beside], out=two, steps=None, limit=200, set_=None, open_=False)
        for name, wanted in views.items():
            picture(browser, one, wanted, out / f"inspect_{name}.png")
        picture(browser, two, f"{view}&mode=advantage", out / "inspect_pair.png")
        browser.close()


def picture(browser: Browser, page: Path, view: str, path: Path) -> None:
    """Save a view of a page as it is on a screen, and of a phone's width if the folder `narrow` is there."""
    for width, height, where in ((WIDTH, HEIGHT, path), (500, 1600, path.parent / "narrow" / path.name)):
        if where.parent.is_dir():
            tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
            tab.goto(f"{page.as_uri()}#{view}")
            tab.wait_for_selector("html[data-ready]")
            tab.wait_for_timeout(500)  # strips are drawn once they are seen
            tab.screenshot(path=where)
            tab.close()


if __name__ == "__main__":
    typer.run(main)
