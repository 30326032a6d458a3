"""The command `rest-verl inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rest_verl.common.console import one_line_errors, progress_bar, say
from rest_verl.common.tokenizers import load_tokenizer

if TYPE_CHECKING:
    from rest_verl.commands.inspect.page import PageStep
    from rest_verl.commands.inspect.sources import TextRow
    from rest_verl.config.rest import RestConfig
    from rest_verl.records.schema import StepRecords

# pyarrow, torch and transformers are slow to import, so modules that need them are imported where they are used, and
# `rest-verl --help` stays quick

MOST_TRAJECTORIES = 200
Value = TypeVar("Value")


def inspect(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="A run's folder, its rest.dump_dir, or record files; or a .jsonl file of texts. Two folders or two "
            "files of texts are shown side by side."
        ),
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
            sources = _text_sources(paths, tokenizer, format, preset, set_ or [], steps or "1")
        else:
            given = {"tokenizer": tokenizer, "format": format, "preset": preset, "set": set_}
            _refuse("it is for a .jsonl file of texts", **given)
            sources = _run_sources(paths, steps)
        page_steps, recorded = _pack_steps(sources, limit)
        runs = [source.name for source in sources] if len(sources) > 1 else []
        page = render_page(" | ".join(runs) or paths[0].resolve().name, page_steps, runs)
        write_whole(out, page)

    shown = sum(step.trajectories for step in page_steps)
    numbers = ", ".join(str(step.step) for step in page_steps)
    total = len(sources[0].available)
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
        name: what the page calls them next to others.
        available: all steps that could be shown.
        count: number of steps in `records`.
        records: the file and the records of each shown step, read lazily.
    """

    name: str
    available: Sequence[int]
    count: int
    records: Iterator[tuple[Path, StepRecords]]


def _refuse(reason: str, **options: object) -> None:
    """Raise ValueError for an option that is given but would be ignored."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"--{name} has no effect here: {reason}")


def _run_sources(paths: Sequence[Path], steps: str | None) -> list[_Source]:
    """The records of a run, or of two runs at the steps that both have."""
    from rest_verl.commands.inspect.side_by_side import names_of, shared_steps
    from rest_verl.commands.inspect.sources import abbreviate, choose_steps, find_steps
    from rest_verl.records.schema import read_step

    runs = [[path] for path in paths] if len(paths) == 2 and all(path.is_dir() for path in paths) else [paths]
    found = [find_steps(run) for run in runs]
    shared = shared_steps(found[0], found[-1])
    if not shared:
        raise ValueError(
            f"no step is both in {paths[0]} ({abbreviate(list(found[0]))}) and in {paths[1]} "
            f"({abbreviate(list(found[1]))}): name two runs with a step in common, or all files of one run"
        )
    chosen = choose_steps(shared, steps)
    names = names_of(paths) if len(runs) == 2 else [""]

    def source(name: str, files: Mapping[int, Path]) -> _Source:
        return _Source(name, shared, len(chosen), ((files[step], read_step(files[step])) for step in chosen))

    return [source(name, files) for name, files in zip(names, found, strict=True)]


def _text_sources(
    paths: Sequence[Path],
    tokenizer: str | None,
    format: str | None,
    preset: str | None,
    overrides: Sequence[str],
    shown_steps: str,
) -> list[_Source]:
    """Records made from a file of texts, from two files, or from one file with two presets."""
    from rest_verl.commands.inspect.side_by_side import names_of
    from rest_verl.commands.inspect.sources import read_rows, step_numbers

    presets = [part.strip() for part in (preset or "paper").split(",")]
    if len(paths) > 2 or len(presets) > 2 or len(paths) + len(presets) > 3:
        raise ValueError(
            f"{len(paths)} paths and {len(presets)} presets: at most two are shown side by side, two files of texts "
            "or two presets"
        )
    if tokenizer is None or format is None:
        raise ValueError(f"{paths[0]} is a file of texts: it needs --tokenizer MODEL and --format NAME")
    steps, rows = step_numbers("--steps", shown_steps), [read_rows(path) for path in paths]

    from rest_verl.commands.inspect.text_records import text_records, text_settings

    settings = [text_settings(one, format, overrides) for one in presets]
    loaded = load_tokenizer(tokenizer)
    names = names_of(paths) if len(paths) == 2 else presets

    def source(name: str, path: Path, lines: Sequence[TextRow], rest: RestConfig) -> _Source:
        records = text_records(lines, loaded, rest, steps)
        return _Source(name, steps, len(steps), ((path, one) for one in records))

    columns = (_repeated(values, len(names)) for values in (paths, rows, settings))
    return [source(*one) for one in zip(names, *columns, strict=True)]


def _repeated(values: Sequence[Value], number: int) -> Sequence[Value]:
    """The values, or one value as often as needed."""
    return [values[0]] * number if len(values) == 1 else values


def _pack_steps(sources: Sequence[_Source], limit: int) -> tuple[list[PageStep], int]:
    """The steps of the page, and the number of trajectories in their records."""
    from rest_verl.commands.inspect.page import PageStep
    from rest_verl.commands.inspect.step_data import step_data
    from rest_verl.records.schema import StepRecords

    page_steps, recorded = [], 0
    with progress_bar("steps") as on_progress:
        on_progress(0, sources[0].count)
        for together in zip(*(source.records for source in sources), strict=True):
            recorded += sum(records.table.num_rows for _, records in together)
            shown = [StepRecords(records.meta, records.table.slice(0, limit)) for _, records in together]
            try:
                data = step_data(*shown)
            except ValueError as error:
                raise ValueError(f"{' and '.join(str(path) for path, _ in together)}: {error}") from None
            rows = sum(one.table.num_rows for one in shown)
            tokens = sum(len(ids) for one in shown for ids in one.table.column("ids"))
            page_steps.append(PageStep(shown[0].meta.step, rows, tokens, data))
            on_progress(len(page_steps), sources[0].count)
    return page_steps, recorded
