"""A trajectory in `rest_tool_agent`: what the model reads, what is written down, and why it ended."""

import json

import pytest


def text_of(chat, output):
    return chat.decode(output.prompt_ids + output.response_ids)


def test_a_trajectory_goes_on_over_the_turns_of_its_user(play, call, chat):
    turns = [call("write", key="a", text="one"), "noted", call("read", key="a"), "it says one", "bye"]
    played = play(turns, desk={"says": ["What did I say?", "Thanks."]})
    assert [turn["user_turn"] for turn in played.table] == [0, 0, 1, 1, 2]
    assert [call["result"] for call in played.calls] == ["written", "one"]
    assert played.ended_by == ["ended_by/done"]
    assert played.numbers["user_turns"] == 3 and played.numbers["assistant_turns"] == 5
    text = text_of(chat, played.output)
    assert text.index("noted") < text.index("<|im_start|>user\nWhat did I say?<|im_end|>\n<|im_start|>assistant\n")
    assert "<|im_start|>tool\none<|im_end|>\n<|im_start|>assistant\n" in text
    assert text.endswith("bye<|im_end|>")


def test_calls_of_one_turn_run_one_after_the_other(play, call):
    played = play([call("wait", seconds=0.05) + call("wait", seconds=0.01), "done"])
    assert [what for what in played.desk.log if "wait" in what] == [
        "call wait",
        "waited 0.05",
        "call wait",
        "waited 0.01",
    ]


def test_calls_of_one_turn_may_run_at_the_same_time(play, call):
    """Where the environment allows it."""
    played = play([call("wait", seconds=0.05) + call("wait", seconds=0.01), "done"], desk={"parallel": True})
    assert [what for what in played.desk.log if "waited" in what] == ["waited 0.01", "waited 0.05"]
    assert [call["arguments"]["seconds"] for call in played.calls] == [0.05, 0.01]


def test_the_environment_opens_the_trajectory_with_messages_and_tools(play, call, chat):
    tool = {"type": "function", "function": {"name": "say", "description": "Say it.", "parameters": {}}}
    opening = [{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Now."}]
    played = play([call("say", text="hi"), "done"], desk={"opens_with": opening, "tools": [tool]})
    prompt = chat.decode(played.output.prompt_ids)
    assert json.dumps(tool) in prompt
    assert "user\nBegin.<|im_end|>\n<|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>user\nNow." in prompt


def test_the_score_is_called_once_and_kept_with_acc(play):
    played = play(["done"], desk={"points": {"score": 0.5, "turns": 2}})
    assert played.fields["rest_environment"] == {"acc": 0.0, "score": 0.5, "turns": 2.0}
    assert played.desk.log == ["reset", "user", "score", "close"]


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("fly", {}, "unknown_tool", "Error: there is no tool 'fly'"),
        ("__class__", {}, "unknown_tool", "Error: there is no tool '__class__'"),
        ("x" * 5000, {}, "unknown_tool", f"Error: there is no tool '{'x' * 100}'"),
        ("read", {"key": "missing"}, "exception", "Error: KeyError: 'missing'"),
        ("read", {"lock": 1}, "wrong_arguments", "unexpected keyword argument 'lock'"),
        ("refuse", {}, "failed", "Error: the desk is locked"),
        ("crash", {}, "exception", "Error: ValueError: boom boom"),
        ("exit", {}, "exception", "Error: SystemExit: 1"),
        ("number", {}, "exception", "Error: the tool returned int instead of text"),
        ("wait", {"seconds": 60}, "timeout", "Error: the call was stopped after 0.2 s"),
    ],
)
def test_a_call_that_fails_becomes_a_message_that_the_model_can_read(
    play, call, chat, name, arguments, error, message
):
    limit = ["rest.rollout.call_seconds=0.2"] if error == "timeout" else []
    played = play([call(name, **arguments), "I see."], *limit)
    (failed,) = played.calls
    assert failed["error"] == error and message in failed["result"]
    assert len(failed["result"]) < 600 and "\n" not in failed["result"]
    assert f"<|im_start|>tool\n{failed['result']}<|im_end|>" in text_of(chat, played.output)
    assert played.numbers[f"tool_errors/{error}"] == 1
    assert sum(value for key, value in played.numbers.items() if key.startswith("tool_errors/")) == 1
    assert played.ended_by == ["ended_by/done"]


