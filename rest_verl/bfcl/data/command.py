"""The command `rest-verl data bfcl`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rest_verl.common.console import comma_list, one_line_errors, progress_bar
from rest_verl.data.commands import Out, Share, write_and_show

if TYPE_CHECKING:
    from rest_verl.bfcl.memory.store import Memory
    from rest_verl.data.rows import Row


def bfcl(
    out: Out,
    categories: Annotated[str | None, typer.Option(help="Categories, separated by commas; default: all.")] = None,
    multi_turn: Annotated[
        bool, typer.Option("--multi-turn", help="Convert the multi-turn tasks, which act on an environment, instead.")
    ] = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="Convert the memory tasks of V4, which act on a memory, instead.")
    ] = False,
    memories: Annotated[
        Path | None,
        typer.Option(help="memories.json of a run of rest-verl eval, as its model wrote them; default: a script's."),
    ] = None,
    validation_share: Share = 0.1,
    format: Annotated[str, typer.Option(help="Wire format that the prompt asks for, one of rest.format's.")] = "rlla",
    template: Annotated[
        Path | None, typer.Option(help="Jinja2 file that replaces the built-in system message.")
    ] = None,
) -> None:
    """Convert BFCL's questions and answers, from the installed package bfcl-eval, to verl's layout.

    Rows of --multi-turn and --memory need the agent loop rest_tool_agent:
    they name the environments bfcl_multi_turn and bfcl_memory, which run them.
    """
    with one_line_errors():
        from rest_verl.bfcl.data.files import bfcl_version
        from rest_verl.bfcl.data.memories import read_memories, scripted_memories
        from rest_verl.bfcl.data.memory import MEMORY_CATEGORIES, bfcl_memory_rows
        from rest_verl.bfcl.data.multi_turn import MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows
        from rest_verl.bfcl.data.single_turn import CATEGORIES, bfcl_rows
        from rest_verl.bfcl.data.split import bfcl_question_of
        from rest_verl.data.data_set import Origin, file_source
        from rest_verl.data.template import BUILT_IN, PromptTemplate

        if multi_turn and memory:
            raise ValueError("--multi-turn and --memory make rows of two kinds: run the command for each")
        if memories is not None and not memory:
            raise ValueError("--memories is for --memory")
        sources = [{"package": "bfcl-eval", "version": bfcl_version()}]
        make_rows: Callable[..., list[Row]]
        if memory:
            written_by: Callable[[str], Mapping[str, Memory]] = scripted_memories
            if memories is not None:
                written = read_memories(memories)
                written_by = lambda category: written  # noqa: E731
                sources.append(file_source(memories))
            known, make_rows = MEMORY_CATEGORIES, partial(bfcl_memory_rows, written_by)
        else:
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
        write_and_show(rows, validation_share, out, Origin("bfcl", sources, options), bfcl_question_of())
