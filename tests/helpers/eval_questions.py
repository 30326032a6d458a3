"""Questions of an evaluation that need no benchmark: single-turn ones, and a dialogue about a sum."""

import json
from typing import Any

from rest_verl.data.rows import RowEnvironment, make_row
from rest_verl.eval.questions import Question
from rest_verl.rollout.environment import ENVIRONMENTS, NoEnvironment, Opening, ToolError

SYSTEM = {"role": "system", "content": "Tools."}


def turn(*calls: tuple[str, dict[str, Any]], said: str = "") -> str:
    """A turn in the format rlla."""
    block = "\n".join(json.dumps({"name": name, "parameters": arguments}) for name, arguments in calls)
    text = f"<think> t </think>\n<tool_call>\n{block}\n</tool_call>" if calls else "<think> t </think>"
    return f"{text}\n<response> {said} </response>" if said else text


class Sum(NoEnvironment):
    """The user names numbers, one a turn; `add` adds to a sum, which must be right at the end of every turn."""

    def __init__(self, numbers: list[int]):
        super().__init__()
        self._numbers, self._turn, self._sum, self._right, self.closed = numbers, 0, 0, 0, False

    async def reset(self) -> Opening:
        return Opening()

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        if name != "add":
            raise KeyError(name)
        if arguments.get("number") == 13:
            raise ToolError("not that one")
        if arguments.get("number") == "surrogate":
            return "\ud800"
        self._sum += arguments["number"]
        return str(self._sum)

    async def next_user_turn(self) -> list[dict[str, Any]] | None:
        self._judge()
        self._turn += 1
        return [ask(self._numbers[self._turn])] if self._turn < len(self._numbers) else None

    async def score(self) -> dict[str, float]:
        if self._turn < len(self._numbers):
            self._judge()
        return {"score": self._right / len(self._numbers), "turns_right": float(self._right)}

    def _judge(self) -> None:
        self._right += self._sum == sum(self._numbers[: self._turn + 1])


if "test_sum" not in ENVIRONMENTS.names():
    ENVIRONMENTS.add("test_sum", Sum)


def ask(number: int) -> dict[str, str]:
    return {"role": "user", "content": f"Add {number}."}


def sum_question(*numbers: int, index: int = 0) -> Question:
    """A dialogue."""
    id = f"sum_{'_'.join(map(str, numbers))}"
    environment = RowEnvironment("test_sum", {"numbers": list(numbers)})
    return Question("sum", id, index, make_row("sum", index, id, "test", [SYSTEM, ask(numbers[0])], "", environment))


def single_question(number: int, index: int = 0) -> Question:
    """A question that asks for one call of `add`."""
    id = f"single_{number}"
    row = make_row("single", index, id, "test", [SYSTEM, ask(number)], turn(("add", {"number": number})))
    return Question("single", id, index, row)


def right_answer(messages: list[dict[str, Any]]) -> str:
    """What a model that makes no mistake answers."""
    last = messages[-1]
    if last["role"] == "tool":
        return turn(said=f"The sum is {last['content']}.")
    return turn(("add", {"number": int(last["content"].removeprefix("Add ").rstrip("."))}))
