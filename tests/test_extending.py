"""What docs/extending.md tells users to write works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiers import HANG_GUARD

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"

RUN = """
import torch
from rest_verl.config.rest import load
from rest_verl.formats import get_format
from rest_verl.core.regions import Region
from rest_verl.core.regions import TaggedBatch
from rest_verl.core.tool_calls import Kind, ToolCall
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

rest = load({"rest": {"modules": ["my_rest"], "scheme": "names_and_values", "format": "my_format",
                      "normalisation": "none"}})
row = torch.tensor([[Region.NAME, Region.THINK, Region.ARGS]], dtype=torch.int8)
batch = TaggedBatch(row, torch.tensor([[1, 1, 0]]))
assert TokenWeighting(rest, 100)(StepBatch(1, batch)).tolist() == [[2.0, 1.0, 0.0]]

curriculum = load({"rest": {"modules": ["my_rest"], "scheme": "entropy", "curriculum": {"kind": "square"}}})
assert TokenWeighting(curriculum, 100).lam(50) == 0.25

text = PAGE_TURN.encode()
turn = get_format("my_format").parse(text)
assert get_format("my_format").is_legal(text, turn, Kind(calls=True, answer=False))
assert get_format("my_format").read_calls(text, turn) == [ToolCall("get_weather", {"city": "Paris"})]
assert text[slice(*turn.think[0])] == b"look it up"

from rest_verl.reward.scorers import get_scorer
from rest_verl.reward.tool_reward import ToolReward

shop, reward = get_scorer("shop_7"), ToolReward(load({}).reward)
answer = "<think> t </think>\\n<response> Here you are, please. </response>"
response = reward.read([answer.encode()], get_format("rlla"))
found = shop.score(response, shop.read(answer), lambda asked, due: reward.score(asked, due, 0))
assert (found["score"], found["polite"], found["acc"]) == (4.5, 1.0, 1.0)

import asyncio
from rest_verl.rollout.environment import environment_of
from rest_verl.rollout.environment_results import score_of

async def count_to_two():
    row = {"environment": "counter", "environment_kwargs": '{"goal": 2}'}
    async with environment_of(row, close_seconds=9) as counter:
        await counter.reset()
        assert await counter.call("add", {"number": 2}) == "The count is 2."
        return await score_of(counter, seconds=9)

assert asyncio.run(count_to_two()) == {"acc": 1.0, "score": 1.0}
"""


@pytest.mark.parametrize("times", [1, 2])
def test_everything_on_the_page_registers_and_works(tmp_path, times):
    page = PAGE.read_text()
    (tmp_path / "my_rest.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)))
    turn = re.search(r"^    (<plan>.*)$", page, re.MULTILINE).group(1)
    script = RUN.replace("PAGE_TURN", repr(turn)) * times  # settings are read more than once in a process
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=HANG_GUARD
    )
    assert done.returncode == 0, done.stderr
