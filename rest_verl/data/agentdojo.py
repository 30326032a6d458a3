"""The tasks of AgentDojo as rows with an environment, with or without an attack in what the tools return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from agentdojo.agent_pipeline.agent_pipeline import load_system_message
from agentdojo.agent_pipeline.base_pipeline_element import BasePipelineElement
from agentdojo.attacks import load_attack
from agentdojo.attacks.attack_registry import ATTACKS

from rest_verl.common.names import unknown_name
from rest_verl.data.prompt import make_prompt
from rest_verl.data.rows import Row, RowEnvironment, make_row
from rest_verl.data.template import PromptTemplate
from rest_verl.formats.tools import tool_schemas, tools_text
from rest_verl.rollout.agentdojo import VERSION, suite_of, tools_of_suite

SUITES = ("banking", "slack", "travel", "workspace")


def agentdojo_rows(
    suites: Iterable[str] = SUITES,
    attack: str | None = None,
    format: str = "rlla",
    template: PromptTemplate | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Return a row for each user task of the suites; with an attack, one for each pair of a user task and an injection
    task instead, where the user task reads what an attacker can write.

    data_source is "agentdojo_<suite>", or "agentdojo_<suite>_attacked"; split is "test". The prompt lists the tools.

    Args:
        suites: names from SUITES.
        attack: name of one of the package's attacks, which write the injections; None for none.
        format, template: for the prompt (`make_prompt`).
        on_progress: called with the number of user tasks done and of all.

    Raises:
        ValueError: a suite or the attack is unknown, or the prompt cannot be made.
    """
    if attack is not None and attack not in ATTACKS:
        raise ValueError(unknown_name("attack of AgentDojo", attack, ATTACKS))
    wanted = [suite_of(name) for name in dict.fromkeys(suites)]
    total = sum(len(suite.user_tasks) for suite in wanted)
    rows: list[Row] = []
    done = 0
    for suite in wanted:
        tools = tools_of_suite(suite)
        offered = tools_text(tool_schemas(tools))
        name = f"agentdojo_{suite.name}" + ("_attacked" if attack else "")
        writer = load_attack(attack, suite, _Target()) if attack else None
        for task in suite.user_tasks.values():
            dialogue = [
                {"role": "system", "content": load_system_message(None)},
                {"role": "user", "content": task.PROMPT},
            ]
            prompt = make_prompt(tools, dialogue, format, template)
            for id, kwargs in _tasks(suite, task, writer):
                environment = RowEnvironment("agentdojo", kwargs)
                rows.append(make_row(name, len(rows), id, "test", prompt, "", environment, offered))
            done += 1
            on_progress(done, total)
    return rows


class _Target(BasePipelineElement):
    """In place of the attacked model: attacks look up what to call it."""

    name = "local"

    def query(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("attacks ask for the name alone")


def _tasks(suite: Any, task: Any, writer: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ids and arguments of the environments of one user task."""
    kwargs = {"suite": suite.name, "user_task": task.ID, "version": VERSION}
    if writer is None:
        yield f"{suite.name}_{task.ID}", kwargs
        return
    for other in suite.injection_tasks.values():
        try:
            injections = writer.attack(task, other)
        except ValueError:  # "is not injectable": it reads nothing that an attacker could have written
            return
        yield f"{suite.name}_{task.ID}_{other.ID}", kwargs | {"injection_task": other.ID, "injections": injections}
