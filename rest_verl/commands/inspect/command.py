"""The command `rest-verl inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rest_verl.common.console import one_line_errors, progress_bar, say
from rest_verl.common.tokenizers import load_tokenizer

if TYPE_CHECKING:
    from rest_verl.commands.inspect.page import PageStep
    from rest_verl.records.schema import StepRecords

# pyarrow, torch and transformers are slow to import, so modules that need them are imported where they are used, and
# `rest-verl --help` stays quick

MOST_TRAJECTORIES = 200


def inspect(
    paths: Annotated[
        list[Path],
        typer.Argument(help="A run's folder, its rest.dump_dir, or record files; or one .jsonl file of texts."),
    ],
    out: Annotated[Path, typer.Option(help="HTML page to write.")] = Path("inspect.html"),
    steps: Annotated[
        str | None,
        typer.Option(
            help="Show these steps, such as 1,100,300, or all; default: at most 12, evenly spaced. For texts: the "
            "steps whose weights to show; default: 1."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show only the first N trajectories of each step.")] = (
        MOST_TRAJECTORIES
    ),
    tokenizer: Annotated[str | None, typer.Option(help="For texts: the model's folder or hub id.")] = None,
    format: Annotated[str | None, typer.Option(help="For texts: wire format, one of rest.format's.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="For texts: preset whose weights to show, as in +rest=NAME; default: paper.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="For texts: override the preset with rest.KEY=VALUE. Repeatable.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Show trajectories token by token, as one HTML page that needs no network.

    Reads the records of a run with rest.dump_dir, or any text:
    rest-verl inspect --tokenizer MODEL --format hermes FILE.jsonl
    """
    with one_line_errors():
        from rest_verl.commands.inspect.page import render_page
        from rest_verl.data.files import write_whole

        if any(path.suffix == ".jsonl" for path in paths):
            source = _text_source(paths, tokenizer, format, preset or "paper", set_ or [], steps or "1")
        else:
            given = {"tokenizer": tokenizer, "format": format, "preset": preset, "set": set_}
            _refuse("it is for a .jsonl file of texts", **given)
            source = _run_source(paths, steps)
        page_steps, recorded = _pack_steps(source, limit)
        page = render_page(paths[0].resolve().name, page_steps)
        write_whole(out, page)

    shown = sum(step.trajectories for step in page_steps)
    numbers = ", ".join(str(step.step) for step in page_steps)
    total = len(source.available)
    choice = f"{len(page_steps)} of {total:,} (--steps chooses): " if len(page_steps) < total else ""
    say(f"steps         {choice}{numbers}")
    say(f"trajectories  {shown:,}" + (f" of {recorded:,} (--limit chooses)" if shown < recorded else ""))
    say(f"tokens        {sum(step.tokens for step in page_steps):,}")
    say(f"page          {out} ({len(page) / 1e6:.1f} MB): open it in a browser")
    if open_:
        typer.launch(str(out.resolve()))


@dataclass(frozen=True)
class _Source:
    """The records to show.

    Attributes:
        available: all steps that could be shown.
        count: number of steps in `records`.
        records: the file and the records of each shown step, read lazily.
    """

    available: Sequence[int]
    count: int
    records: Iterator[tuple[Path, StepRecords]]


def _refuse(reason: str, **options: object) -> None:
    """Raise ValueError for an option that is given but would be ignored."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"--{name} has no effect here: {reason}")


def _run_source(paths: Sequence[Path], steps: str | None) -> _Source:
    """The records of a run."""
    from rest_verl.commands.inspect.sources import choose_steps, find_steps
    from rest_verl.records.schema import read_step

    found = find_steps(paths)
    chosen = choose_steps(list(found), steps)
    return _Source(list(found), len(chosen), ((found[step], read_step(found[step])) for step in chosen))


def _text_source(
    paths: Sequence[Path],
    tokenizer: str | None,
    format: str | None,
    preset: str,
    overrides: Sequence[str],
    shown_steps: str,
) -> _Source:
    """Records made from a file of texts."""
    from rest_verl.commands.inspect.sources import read_rows, step_numbers

    if len(paths) > 1:
        raise ValueError(f"a .jsonl file of texts needs its own page, but {len(paths)} paths are given: name one")
    if tokenizer is None or format is None:
        raise ValueError(f"{paths[0]} is a file of texts: it needs --tokenizer MODEL and --format NAME")
    steps, rows = step_numbers("--steps", shown_steps), read_rows(paths[0])

    from rest_verl.commands.inspect.text_records import text_records, text_settings

    rest = text_settings(preset, format, overrides)
    by_step = text_records(rows, load_tokenizer(tokenizer), rest, steps)
    return _Source(steps, len(steps), ((paths[0], records) for records in by_step))


def _pack_steps(source: _Source, limit: int) -> tuple[list[PageStep], int]:
    """The steps of the page, and the number of trajectories in their records."""
    from rest_verl.commands.inspect.page import PageStep
    from rest_verl.commands.inspect.step_data import step_data
    from rest_verl.records.schema import StepRecords

    page_steps, recorded = [], 0
    with progress_bar("steps") as on_progress:
        on_progress(0, source.count)
        for path, records in source.records:
            recorded += records.table.num_rows
            shown = records.table.slice(0, limit)
            try:
                data = step_data(StepRecords(records.meta, shown))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
            tokens = sum(len(ids) for ids in shown.column("ids"))
            page_steps.append(PageStep(records.meta.step, shown.num_rows, tokens, data))
            on_progress(len(page_steps), source.count)
    return page_steps, recorded
