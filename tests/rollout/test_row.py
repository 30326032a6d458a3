"""The environment that a row names."""

import asyncio

import pytest


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"environment": "dsek", "environment_kwargs": "{}"}, "unknown environment 'dsek': did you mean 'desk'"),
        ({"environment": "desk", "environment_kwargs": '{"speed": 1}'}, "index=7: environment 'desk'.*speed"),
        ({"environment": "desk", "environment_kwargs": "[1]"}, "Set it to a JSON object"),
        ({"environment": "desk", "environment_kwargs": "{"}, "Set it to a JSON object"),
    ],
)
def test_a_wrong_row_raises_what_is_wrong_with_it(start, info, message):
    async def run():
        await start(["ok"], **{"index": 7} | info)[1]

    with pytest.raises(ValueError, match=message):
        asyncio.run(run())


@pytest.mark.parametrize("info", [{}, {"environment": None, "environment_kwargs": None}])
def test_a_row_without_an_environment_runs_without_one(play, info):
    played = play(["ok"], desk=None, **info)
    assert "rest_environment" not in played.fields and played.ended_by == ["ended_by/done"]


def test_an_environment_without_keyword_arguments_needs_none(play):
    played = play(["ok"], desk=None, environment="desk", environment_kwargs=None)
    assert played.fields["rest_environment"] == {"acc": 1.0, "score": 1.0}


@pytest.mark.parametrize("points", [{}, {"acc": 1}, {"score": 2}, {"score": "high"}, {"score": 1, "note": "x"}])
def test_a_score_that_is_none_raises(play, points):
    with pytest.raises(ValueError, match=r"Desk\.score\(\) returned"):
        play(["ok"], desk={"points": points})
