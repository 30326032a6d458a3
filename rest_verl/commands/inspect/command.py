"""The command `rest-verl inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rest_verl.common.console import one_line_errors, progress_bar, say

if TYPE_CHECKING:
    from rest_verl.commands.inspect.page import PageStep
    from rest_verl.records.schema import StepRecords

# pyarrow, torch and transformers are heavy: what needs them is imported where it is used, so that `rest-verl --help`
# stays quick

MOST_TRAJECTORIES = 200


def inspect(
    paths: Annotated[
        list[Path],
        typer.Argument(help="A run's folder, its rest.dump_dir, record files; or one .jsonl file of texts."),
    ],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("inspect.html"),
    steps: Annotated[
        str | None, typer.Option(help="Such as 1,100,300, or all; at most 12 evenly spaced if left out.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many trajectories of each step, the first ones.")] = (
        MOST_TRAJECTORIES
    ),
    tokenizer: Annotated[Path | None, typer.Option(help="Of texts: a model's folder.")] = None,
    format: Annotated[str | None, typer.Option(help="Of texts: a name that rest.format takes.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Of texts: whose weights to show, as in +rest=NAME; paper if left out.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Of texts: rest.KEY=VALUE on top of the preset. Repeatable.")
    ] = None,
    at_step: Annotated[
        str | None, typer.Option(help="Of texts: the steps whose weights to show, such as 1,100,300; 1 if left out.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Show trajectories token by token, as one HTML page that needs no network.

    Reads what a run with rest.dump_dir recorded, or any text:
    rest-verl inspect --tokenizer MODEL --format hermes FILE.jsonl
    """
    with one_line_errors():
        from rest_verl.commands.inspect.page import page_of
        from rest_verl.data.files import write_whole

        if any(path.suffix == ".jsonl" for path in paths):
            _refuse("for texts there is --at-step", steps=steps)
            source = _texts(paths, tokenizer, format, preset or "paper", set_ or [], at_step or "1")
        else:
            given = {"tokenizer": tokenizer, "format": format, "preset": preset, "set": set_, "at-step": at_step}
            _refuse("it is for a .jsonl file of texts", **given)
            source = _run(paths, steps)
        made, there = _packed(source, limit)
        page = page_of(paths[0].resolve().name, made)
        write_whole(out, page)

    shown = sum(step.trajectories for step in made)
    names = ", ".join(str(step.step) for step in made)
    left_out = len(made) < len(source.there)
    which = f"{len(made)} of {len(source.there):,} (--steps chooses): " if left_out else ""
    say(f"steps         {which}{names}")
    say(f"trajectories  {shown:,}" + (f" of {there:,} (--limit chooses)" if shown < there else ""))
    say(f"tokens        {sum(step.tokens for step in made):,}")
    say(f"page          {out} ({len(page) / 1e6:.1f} MB): open it in a browser")
    if open_:
        typer.launch(str(out.resolve()))


@dataclass(frozen=True)
class _Source:
    """Where records come from.

    Attributes:
        there: all steps that could be shown.
        count: how many of them `records` gives.
        records: of each shown step, read as they are asked for, with the file that they are from.
    """

    there: Sequence[int]
    count: int
    records: Iterator[tuple[Path, StepRecords]]


def _refuse(reason: str, **options: object) -> None:
    """ValueError for an option that is given and would be passed over."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"--{name} does nothing here: {reason}")


def _run(paths: Sequence[Path], steps: str | None) -> _Source:
    """The records of a run."""
    from rest_verl.commands.inspect.sources import choose_steps, find_steps
    from rest_verl.records.schema import read_step

    found = find_steps(paths)
    chosen = choose_steps(list(found), steps)
    return _Source(list(found), len(chosen), ((found[step], read_step(found[step])) for step in chosen))


def _texts(
    paths: Sequence[Path],
    tokenizer: Path | None,
    format: str | None,
    preset: str,
    overrides: Sequence[str],
    at_step: str,
) -> _Source:
    """The records that a file of texts would have."""
    from rest_verl.commands.inspect.sources import read_rows, step_numbers

    if len(paths) > 1:
        raise ValueError(f"a .jsonl file of texts makes a page of its own, and {len(paths)} paths are given: name one")
    if tokenizer is None or format is None:
        raise ValueError(f"{paths[0]} is a file of texts: it needs --tokenizer MODEL and --format NAME")
    if not tokenizer.is_dir():
        raise ValueError(f"--tokenizer {tokenizer}: no such folder; give a model's folder on this machine")
    steps, rows = step_numbers("--at-step", at_step), read_rows(paths[0])

    from rest_verl.commands.inspect.text_records import text_records, text_settings

    rest = text_settings(preset, format, overrides)
    made = text_records(rows, _loaded(tokenizer), rest, steps)
    return _Source(steps, len(steps), ((paths[0], records) for records in made))


def _loaded(folder: Path) -> Any:
    """The tokenizer in a folder."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"--tokenizer {folder}: no tokenizer in it that transformers can load: {error}") from None


def _packed(source: _Source, limit: int) -> tuple[list[PageStep], int]:
    """The steps of the page, and how many trajectories their records hold."""
    from rest_verl.commands.inspect.page import PageStep
    from rest_verl.commands.inspect.step_data import step_data
    from rest_verl.records.schema import StepRecords

    made, there = [], 0
    with progress_bar("steps") as on_progress:
        on_progress(0, source.count)
        for path, records in source.records:
            there += records.table.num_rows
            shown = records.table.slice(0, limit)
            tokens = sum(len(ids) for ids in shown.column("ids"))
            try:
                data = step_data(StepRecords(records.meta, shown))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
            made.append(PageStep(records.meta.step, shown.num_rows, tokens, data))
            on_progress(len(made), source.count)
    return made, there
