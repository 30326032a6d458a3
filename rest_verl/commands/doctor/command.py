"""The command `rest-verl doctor`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from rest_verl.common.console import one_line_errors, plain_text, say, stages

if TYPE_CHECKING:
    from rest_verl.commands.doctor.findings import Finding

_STYLES = {"ok": "green", "warning": "yellow", "failure": "bold red"}


def doctor(
    tokenizer: Annotated[
        str | None, typer.Option(help="Model's folder or hub id; by default the format is tried on bytes.")
    ] = None,
    format: Annotated[str, typer.Option(help="Wire format to try, one of rest.format's.")] = "rlla",
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Check a Ray worker too, which takes most of the time.")
    ] = True,
    verl: Annotated[
        Path | None,
        typer.Option(
            help="Folder with another verl/, such as an unpacked wheel, to look for the parts that rest-verl uses.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")] = False,
) -> None:
    """Check that a verl run with ResT can start here. Exit status 0 only if it can.

    Checks the versions, their requirements, and that verl has what
    rest-verl uses of it; the plugin,
    with the error that verl hides; every name in verl's registries,
    in the driver and in a Ray worker, which also imports the rollout engine;
    GPUs, shared memory, memory and disk; a tokenizer and a wire format.
    """
    from rest_verl.commands.doctor.findings import Level, can_start
    from rest_verl.commands.doctor.machine import check_machine
    from rest_verl.commands.doctor.parts import check_parts
    from rest_verl.commands.doctor.probe import Request, run_probe
    from rest_verl.commands.doctor.versions import check_versions
    from rest_verl.formats import get_format

    with one_line_errors():
        get_format(format)
        request = Request(tokenizer, format, worker)
        log = Path(mkstemp(prefix="rest-verl-doctor-", suffix=".log")[1])
    with stages() as on_stage:
        on_stage("versions, machine")
        found = [*check_versions(), *check_parts(verl), *check_machine()]
        probed = list(run_probe(request, log, on_stage))
    found += probed
    starts = can_start(found)
    if can_start(probed):
        log.unlink()
    if as_json:
        typer.echo(json.dumps({"can_start": starts, "findings": [asdict(one) for one in found]}, indent=2))
    else:
        Console().print(findings_table(found))
        counts = {level: sum(one.level is level for one in found) for level in Level}
        say(verdict(starts, counts[Level.FAILURE], counts[Level.WARNING]))
        if log.exists():
            say(f"Log: {log}")
    raise typer.Exit(int(not starts))


def findings_table(findings: Sequence[Finding]) -> Table:
    """A table with one section per group, in order of first appearance."""
    table = Table("", "check", "found")
    table.columns[2].overflow = "fold"
    for group in dict.fromkeys(finding.group for finding in findings):
        table.add_section()
        table.add_row("", plain_text(group, "bold"), "")
        for finding in findings:
            if finding.group == group:
                # as plain text: an error message may look like markup
                cell = plain_text(finding.found)
                if finding.remedy:
                    cell.append(plain_text(f"\n-> {finding.remedy}", "italic"))
                status = plain_text(finding.level.value, _STYLES[finding.level.value])
                table.add_row(status, plain_text(finding.check), cell)
    return table


def verdict(starts: bool, failures: int, warnings: int) -> str:
    """The last line of the report."""
    extra = f"; {_count(warnings, 'warning')}" if warnings else ""
    return f"A run can start{extra}." if starts else f"No run can start: {_count(failures, 'failure')}{extra}."


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
