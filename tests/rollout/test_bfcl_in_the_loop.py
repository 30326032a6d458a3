"""BFCL's 800 multi-turn tasks, solved by a scripted policy in verl's real loop: ids in, ids out.

Without `--all` every eighth of them.
"""

import asyncio
import json

import pytest
from bfcl_calls import MISSING
from scripted_engine import ScriptedEngine, make_loop
from tiers import in_full

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

SETTINGS = (
    "rest.rollout.max_result_length=1000000",
    "actor_rollout_ref.rollout.response_length=1000000",
    "actor_rollout_ref.rollout.multi_turn.max_parallel_calls=100",
)


@pytest.fixture(scope="module")
def rows():
    from rest_verl.bfcl.data.multi_turn import bfcl_multi_turn_rows

    return bfcl_multi_turn_rows()[:: in_full(8, 1)]


def written(chat, calls):
    """Ids of the calls of one generation."""
    text = "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)
    return chat.encode(text, add_special_tokens=False)


def play_all(chat, config, rows, change=lambda calls: calls):
    """Each row's ground truth, turn by turn, changed by a function."""

    async def play(row):
        truth = json.loads(row["extra_info"]["environment_kwargs"])["ground_truth"]
        turns = [
            ids
            for calls in truth
            for ids in ([written(chat, change(calls))] if calls else [])
            + [chat.encode("Done.", add_special_tokens=False)]
        ]
        engine = ScriptedEngine(turns, chat.eos_token_id)
        # the prompt's tools would only be tokenised
        prompt = [{"role": "user", "content": row["extra_info"]["id"]}]
        output = await make_loop(config, chat, engine).run({}, raw_prompt=prompt, extra_info=row["extra_info"])
        assert output.prompt_ids + output.response_ids == engine.asked[-1] + engine.said[-1]
        return output.extra_fields

    async def run():
        outputs = []
        for first in range(0, len(rows), 100):
            outputs += await asyncio.gather(*(play(row) for row in rows[first : first + 100]))
        return outputs

    return asyncio.run(run())


def test_every_ground_truth_is_run_whole_and_right(chat, config_of, rows):
    played = play_all(chat, config_of(*SETTINGS), rows)
    calls = sum(fields["rest_rollout"]["calls"] for fields in played)
    assert len(played) == in_full(100, 800) and calls == in_full(calls, 4625) > 400
    assert [fields["rest_environment"]["acc"] for fields in played] == [1.0] * len(played)
    assert all(fields["rest_rollout"]["ended_by/done"] for fields in played)
    assert not any(value for f in played for key, value in f["rest_rollout"].items() if key.startswith("tool_errors"))


def test_the_scores_of_right_turns_add_up_to_the_whole(chat, config_of, rows):
    for fields in play_all(chat, config_of(*SETTINGS), rows[:20]):
        tokens, amounts = zip(*fields["rest_decided"], strict=True)
        assert sum(amounts) == pytest.approx(1.0) and list(tokens) == sorted(set(tokens))
        assert tokens[-1] == sum(end - start for start, end in fields["rest_turns"]) - 1


def test_a_call_that_is_left_out_is_seen(chat, config_of, rows):
    played = play_all(chat, config_of(*SETTINGS), rows[:100], change=lambda calls: calls[:-1])
    assert sum(fields["rest_environment"]["acc"] for fields in played) < len(played) / 10
