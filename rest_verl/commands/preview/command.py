"""The command `rest-verl preview`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rest_verl.common.console import one_line_errors, plain_text
from rest_verl.common.extras import require

# Reasoning and one call, as long as those of ToolRL's correct answers.
_TOKENS = "format=12,name=6,args=18,think=80,other=14"


def preview(
    overrides: Annotated[list[str] | None, typer.Argument(help="Overrides for verl.trainer.main_ppo.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Preview the .hydra/config.yaml of an earlier run instead of overrides.")
    ] = None,
    steps: Annotated[str | None, typer.Option(help="Show these steps, separated by commas.")] = None,
    total_steps: Annotated[
        int | None, typer.Option(min=1, help="Number of training steps; default: trainer.total_training_steps.")
    ] = None,
    tokens: Annotated[
        list[str] | None,
        typer.Option(help=f"Number of tokens per region in a row of the batch. Repeatable. Default: {_TOKENS}"),
    ] = None,
    entropy: Annotated[
        str | None, typer.Option(help="Entropy per region in nats, as in think=0.9,args=0.3, for schemes that use it.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Chart files to write, without .png and .svg.")] = Path("preview"),
    plot: Annotated[bool, typer.Option("--plot/--no-plot", help="Draw the chart.")] = True,
) -> None:
    """Preview the token weights and reward bounds that a run's settings lead to.

    Needs no GPU, no model and no data. Options come before the overrides:
    everything after the first override is an override.
    """
    with one_line_errors():
        if (config is None) == (not overrides):
            raise ValueError("give either the overrides of a run, such as +rest=paper, or --config FILE")
        if plot:
            require("matplotlib", "plot", "charts (--no-plot does without)")
        shown = None if steps is None else [_step(part) for part in steps.split(",")]
        with Console(stderr=True).status("importing verl, about 8 s"):
            from rest_verl.commands.preview.assumed import ENTROPY, Assumed, read_entropy, read_tokens
            from rest_verl.commands.preview.run import compose, read_config, read_run
            from rest_verl.commands.preview.timeline import timeline
            from rest_verl.common.logs import importing, quiet_verl
            from rest_verl.weighting.schemes import get_scheme

            rows = [read_tokens(text) for text in tokens or [_TOKENS]]
            stated = {} if entropy is None else read_entropy(entropy)
            assumed = Assumed(rows, ENTROPY | stated, tuple(stated))
            with quiet_verl(), redirect_stdout(sys.stderr):  # verl and the user's modules print
                with importing():
                    composed, found_by_check = (read_config(config), []) if config else compose(overrides or [])
                run = read_run(composed, total_steps)
            if entropy is not None and not get_scheme(run.rest.scheme).measures_entropy:
                raise ValueError(f"--entropy {entropy}: rest.scheme={run.rest.scheme} uses no entropy: drop it")
            found = timeline(run, assumed, shown)
        from rest_verl.commands.preview.report import remarks, tables

        console = Console()
        for title, table in tables(found):
            console.print(plain_text(title), soft_wrap=True)
            console.print(table)
        for remark in remarks(found):
            console.print(plain_text(remark), soft_wrap=True)
        for problem in found_by_check:
            console.print(plain_text(f"before it can run: {problem}"), soft_wrap=True)
        if plot and (found.curve or found.has_reward):
            from rest_verl.commands.preview.chart import draw

            title = f"scheme {run.rest.scheme}" if found.curve else f"estimator {run.estimator}"
            files = draw(found, title, out)
            console.print(plain_text(f"chart: {' and '.join(map(str, files))}"), soft_wrap=True)


def _step(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--steps {text.strip()!r}: expected whole numbers separated by commas") from None
