"""The environment of a multi-turn task: its turns, the tools that come later, and its score."""

import asyncio
import sys

import pytest
from bfcl_calls import MISSING

from rest_verl.bfcl.multi_turn.apis import api_class
from rest_verl.rollout.environment import NoEnvironment, get_environment, register_environment

needs_bfcl = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def said(text):
    return [{"role": "user", "content": text}]


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


LOGIN = call("ticket_login", username="u", password="p")
CREATE = call("create_ticket", title="t")
CLOSE = call("close_ticket", ticket_id=1)
GET = call("get_ticket", ticket_id=1)


def task(ground_truth=((LOGIN,), (), (CREATE, GET), (CLOSE,)), **changes):
    ground_truth = [list(calls) for calls in ground_truth]
    return {
        "id": "multi_turn_base_0",
        "initial_config": {"TicketAPI": {}},
        "involved_classes": ["TicketAPI", "MathAPI"],
        "turns": [said(f"turn {number}") for number in range(1, len(ground_truth))],
        "ground_truth": ground_truth,
        "long_context": False,
        "held_out": {},
    } | changes


def make(**changes):
    return get_environment("bfcl_multi_turn")(**task(**changes))


def play(*turns, **changes):
    """The score after these turns of calls; a tool that is not there counts as a call, as in the agent loop."""

    async def run():
        environment = make(**changes)
        await environment.reset()
        for number, calls in enumerate(turns):
            if number:
                await environment.next_user_turn()
            for one in calls:
                try:
                    await environment.call(one["name"], one["arguments"])
                except KeyError:
                    continue
        return await environment.score()

    return asyncio.run(run())


@needs_bfcl
def test_the_user_speaks_turn_by_turn_and_the_prompt_holds_the_first():
    async def run():
        environment = make()
        opening = await environment.reset()
        heard = [await environment.next_user_turn() for _ in range(4)]
        return opening, heard

    opening, heard = asyncio.run(run())
    assert (opening.messages, opening.tools) == ((), ())
    assert heard == [said("turn 1"), said("turn 2"), said("turn 3"), None]


@needs_bfcl
def test_the_ground_truth_is_right_in_every_turn_that_has_calls():
    assert play([LOGIN], [], [CREATE, GET], [CLOSE]) == {
        "score": 1.0,
        "acc": 1.0,
        "turns_right": 3.0,
        "turns_due": 3.0,
        "turns_reached": 4.0,
        "calls_surplus": 0.0,
    }


@needs_bfcl
def test_the_score_is_the_same_whether_or_not_the_user_was_asked_for_more():
    async def run():
        environment = make(ground_truth=[[LOGIN]])
        await environment.reset()
        await environment.call(**{"name": LOGIN["name"], "arguments": LOGIN["arguments"]})
        assert await environment.next_user_turn() is None
        return await environment.score()

    assert asyncio.run(run()) == play([LOGIN], ground_truth=[[LOGIN]])


@needs_bfcl
def test_a_trajectory_that_ends_early_keeps_its_right_turns_but_is_not_accepted():
    score = play([LOGIN], [], [CREATE, GET])
    assert (score["score"], score["acc"], score["turns_reached"]) == (2 / 3, 0, 3)


@needs_bfcl
def test_a_last_turn_without_due_calls_must_still_be_reached():
    assert play([LOGIN], ground_truth=[[LOGIN], []])["acc"] == 0
    assert play([LOGIN], [], ground_truth=[[LOGIN], []])["acc"] == 1


@needs_bfcl
def test_a_turn_without_the_due_calls_is_wrong_and_so_are_those_that_its_state_spoils():
    assert play([LOGIN], [], [], [])["turns_right"] == 1
    assert play([LOGIN], [], [], [CREATE, GET, CLOSE])["turns_right"] == 2
    assert play([], [LOGIN], [CREATE, GET], [CLOSE])["turns_right"] == 2


@needs_bfcl
def test_a_further_call_is_wrong_only_where_it_changes_the_state():
    look, change = call("get_user_tickets"), call("create_ticket", title="another")
    assert play([LOGIN], [look], [CREATE, look, GET], [CLOSE])["acc"] == 1
    assert play([LOGIN], [], [CREATE, GET, change], [CLOSE])["turns_right"] == 1


