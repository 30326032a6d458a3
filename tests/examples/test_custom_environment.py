"""The shop of examples/custom_environment.py: what a user who writes an environment copies from."""

import asyncio
import json

import custom_environment as shop
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import train_shop
from typer.testing import CliRunner

from rest_verl.cli import app
from rest_verl.rollout.environment import ToolError, get_environment


def play(wishes, calls):
    """Answer each wish with calls; return the results and the score."""

    async def run():
        environment = get_environment("shop")(wishes=wishes)
        opening = await environment.reset()
        assert list(opening.messages) == list(opening.tools) == []
        said, results = [], []
        for made in calls:
            results += [await environment.call(*call) for call in made]
            said.append(await environment.next_user_turn())
        scored = await environment.score()
        await environment.close()
        return said, results, scored

    return asyncio.run(run())


def test_a_user_tells_one_wish_after_the_other_and_the_cart_keeps_what_was_added():
    said, results, scored = play(
        [["fig", 3], ["plum", 2], ["fig", -1]],
        [[("add_item", {"item": "fig", "count": 3})], [("add_item", {"item": "plum", "count": 2})], []],
    )
    assert said == [
        [{"role": "user", "content": "Add 2 plum."}],
        [{"role": "user", "content": "Take 1 fig out."}],
        None,
    ]
    assert [json.loads(result) for result in results] == [{"fig": 3}, {"fig": 3, "plum": 2}]
    assert scored == {"score": 0.5, "items_in_cart": 5.0}


def test_what_nobody_wanted_counts_against_the_policy():
    add = [("add_item", {"item": item, "count": 1}) for item in ("fig", "pear")]
    assert play([["fig", 1]], [add])[2]["score"] == 0.5
    assert play([["fig", 1]], [add[:1]])[2]["score"] == 1.0


def test_a_wish_after_which_the_cart_was_right_earns_its_part():
    """The second wish is missed, and the third makes the cart right again only if the second is made up for."""

    async def run(calls):
        environment = get_environment("shop")(wishes=[["fig", 3], ["plum", 2], ["fig", -1]])
        for made in calls:
            for call in made:
                await environment.call(*call)
            await environment.next_user_turn()
        return environment.turn_scores()

    fig, plum = ("add_item", {"item": "fig", "count": 3}), ("add_item", {"item": "plum", "count": 2})
    less = ("remove_item", {"item": "fig", "count": 1})
    assert asyncio.run(run([[fig], [], [less]])) == pytest.approx([1 / 3, 0, 0])
    assert asyncio.run(run([[fig], [], [plum, less]])) == pytest.approx([1 / 3, 0, 1 / 3])


@pytest.mark.parametrize(
    "arguments",
    [{}, {"item": "fig"}, {"item": "house", "count": 1}, {"item": "fig", "count": True}, {"item": "fig", "count": 0}],
)
def test_wrong_arguments_are_answered_and_change_nothing(arguments):
    environment = shop.Shop([["fig", 1]])
    with pytest.raises(ToolError, match="item must be one of apple"):
        asyncio.run(environment.call("add_item", arguments))
    with pytest.raises(ToolError, match="only 0 fig in the cart"):
        asyncio.run(environment.call("remove_item", {"item": "fig", "count": 1}))
    with pytest.raises(KeyError):
        asyncio.run(environment.call("buy", {"item": "fig", "count": 1}))
    assert not environment.cart


def test_two_trajectories_have_a_cart_each():
    first, second = shop.Shop([["fig", 1]]), shop.Shop([["fig", 1]])
    asyncio.run(first.call("add_item", {"item": "fig", "count": 1}))
    assert (first.cart, second.cart) == ({"fig": 1}, {})


def test_the_clerk_of_the_example_answers_every_wish_of_a_row(monkeypatch):
    import random

    monkeypatch.setattr(train_shop, "MISTAKES", 0.0)
    rng = random.Random(0)
    for number in range(50):
        row = shop.row(number, train_shop.wishes(rng))
        wanted = json.loads(row["extra_info"]["environment_kwargs"])["wishes"]
        turns = train_shop.dialogue(row, rng)
        calls = [json.loads(answer.split("\n")[2]) for _, answer in turns if "<tool_call>" in answer]
        made = [[(call["name"], call["parameters"])] for call in calls]
        assert len(turns) == 2 * len(wanted)
        assert play(wanted, made)[2]["score"] == 1.0


def test_rows_of_a_custom_environment_are_checked_before_a_run(tmp_path):
    """As docs/rollout.md shows it; the module is imported by its name."""
    sound, wrong = shop.row(0, [["fig", 1]]), shop.row(1, [["plum", 2]])
    wrong["extra_info"]["environment_kwargs"] = json.dumps({"whishes": [["plum", 2]]})
    for name, rows in (("sound", [sound]), ("wrong", [sound, wrong])):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")

    def check(name):
        arguments = ["data", "check", str(tmp_path / f"{name}.parquet"), "--modules", "custom_environment"]
        return CliRunner().invoke(app, arguments)

    assert check("sound").exit_code == 0, check("sound").output
    refused = check("wrong")
    assert refused.exit_code == 1 and "whishes" in refused.output
