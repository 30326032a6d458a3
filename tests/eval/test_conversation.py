"""Questions: which are asked, and in which order; conversations: what is sent, what ends them, how they are judged."""

import asyncio
import importlib.util
import json

import pytest
from scripted_endpoint import SYSTEM, ask, right_answer, single_question, sum_question, turn

from rest_verl.eval.answers import Answer
from rest_verl.eval.conversation import STEPS_PER_TURN, open_conversation, replay
from rest_verl.eval.questions import BFCL_CATEGORIES, apibank_questions, bfcl_questions
from rest_verl.formats import get_format


@pytest.fixture
def files(tmp_path):
    for level, count in ((1, 3), (2, 4)):
        rows = [
            {"system": "s", "user": f"u{number}", "answer": {"name": "f", "parameters": {}}} for number in range(count)
        ]
        (tmp_path / f"level{level}.json").write_text(json.dumps(rows))
    return [tmp_path / "level2.json", tmp_path / "level1.json"]


def test_the_order_does_not_depend_on_how_files_are_given_and_the_limit_is_by_data_source(files):
    whole = apibank_questions(files)
    assert [question.index for question in whole] == list(range(7))
    assert [question.key for question in whole] == [question.key for question in apibank_questions(files[::-1])]
    some = apibank_questions(files, limit=2)
    assert [question.id for question in some] == [
        "apibank_level1_0",
        "apibank_level1_1",
        "apibank_level2_0",
        "apibank_level2_1",
    ]
    assert some[0].key == ("apibank_level1", "apibank_level1_0")


def test_bfcl_is_asked_in_its_own_order_single_turn_first():
    pytest.importorskip("bfcl_eval", reason="needs BFCL's data: pip install --no-deps bfcl-eval==2026.3.23")
    questions = bfcl_questions(["multi_turn_base", "multiple", "simple_python"], limit=2)
    assert [question.source for question in questions] == [
        *["bfcl_simple_python"] * 2,
        *["bfcl_multiple"] * 2,
        *["bfcl_multi_turn_base"] * 2,
    ]
    assert len({question.key for question in questions}) == 6


def test_an_unknown_category_names_the_nearest_of_both_kinds():
    with pytest.raises(ValueError, match="did you mean 'multi_turn_base'"):
        bfcl_questions(["multi_turn_bas"])
    assert {"simple_python", "multi_turn_base"} <= set(BFCL_CATEGORIES)


RLLA = get_format("rlla")
ADD_1 = turn(("add", {"number": 1}))


def hold(question, answers, **options):
    """Hold a conversation: (what was to be sent before each answer and at the end, result, turns)."""

    async def run():
        conversation = open_conversation(question, RLLA, **options)
        sent = [await conversation.begin()]
        for answer in answers:
            sent.append(await conversation.answer(answer))
        result = await conversation.result()
        await conversation.close()
        return sent, result, conversation.turns

    return asyncio.run(run())


def replayed(question, answers):
    """Replay answers: (what is to be sent next, result)."""

    async def run():
        conversation = open_conversation(question, RLLA)
        messages = await replay(conversation, answers)
        return messages, await conversation.result()

    return asyncio.run(run())


def answers_of(question, *texts, error=None):
    made = [Answer(question.source, question.id, 0, step, text) for step, text in enumerate(texts)]
    if error:
        made.append(Answer(question.source, question.id, 0, len(made), "", error=error))
    return made


def test_a_single_turn_is_one_request_with_the_rows_prompt_and_its_scorers_verdict():
    sent, result, turns = hold(single_question(1), [ADD_1])
    assert sent == [[SYSTEM, ask(1)], None]
    assert (result["acc"], result["broken_off"], result["legal"]) == (1, 0, 1)
    assert [[(call.name, call.arguments) for call in step.calls] for step in turns[0]] == [[("add", {"number": 1})]]
    assert hold(single_question(2), [ADD_1])[1]["acc"] == 0


def test_a_dialogue_sends_everything_said_so_far_and_ends_with_the_user():
    sent, result, turns = hold(sum_question(1, 2), [ADD_1, turn(said="a"), turn(("add", {"number": 2})), "done"])
    tool = {"role": "tool", "content": "1", "tool_call_id": "functions.add:0"}
    first = [SYSTEM, ask(1), {"role": "assistant", "content": ADD_1}, tool]
    assert sent[:3] == [first[:2], first, [*first, {"role": "assistant", "content": turn(said="a")}, ask(2)]]
    assert sent[3][-1] == {"role": "tool", "content": "3", "tool_call_id": "functions.add:1"}
    assert sent[4] is None
    assert (result["acc"], result["turns_right"], result["steps"], result["broken_off"]) == (1, 2, 4, 0)
    assert [len(steps) for steps in turns] == [2, 2]


