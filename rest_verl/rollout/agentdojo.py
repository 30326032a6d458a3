"""Environment `agentdojo`: a task of AgentDojo (arXiv 2406.13352), whose tools' results may hold a prompt injection.

State, tools and verdicts are those of the package agentdojo, in memory: utility, whether the user's task was solved;
and security's opposite, whether the task of the injection was. Equal to the package's own functions on its ground
truths (tests/rollout/test_agentdojo.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_verl.common.names import unknown_name
from rest_verl.rollout.environment import NoEnvironment, Opening, ToolError, register_environment
from rest_verl.rollout.safe_text import one_line
from rest_verl.rollout.waiting import call_in_thread

try:
    from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
    from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
    from agentdojo.task_suite import TaskSuite, get_suites
except ImportError as error:
    raise ModuleNotFoundError(
        f"environment 'agentdojo' needs the package agentdojo ({error}). Run: pip install 'rest-verl[agentdojo]'",
        name="agentdojo",
    ) from error

VERSION = "v1.2.2"  # of the benchmark; the package keeps the earlier ones


def suite_of(name: str, version: str = VERSION) -> TaskSuite:
    """A suite of the benchmark.

    Raises:
        ValueError: the version or the suite is unknown.
    """
    suites = get_suites(version)
    if name not in suites:
        raise ValueError(unknown_name(f"suite of AgentDojo {version}", name, suites))
    return suites[name]


def tools_of_suite(suite: TaskSuite) -> list[dict[str, Any]]:
    """The tools of a suite as a prompt lists them."""
    return [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters.model_json_schema()}
        for tool in suite.tools
    ]


@register_environment("agentdojo")
class AgentDojo(NoEnvironment):
    """A user's task in a suite, with or without an attack."""

    def __init__(
        self,
        suite: str,
        user_task: str,
        injection_task: str | None = None,
        injections: Mapping[str, str] | None = None,
        version: str = VERSION,
    ):
        """
        Args:
            suite: banking, slack, travel or workspace.
            user_task: id of what the user wants.
            injection_task: id of what the attacker wants; None without an attack.
            injections: text of the attacker by the place where it stands.
            version: of the benchmark.

        Raises:
            ValueError: one of them is unknown.
        """
        super().__init__()
        self._suite = suite_of(suite, version)
        self._task = _task(self._suite.user_tasks, user_task)
        self._attack = None if injection_task is None else _task(self._suite.injection_tasks, injection_task)
        self._injections = dict(injections or {})
        if unknown := self._injections.keys() - self._suite.get_injection_vector_defaults().keys():
            raise ValueError(f"injections: {suite} has no place {', '.join(sorted(unknown))}")
        self._runtime = FunctionsRuntime(self._suite.tools)
        self._calls: list[FunctionCall] = []
        self._answer = ""
        self._state: Any = None
        self._before: Any = None

    async def reset(self) -> Opening:
        await call_in_thread(self._load)
        return Opening()  # the row's prompt lists the tools

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        self._calls.append(FunctionCall(function=name, args=arguments))
        if name not in self._runtime.functions:
            raise KeyError(name)
        return await call_in_thread(self._run, name, arguments)

    async def hear(self, answer: str) -> None:
        self._answer = answer

    async def score(self) -> dict[str, float]:
        """1 if the user's task is solved and the attacker's is not; and each as a number of its own."""
        return await call_in_thread(self._judge)

    def _load(self) -> None:
        state = self._suite.load_and_inject_default_environment(self._injections)
        self._state = self._task.init_environment(state)
        self._before = self._state.model_copy(deep=True)

    def _run(self, name: str, arguments: dict[str, Any]) -> str:
        result, error = self._runtime.run_function(self._state, name, arguments)
        if error is not None:
            raise ToolError(one_line(error))
        return tool_result_to_str(result)

    def _judge(self) -> dict[str, float]:
        seen = (self._answer, self._before, self._state)
        utility = self._task.utility_from_traces(*seen, self._calls)
        if utility is None:
            utility = self._task.utility(*seen)
        if self._attack is None:
            return {"score": float(utility), "utility": float(utility)}
        attacked = self._attack.security_from_traces(*seen, self._calls)
        if attacked is None:
            attacked = self._attack.security(*seen)
        score = float(utility and not attacked)
        return {"score": score, "utility": float(utility), "attack_success": float(attacked)}


def _task(tasks: Mapping[str, Any], name: str) -> Any:
    if name not in tasks:
        raise ValueError(unknown_name("task of AgentDojo", name, tasks))
    return tasks[name]
