"""Whatever a model calls, nothing runs but the public methods of the classes involved, and each call ends soon."""

import asyncio
import copy
import json

import pytest
from bfcl_calls import MISSING
from hypothesis import given
from hypothesis import strategies as st
from tiers import examples, size

from rest_verl.bfcl.multi_turn.apis import API_CLASSES, methods
from rest_verl.bfcl.multi_turn.environment import BfclMultiTurn
from rest_verl.bfcl.multi_turn.executor import Executor, refuse_costly

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

SCENARIO = {"GorillaFileSystem": {"root": {"a": {"type": "directory", "contents": {}}}}}


def everything():
    return Executor(API_CLASSES, SCENARIO, long_context=False)


@pytest.fixture
def executor():
    return everything()


@pytest.mark.parametrize(
    "name",
    [
        "__import__",
        "__init__",
        "__class__",
        "__eq__",
        "_load_scenario",
        "_find_ticket",
        "_navigate_to_directory",
        "long_context",
        "root",
        "cd.__globals__",
        "GorillaFileSystem.pwd",
        "os.system",
        "eval",
        "exec",
        "pwd()",
        "pwd ",
        "__import__('os').system('true')",
        "",
        "\x00",
        "\ud800",
        "p" * size(10_000_000),
    ],
    ids=lambda name: repr(name[:30]),
)
def test_a_name_that_is_no_public_method_of_the_classes_is_an_unknown_tool_and_changes_nothing(name):
    async def call():
        due = [[{"name": "pwd", "arguments": {}}]]
        environment = BfclMultiTurn(
            id="t",
            initial_config=SCENARIO,
            involved_classes=["GorillaFileSystem", "TicketAPI"],
            turns=[],
            ground_truth=due,
            long_context=False,
            held_out={},
        )
        await environment.reset()
        before = copy.deepcopy(environment._judged._acting.states())
        with pytest.raises(KeyError):
            await environment.call(name, {"command": "true"})
        assert environment._judged._acting.states() == before

    asyncio.run(call())


def test_a_class_that_is_not_involved_cannot_be_called():
    with pytest.raises(KeyError):
        Executor(["MathAPI"], {}, False).call("pwd", {})


def test_every_public_method_of_the_eight_classes_can_be_called_and_no_other(executor):
    assert executor.names() == {name for one in API_CLASSES for name in methods(one)}
    assert len(executor.names()) == 128
    assert not any(name.startswith("_") for name in executor.names())


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cd", {}, "missing 1 required positional argument: 'folder'"),
        ("cd", {"folder": "a", "mode": 1}, "unexpected keyword argument 'mode'"),
        ("cd", {"folder": "a", "self": None}, "multiple values for argument 'self'"),
        ("cd", {"folder": ["a"]}, "no attribute 'rstrip'"),
        ("pwd", {"__class__": "x"}, "unexpected keyword argument '__class__'"),
        ("pwd", {"0": "x"}, "unexpected keyword argument '0'"),
        ("get_ticket", {"ticket_id": {"a": []}}, "not found"),
        ("cancel_order", {"order_id": []}, "unhashable type: 'list'"),
        ("square_root", {"number": 2, "precision": 0}, "valid range for prec"),
    ],
)
def test_arguments_that_do_not_fit_give_an_error_that_the_model_can_read(executor, name, arguments, message):
    assert message in executor.call(name, arguments)


GIANT = 10**4000


@pytest.mark.soon
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("power", {"base": 10, "exponent": 10**9}, "more than 4300 digits"),
        ("power", {"base": 2, "exponent": GIANT}, "more than 4300 digits"),
        ("power", {"base": -GIANT, "exponent": GIANT}, "more than 4300 digits"),
        ("round_number", {"number": 5, "decimal_places": -(10**9)}, "must not be below"),
        ("square_root", {"number": 2, "precision": 10**9}, "at most 1000 digits"),
        ("logarithm", {"value": 2, "base": 3, "precision": 10**7}, "at most 1000 digits"),
        ("logarithm", {"value": 2, "base": 3, "precision": "10000000"}, "at most 1000 digits"),
        ("logarithm", {"value": 2, "base": 3, "precision": 1e300}, "at most 1000 digits"),
        ("logarithm", {"value": "1e1000000000", "base": 3, "precision": 5}, "value must be a number"),
        ("logarithm", {"value": 2, "base": "1e1_000_000_000", "precision": 5}, "base must be a number"),
        (
            "logarithm",
            {"value": "\u0661e\u0669\u0669\u0669\u0669\u0669\u0669\u0669\u0669", "base": 3, "precision": 5},
            "value must be a number",
        ),
    ],
)
def test_a_call_that_would_take_very_long_is_refused_at_once(executor, name, arguments, message):
    assert message in executor.call(name, arguments)