@pytest.mark.parametrize(
    "written",
    [
        '<tool_call>\n{"name": "say", "argu</tool_call>',
        '<tool_call>\n{"name": "say", "arguments": [1]}\n</tool_call>',
        '<tool_call>\n{"arguments": {"text": "x"}}\n</tool_call>',
        '<tool_call>\n{"name": "say", "arguments": {"text": ' + "[" * 200 + "]" * 200 + "}}\n</tool_call>",
    ],
)
def test_a_call_that_cannot_be_read_is_answered_and_not_run(play, written):
    played = play([written, "Sorry."])
    (failed,) = played.calls
    assert failed["error"] == "unreadable" and failed["result"].startswith("Error: This call could not be read.")
    assert not [what for what in played.desk.log if what.startswith("call")]


def test_a_long_result_is_cut_with_a_remark(play, call, chat):
    played = play([call("long", length=10_000_000), "done"], "rest.rollout.max_result_length=1000")
    (result,) = played.calls
    assert result["result"] == "x" * 1000 + "\n[cut here: the first 1,000 of 10,000,000 characters]"
    assert result["truncated"] and result["error"] is None
    assert "[cut here: the first 1,000" in text_of(chat, played.output)


def test_calls_beyond_verls_limit_for_a_turn_are_answered_and_not_run(play, call):
    overrides = ["actor_rollout_ref.rollout.multi_turn.max_parallel_calls=2"]
    played = play([call("write", key="a", text="b") * 4, "done"], *overrides)
    assert [call["error"] for call in played.calls] == [None, None, "too_many_calls", "too_many_calls"]
    assert played.calls[3]["result"] == "Error: not run: at most 2 calls are allowed here"
    assert played.desk.log.count("call write") == 2
    assert played.ended_by == ["ended_by/done"]


MULTI_TURN = "actor_rollout_ref.rollout.multi_turn"


@pytest.mark.parametrize(
    ("reason", "overrides", "generations", "run"),
    [
        ("assistant_turns", [f"{MULTI_TURN}.max_assistant_turns=3"], 3, 3),
        ("user_turns", [f"{MULTI_TURN}.max_user_turns=2"], 2, 2),
        ("steps", ["rest.rollout.max_steps_per_turn=4"], 4, 4),
        ("calls", ["rest.rollout.max_calls=2"], 3, 2),
        ("seconds", ["rest.rollout.max_seconds=3"], 1, 1),
        ("response_length", ["actor_rollout_ref.rollout.response_length=150"], 3, 2),
        ("response_length", ["actor_rollout_ref.rollout.max_model_len=180"], 3, 2),
    ],
)
def test_each_limit_ends_the_trajectory_and_says_so(play, call, reason, overrides, generations, run):
    seconds = 60 if reason == "seconds" else 0
    played = play([call("wait", seconds=seconds)] * 10, *overrides)
    assert played.ended_by == [f"ended_by/{reason}"]
    assert len(played.table) == generations
    assert played.desk.log.count("call wait") == run
    assert played.desk.log[-2:] == ["score", "close"]
    assert played.output.response_mask[-1] == 1


def test_steps_are_counted_anew_for_each_turn_of_the_user(play, call):
    turns = [call("say", text="x"), "ok"] * 3
    played = play(turns, "rest.rollout.max_steps_per_turn=2", desk={"says": ["more", "more"]})
    assert played.ended_by == ["ended_by/done"] and len(played.table) == 6


