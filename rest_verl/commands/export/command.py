"""The command `rest-verl export`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rest_verl.common.console import one_line_errors, plain_text, say, stages


def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="A run's trainer.default_local_dir, a global_step_N in it, or its actor.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write: a Hugging Face model for vllm serve.")],
    step: Annotated[int | None, typer.Option(help="Step of a run to export; default: the latest.")] = None,
) -> None:
    """Export a run's checkpoint as a Hugging Face folder, and try it.

    verl's own merger combines the shards
    (FSDP, Megatron; it needs enough memory for the model, and for Megatron a GPU).
    The result is then loaded with transformers, which must find every weight,
    and generates a few tokens.

    For a LoRA run, the folder holds the base model, and lora_adapter the adapter.
    """
    from rest_verl.commands.export.checkpoint import ExportError, find_checkpoint, merge
    from rest_verl.commands.export.trial import serve_command, try_model

    out = out.resolve()
    log = out.with_name(f"{out.name}.log")
    with one_line_errors():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ExportError(f"{out} already exists: choose another folder for --out, or remove it")
        found = find_checkpoint(checkpoint, step)
        out.parent.mkdir(parents=True, exist_ok=True)
        # out appears only when it is complete and was tried
        with stages() as stage, TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
            model = Path(scratch) / "model"
            stage(f"copying {found.model}" if found.kind == "weights" else f"merging {found.actor}, log in {log}")
            merge(found, model, log)
            stage("loading and generating")
            trial = try_model(model) if any(model.glob("*.safetensors")) else None
            model.rename(out)

    rows = [("checkpoint", str(found.actor)), ("folder", str(out))]
    if found.kind != "weights":
        rows.append(("verl's log", str(log)))
    if trial is None:
        rows.append(("not tried", "the run saved only its adapter: replace BASE_MODEL with the model it started from"))
    else:
        rows += [("parameters", f"{trial.parameters:,} in {trial.dtype}"), ("answers Hello with", repr(trial.reply))]
    table = Table(show_header=False)
    for name, value in rows:
        # as plain text: a model's reply may look like markup
        table.add_row(name, plain_text(value))
    Console().print(table)
    say(serve_command(out, has_base=trial is not None))