@pytest.mark.soon
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("power", {"base": 1, "exponent": GIANT}),
        ("power", {"base": -1, "exponent": GIANT}),
        ("power", {"base": 0, "exponent": GIANT}),
        ("power", {"base": 2, "exponent": 14000}),
        ("power", {"base": 10, "exponent": -GIANT}),
        ("power", {"base": 1e300, "exponent": 1e300}),
        ("round_number", {"number": 1.5, "decimal_places": GIANT}),
        ("round_number", {"number": 15, "decimal_places": -1}),
        ("logarithm", {"value": " 1e3 ", "base": "10", "precision": 5}),
        ("logarithm", {"value": "inf", "base": 3, "precision": 1000}),
        ("logarithm", {"value": "abc", "base": GIANT, "precision": -3}),
        ("multiply", {"a": GIANT, "b": GIANT}),
        ("mean", {"numbers": [GIANT] * 1000}),
        ("standard_deviation", {"numbers": [GIANT, 1, "a"]}),
        ("divide", {"a": GIANT, "b": 0.5}),
        ("compute_exchange_rate", {"base_currency": "USD", "target_currency": "JPY", "value": "9" * 100_000}),
    ],
)
def test_what_takes_no_time_is_left_to_the_class(executor, name, arguments):
    refuse_costly(name, None, arguments)
    assert executor.call(name, arguments)


@pytest.mark.soon
@pytest.mark.parametrize("name", ["find", "du"])
def test_a_directory_without_end_or_of_countless_copies_is_not_gone_through(executor, name):
    executor.call("mkdir", {"dir_name": "x"})
    executor.call("touch", {"file_name": "f"})
    assert "copied" in executor.call("cp", {"source": "x", "destination": "x"})
    assert "too many files" in executor.call(name, {})

    countless = everything()
    countless.call("mkdir", {"dir_name": "0"})
    for number in range(40):
        source, copied, into = (str(number), f"{number}copy", str(number + 1))
        countless.call("cp", {"source": source, "destination": copied})
        countless.call("mkdir", {"dir_name": into})
        for one in (source, copied):
            assert "moved" in countless.call("mv", {"source": one, "destination": into})
    assert "too many files" in countless.call(name, {})


def test_a_directory_without_end_is_another_state_and_no_crash():
    async def score():
        due = [[{"name": "mkdir", "arguments": {"dir_name": "x"}}]]
        environment = BfclMultiTurn(
            id="t",
            initial_config=SCENARIO,
            involved_classes=["GorillaFileSystem"],
            turns=[],
            ground_truth=due,
            long_context=False,
            held_out={},
        )
        await environment.reset()
        await environment.call("mkdir", {"dir_name": "x"})
        await environment.call("cp", {"source": "x", "destination": "x"})
        return await environment.score()

    assert asyncio.run(score())["acc"] == 0


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["a", "..", "/", "USD", "1e5", "2024-01-01", "buy", "Close", 0, 1, 12345, 10**300]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def some_calls(draw):
    calls = []
    for _ in range(draw(st.integers(1, 8))):
        name = draw(st.sampled_from(API_CLASSES))
        method = draw(st.sampled_from(sorted(methods(name))))
        code = methods(name)[method].__code__
        keys = [*code.co_varnames[1 : code.co_argcount], "extra"]
        calls.append((method, {key: draw(VALUES) for key in keys[:-1] if draw(st.integers(0, 9))}))
    return calls


@examples(300)
@given(some_calls())
def test_any_json_arguments_give_text_again_and_again_the_same(calls):
    one, other = everything(), everything()
    for name, arguments in calls:
        before = json.dumps(arguments)
        text = one.call(name, arguments)
        assert isinstance(text, str)
        assert text == other.call(name, arguments)
        assert json.dumps(arguments) == before
