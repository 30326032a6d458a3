"""The command `rest-verl data bfcl`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rest_verl.common.console import comma_list, one_line_errors, progress_bar
from rest_verl.data.commands import Out, Share, write_and_show


def bfcl(
    out: Out,
    categories: Annotated[str | None, typer.Option(help="Categories, separated by commas; default: all.")] = None,
    multi_turn: Annotated[
        bool, typer.Option("--multi-turn", help="Convert the multi-turn tasks, which act on an environment, instead.")
    ] = False,
    validation_share: Share = 0.1,
    format: Annotated[str, typer.Option(help="Wire format that the prompt asks for, one of rest.format's.")] = "rlla",
    template: Annotated[
        Path | None, typer.Option(help="Jinja2 file that replaces the built-in system message.")
    ] = None,
) -> None:
    """Convert BFCL's questions and answers, from the installed package bfcl-eval, to verl's layout.

    Multi-turn rows need the agent loop rest_tool_agent:
    they name the environment bfcl_multi_turn, which runs and scores them.
    """
    with one_line_errors():
        from rest_verl.bfcl.data.files import bfcl_version
        from rest_verl.bfcl.data.multi_turn import MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows
        from rest_verl.bfcl.data.single_turn import CATEGORIES, bfcl_rows
        from rest_verl.bfcl.data.split import bfcl_question_of
        from rest_verl.data.data_set import Origin
        from rest_verl.data.template import BUILT_IN, PromptTemplate

        known, make_rows = (MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows) if multi_turn else (CATEGORIES, bfcl_rows)
        wanted = list(dict.fromkeys(known if categories is None else comma_list(categories)))
        rendering = PromptTemplate(template or BUILT_IN)
        options = {
            "category": wanted,
            "format": format,
            "template": {"file": rendering.path.name, "sha256": rendering.sha256},
        }
        with progress_bar("BFCL") as on_progress:
            rows = make_rows(wanted, format, rendering, on_progress)
        origin = Origin("bfcl", [{"package": "bfcl-eval", "version": bfcl_version()}], options)
        write_and_show(rows, validation_share, out, origin, bfcl_question_of())