def test_calls_that_go_wrong_are_answered_as_in_training():
    text = turn(("sub", {}), ("add", {"number": 13}), ("add", {}), ("add", {"number": "surrogate"}))
    broken = '<tool_call>\n{"name": "add", "parameters": {"number": }}\n</tool_call>'
    sent, result, _ = hold(sum_question(1), [text, broken])
    results = [message["content"] for message in sent[-1] if message["role"] == "tool"]
    assert results == [
        "Error: there is no tool 'sub'",
        "Error: not that one",
        "Error: KeyError: 'number'",
        "\ufffd",  # nothing that UTF-8 cannot send
        "Error: This call could not be read. Write it whole, with the tool's name and its arguments as an object.",
    ]
    assert (result["calls"], result["failed_calls"], result["parse_ok"]) == (5, 4, 0)


def test_a_turn_of_the_user_ends_the_dialogue_after_the_step_limit_and_the_last_calls_count():
    more = turn(("add", {"number": 0}))
    sent, result, _ = hold(sum_question(1), [ADD_1, more, more], max_steps_per_turn=3)
    assert sent[-1] is None and sent[-2] is not None
    assert (result["acc"], result["broken_off"]) == (1, 0)  # as BFCL, which looks at the state
    assert hold(sum_question(1, 2), [ADD_1, more, more], max_steps_per_turn=3)[1]["acc"] == 0
    sent, _, _ = hold(sum_question(1), [ADD_1] * STEPS_PER_TURN)
    assert [messages is None for messages in sent] == [False] * STEPS_PER_TURN + [True]


def test_a_replay_goes_on_where_the_answers_end():
    question = sum_question(1, 2)
    sent, whole, _ = hold(question, [ADD_1, "a", turn(("add", {"number": 2})), "b"])
    for length in range(4):
        messages, result = replayed(
            question, answers_of(question, ADD_1, "a", turn(("add", {"number": 2})), "b")[:length]
        )
        assert messages == sent[length]
        assert (result["acc"], result["broken_off"]) == (0, 1)
    assert replayed(question, answers_of(question, ADD_1, "a", turn(("add", {"number": 2})), "b")) == (None, whole)


def test_a_refused_request_ends_a_conversation_as_wrong_whatever_was_done_before():
    question = sum_question(1)
    messages, result = replayed(question, answers_of(question, ADD_1, error="too long"))
    assert messages is None
    assert (result["acc"], result["share"], result["broken_off"]) == (0, 1, 1)


@pytest.mark.parametrize("steps", [[1], [0, 2], [0, 0], [0, 1, 2]])
def test_answers_that_were_never_asked_for_are_refused(steps):
    question = sum_question(1)
    texts = [ADD_1, "done", "more"]
    answers = [Answer(question.source, question.id, 0, step, texts[step]) for step in steps]
    with pytest.raises(ValueError, match=f"source 'sum', id 'sum_1', seed 0: step {steps[-1]} cannot follow"):
        replayed(question, answers)


@pytest.mark.parametrize(
    "text", ["", "\ud800", "<tool_call>" * 5000, "[" * 50_000, "<tool_call>\n" + '{"name":' * 9999]
)
def test_no_answer_makes_a_conversation_raise(text):
    assert hold(single_question(1), [text])[1]["acc"] == 0
    sent, result, _ = hold(sum_question(1), [text])
    assert result["acc"] == 0
    "".join(str(message) for message in sent[-1] or []).encode()  # all that is sent is UTF-8


def test_a_model_without_mistakes_is_always_right():
    async def run(question):
        conversation = open_conversation(question, RLLA)
        messages = await conversation.begin()
        while messages is not None:
            messages = await conversation.answer(right_answer(messages))
        return await conversation.result()

    for question in (single_question(7), sum_question(1), sum_question(4, 5, 6)):
        assert asyncio.run(run(question))["acc"] == 1


@pytest.mark.skipif(
    importlib.util.find_spec("bfcl_eval") is None,
    reason="needs BFCL's data: pip install --no-deps bfcl-eval==2026.3.23",
)
def test_no_call_where_none_is_due_is_right_but_not_where_the_endpoint_refused():
    [question] = bfcl_questions(["irrelevance"], limit=1)
    assert hold(question, [turn(said="No tool fits.")])[1]["acc"] == 1
    _, refused = replayed(question, answers_of(question, error="too long"))
    assert (refused["acc"], refused["broken_off"]) == (0, 1)