def test_the_last_user_turn_is_the_one_that_the_limit_allows(play):
    played = play(["ok"] * 4, "rest.rollout.max_user_turns=2", desk={"says": ["more"] * 3})
    assert played.ended_by == ["ended_by/user_turns"] and len(played.table) == 2


def test_an_answer_that_ends_everything_at_a_limit_counts_as_done(play):
    played = play(
        ["ok", "ok"], "rest.rollout.max_user_turns=2", f"{MULTI_TURN}.max_assistant_turns=2", desk={"says": ["more"]}
    )
    assert played.ended_by == ["ended_by/done"]


def test_text_of_a_user_that_does_not_fit_ends_the_trajectory_at_its_last_answer(play):
    played = play(["ok"], "actor_rollout_ref.rollout.response_length=50", desk={"says": ["x" * 500]})
    assert played.ended_by == ["ended_by/response_length"]
    assert all(played.output.response_mask)


def test_log_probs_follow_the_tokens(play, call):
    played = play([call("say", text="hello"), "ok", "bye"], desk={"says": ["and?"]})
    for number, (start, end) in enumerate(played.fields["rest_turns"], 1):
        assert played.output.response_logprobs[start:end] == [-number - at / 1024 for at in range(end - start)]
    outside = [
        p for p, mask in zip(played.output.response_logprobs, played.output.response_mask, strict=True) if not mask
    ]
    assert outside and not any(outside)


def test_numbers_of_a_trajectory_are_the_same_keys_for_all(play, call):
    first, second = play(["ok"]), play([call("fly"), call("say", text="x"), "ok"], desk={"says": []})
    assert first.numbers.keys() == second.numbers.keys()
    assert second.numbers["calls"] == 2 and second.numbers["calls_per_turn"] == pytest.approx(2 / 3)
    assert all(type(value) is float for value in second.numbers.values())


def test_generation_stops_where_verls_parser_of_the_format_says(play, call, chat):
    # the small tokenizer knows Kimi's end of a turn
    played = play(["ok"], "rest.format=kimi")
    assert played.engine.parameters[0]["stop_token_ids"] == [chat.convert_tokens_to_ids("<|im_end|>")]
    assert "stop_token_ids" not in play(["ok"]).engine.parameters[0]


def coder(name, **values):
    """A call of qwen3_coder, whose values have no types."""
    written = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"<tool_call>\n<function={name}>\n{written}</function>\n</tool_call>"


SAY = {"name": "say", "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}}
LONG = {"name": "long", "parameters": {"type": "object", "properties": {"length": {"type": "integer"}}}}


@pytest.mark.parametrize("source", ["environment", "row", "both"])
def test_calls_are_read_by_the_schemas_of_environment_and_row(play, source):
    """A zip code stays text; without a schema it would be a number, which `say` returns and which is no text."""
    opening = {"tools": [{"type": "function", "function": {"description": "", **SAY}}]} if source != "row" else {}
    row = {"tools": json.dumps([SAY, LONG] if source == "row" else [LONG])} if source != "environment" else {}
    turns = [coder("say", text="94107"), coder("long", length="3"), "done"]
    played = play(turns, "rest.format=qwen3_coder", desk=opening, extra=row)
    assert [call["arguments"] for call in played.calls] == [{"text": "94107"}, {"length": 3}]
    assert [call["result"] for call in played.calls] == ["94107", "xxx"]
    added = json.loads(played.fields.get("rest_tools", "[]"))
    assert [tool["name"] for tool in added] == ([] if source == "row" else ["say"])


def test_tools_that_cannot_be_read_leave_a_trajectory_as_it_was(play):
    for tools in ("{", "[1]", "3"):
        played = play([coder("long", length="3"), "done"], "rest.format=qwen3_coder", desk={}, extra={"tools": tools})
        assert [call["result"] for call in played.calls] == ["xxx"]
