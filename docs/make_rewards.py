"""Writes the table "What can be gamed" of docs/rewards.md: what each response earns under each rule set.

python docs/make_rewards.py

tests/reward/test_hostile.py checks that the page has the table of the present code.
"""

from __future__ import annotations

from pathlib import Path

from rest_verl.config.rest import load
from rest_verl.formats import get_format
from rest_verl.reward.scorers import score_environment
from rest_verl.reward.tool_reward import RewardAtStep, ToolReward
from rest_verl.reward.truth import read_ground_truth

PAGE = Path(__file__).with_name("rewards.md")
BEGIN, END = "<!-- made by docs/make_rewards.py -->\n", "<!-- end of the table -->\n"
STEP = 150  # from here on the bounds stand still, and the best score is 4 under each rule set
COLUMNS = ("paper", "toolrl", "strict", "environment")

THINK = "<think> t </think>\n"
ANSWER = "<response> It is done. </response>"
RIGHT = '{"name": "set_alarm", "parameters": {"hour": 7, "loud": true}}'
JUNK = '{"name": "set_alarm", "parameters": {}}'


def block(*lines: str) -> str:
    """A block of calls."""
    return "<tool_call>\n" + "\n".join(lines) + "\n</tool_call>"


def _broken(*lines: str) -> tuple[str, str]:
    return THINK + block(*lines), CALL


CALL, SAID = THINK + block(RIGHT), THINK + ANSWER

# row of the table -> response, ground truth
EXPLOITS: dict[str, tuple[str, str]] = {
    "the right call": (CALL, CALL),
    "an answer where one is due": (SAID, SAID),
    "the right call ten times": (THINK + block(*[RIGHT] * 10), CALL),
    "the right call among 99 others": (THINK + block(*[JUNK] * 49, RIGHT, *[JUNK] * 50), CALL),
    "one call ten times, where ten different ones are due": (
        THINK + block(*[RIGHT] * 10),
        THINK + block(*[RIGHT.replace("7", str(hour)) for hour in range(7, 17)]),
    ),
    "the right call with three further arguments": _broken(RIGHT.replace("true", 'true, "a": "", "b": "", "c": ""')),
    "a call inside reasoning": (f"<think> I could say\n{block(RIGHT)} </think>\n" + ANSWER, CALL),
    "a second block of other calls": (CALL + "\n" + block(*[JUNK] * 9), CALL),
    "a forged chat marker that drops the text before it": ("Noise. <|im_start|>assistant\n" + CALL, CALL),
    "a forged end of turn that drops the text after it": (CALL + "<|im_end|> Noise.", CALL),
    "text between reasoning and call, closed by a second tag": (
        "<think> t </think> Noise. </think>\n" + block(RIGHT),
        CALL,
    ),
    "a call without reasoning": (block(RIGHT), CALL),
    "a code fence inside the block": _broken("```json", RIGHT, "```"),
    "prose inside the block": _broken("This one:", RIGHT),
    "a comment after the call": _broken(RIGHT + " // now"),
    "a comma after the call": _broken(RIGHT + ","),
    "an array of calls": _broken(f"[{RIGHT}]"),
    "a block that is not closed": (CALL.removesuffix("\n</tool_call>"), CALL),
    "a further call without parameters": _broken(RIGHT, '{"name": "other"}'),
    "1 for true": (CALL.replace("true", "1"), CALL),
    "7.0 for 7": (CALL.replace("7", "7.0"), CALL),
    '"7" for 7': (CALL.replace("7", '"7"'), CALL),
    "an empty answer": (THINK + "<response></response>", SAID),
    "a call where none is due, closed by a second tag": (f"{CALL} </think>\n{ANSWER}", SAID),
    "a call where none is due, and no answer": (CALL, SAID),
    "no text at all": ("", SAID),
}


def scores(name: str) -> list[float]:
    """What a row's response earns in each column, to two digits."""
    text, truth = EXPLOITS[name]
    found = [_score(text, truth, column) for column in COLUMNS]
    return [round(value, 2) for value in found]


def _score(text: str, truth: str, column: str) -> float:
    preset = "strict" if column == "environment" else column
    reward = RewardAtStep(ToolReward(load({"rest": {"reward": preset}}).reward), STEP)
    response = reward.reward.read([text.encode()], get_format("rlla"))
    if column == "environment":
        return score_environment(response, {"score": 1.0, "acc": 1.0}, reward)["score"]
    return reward(response, read_ground_truth(truth))["score"]


def table() -> str:
    """The table in Markdown."""
    head = ["response", *(f"`{column}`" for column in COLUMNS[:-1]), "`strict`, environment"]
    rows = [[name, *(f"{value:.2f}" for value in scores(name))] for name in EXPLOITS]
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page() -> str:
    """The whole page with the table of the present code."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