@needs_bfcl
def test_a_result_of_an_earlier_turn_need_not_be_asked_for_again_but_some_call_must_be_made():
    due = [[LOGIN, CREATE, GET], [GET]]
    assert play([LOGIN, CREATE, GET], [call("mean", numbers=[1])], ground_truth=due)["acc"] == 1
    assert play([LOGIN, CREATE, GET], [call("no_such_tool")], ground_truth=due)["acc"] == 1
    assert play([LOGIN, CREATE, GET], [], ground_truth=due)["acc"] == 0


@needs_bfcl
def test_a_result_that_is_due_more_often_must_come_more_often():
    due = [[LOGIN], [CREATE, GET, GET]]
    assert play([LOGIN], [CREATE, GET], ground_truth=due)["acc"] == 0
    assert play([LOGIN], [CREATE, GET, GET], ground_truth=due)["acc"] == 1


@needs_bfcl
def test_a_tool_that_is_held_out_is_unknown_until_the_turn_that_brings_it():
    async def run():
        environment = make(held_out={"2": ["create_ticket"]})
        await environment.reset()
        await environment.call("ticket_login", LOGIN["arguments"])
        for _ in range(2):
            with pytest.raises(KeyError, match="create_ticket"):
                await environment.call("create_ticket", CREATE["arguments"])
            await environment.next_user_turn()
        assert '"title": "t"' in await environment.call("create_ticket", CREATE["arguments"])

    asyncio.run(run())


@needs_bfcl
def test_acc_counts_an_early_call_as_the_leaderboard_does():
    """There it is run: the ticket that is due in the first turn exists, though the reward knows of none. What the
    early call changed beyond what is due makes `acc` wrong, and the reward right."""
    due = ((LOGIN, CREATE), (), (GET,))
    early = play([LOGIN, CREATE], [], [GET], ground_truth=due, held_out={"2": ["create_ticket"]})
    assert (early["acc"], early["turns_right"]) == (1, 0)
    due = ((LOGIN,), (), (CREATE,))
    early = play([LOGIN, CREATE], [], [CREATE], ground_truth=due, held_out={"2": ["create_ticket"]})
    assert (early["acc"], early["turns_right"], early["calls_surplus"]) == (0, 2, 1)


@needs_bfcl
@pytest.mark.parametrize(
    "changes",
    [{"ground_truth": [[call("fly")], [], [], []]}, {"held_out": {"1": ["fly"]}}],
    ids=["ground truth", "held out"],
)
def test_a_task_that_names_a_method_that_is_not_there_is_refused(changes):
    environment = make(**changes)
    with pytest.raises(ValueError, match=r"multi_turn_base_0: \['fly'\] are not methods of TicketAPI, MathAPI"):
        asyncio.run(environment.reset())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"involved_classes": ["TicketApi"]}, "unknown API class of BFCL 'TicketApi': did you mean 'TicketAPI'"),
        ({"turns": []}, "ground_truth has 4 turns and turns has 0"),
        ({"ground_truth": [[], [], [], []]}, "no call in any turn"),
        ({"held_out": {"4": ["f"]}}, "held_out: '4' is not a later turn; allowed: 1 to 3"),
        ({"held_out": {"0": ["f"]}}, "held_out: '0' is not a later turn"),
        ({"held_out": {"x": ["f"]}}, "held_out: 'x' is not a later turn"),
        ({"initial_config": []}, "initial_config"),
        ({"ground_truth": [["f()"], [], [], []]}, "ground_truth.0.0"),
        ({"turns": [["hello"], [], []]}, "turns.0.0"),
        ({"seed": 1}, "seed"),
    ],
)
def test_arguments_that_do_not_fit_are_named_when_the_environment_is_made(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_a_missing_argument_is_named():
    with pytest.raises(ValueError, match="ground_truth"):
        get_environment("bfcl_multi_turn")(id="t")


def test_the_name_of_a_built_in_environment_is_taken():
    get_environment("bfcl_multi_turn")
    with pytest.raises(ValueError, match="environment 'bfcl_multi_turn' is already registered"):
        register_environment("bfcl_multi_turn")(NoEnvironment)


@pytest.mark.parametrize("missing", ["bfcl_eval", "mpmath"])
def test_what_is_not_installed_is_said_with_the_command_that_installs_it(monkeypatch, missing):
    if missing == "mpmath" and MISSING:
        pytest.skip(MISSING)
    for name in [name for name in sys.modules if name.startswith(("bfcl_eval.eval_checker.multi", missing))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=r"MathAPI cannot be imported.*pip install --no-deps bfcl-eval=="):
        api_class.__wrapped__("MathAPI")
