"""The verdict is that of BFCL's own checker on right and on changed answers: `pytest -s` prints the counts.

With `--all` on ten times as many answers and source texts.
"""

import random
from collections import Counter

import bfcl_reference
import pytest
from bfcl_answers import SOURCE_CATEGORIES, mutated, right_answer
from bfcl_reference import AST_CATEGORIES, Question, questions, reference
from tiers import in_full

from rest_verl.bfcl.verdict import java, javascript
from rest_verl.bfcl.verdict.checker import accepts, check_calls, optional_arguments
from rest_verl.core.tool_calls import ToolCall

pytestmark = pytest.mark.skipif(bfcl_reference.MISSING is not None, reason=str(bfcl_reference.MISSING))

# BFCL refuses whatever its own answer says. It accepts nothing for an argument that the tool requires (live_simple),
# has an argument that the tool does not or lacks one that is required (live_multiple), or holds numbers in a list of
# Java whose elements are all read as text. For simple_java_64 it accepts single letters of "epoch_millis" only.
WITHOUT_RIGHT_ANSWER = {
    "live_simple": {"live_simple_106-63-0", "live_simple_112-68-0"},
    "live_multiple": {"live_multiple_862-181-3", "live_multiple_964-207-0"},
    "simple_java": {"simple_java_36", "simple_java_64", "simple_java_65"},
}
NAMES = {
    "simple_java": (java.TYPES, ("Array", "ArrayList")),
    "simple_javascript": (javascript.TYPES, ("array",)),
}
READERS = {
    "simple_java": lambda: (reference().read_java, java.read_java),
    "simple_javascript": lambda: (reference().read_javascript, javascript.read_javascript),
}
VERDICTS = ("valid", "invalid", "raised")
CHANGED, SOURCES = in_full(150, 1500), in_full(3000, 30_000)


def same_verdict(question, calls, category):
    """BFCL's verdict, which ours has to equal."""
    theirs = reference().verdict(question, calls, category)
    ours = check_calls(question.functions, calls, question.possible_answer, category)
    assert (ours is None) == (theirs == "valid"), f"{question.id}: BFCL says {theirs}, we say {ours}: {calls}"
    return theirs


@pytest.mark.parametrize("category", AST_CATEGORIES)
def test_verdict_on_right_and_changed_answers_is_that_of_bfcl(category):
    rng = random.Random(f"verdicts on {category}")
    rows = questions(category)
    first = {question.id: same_verdict(question, right_answer(question, category), category) for question in rows}
    assert {id for id, verdict in first.items() if verdict != "valid"} == WITHOUT_RIGHT_ANSWER.get(category, set())

    right, changed = Counter(first.values()), Counter()
    for question in rows:
        for _ in range(in_full(1, 3)):
            right[same_verdict(question, right_answer(question, category, rng), category)] += 1
        for _ in range(in_full(1, 5) + CHANGED // len(rows)):
            calls = mutated(right_answer(question, category, rng), rng)
            changed[same_verdict(question, calls, category)] += 1
    print(f"\n{category:22} right answers: {table_row(right)}    changed: {table_row(changed)}")
    assert changed.total() >= CHANGED
    assert min(changed["valid"], changed["invalid"]) > CHANGED // 15


def table_row(counts):
    return f"{counts.total():7,}: " + ", ".join(f"{counts[verdict]:6,} {verdict}" for verdict in VERDICTS)


@pytest.mark.parametrize("category", [name for name in AST_CATEGORIES if "parallel" not in name])
def test_a_call_is_right_where_each_argument_is(category):
    """Accepted each, and none missing that may not be left out."""
    rng = random.Random(f"arguments of {category}")
    for question in questions(category):
        (name, accepted), *_ = question.possible_answer[0].items()
        function = next(function for function in question.functions if function["name"] == name)
        for _ in range(in_full(1, 5)):
            calls = mutated(right_answer(question, category, rng), rng)
            if len(calls) == 1 and calls[0].name == name:
                arguments = calls[0].arguments
                due = {*accepted, *function["parameters"]["required"]} - optional_arguments(function, accepted)
                right = due <= set(arguments) and all(
                    accepts(function, accepted, key, value, category) for key, value in arguments.items()
                )
                verdict = check_calls(question.functions, calls, question.possible_answer, category)
                assert right == (verdict is None), f"{question.id}: {verdict}: {calls}"


PARTS = {
    "simple_java": [
        *"12,,  \n\"'{}()<>.LfeEa",
        "-1",
        "1.5f",
        "20L",
        "true",
        '"a"',
        "add(",
        "add(1);",
        'put("',
        '", 1)',
    ],
    "simple_javascript": [*"12,,,::  \n\"'[[]]{}()nea", "-1", "1.5", "20n", "true", '"a"', "], [", "]\n, [", "b: "],
}
NUMBER_PARTS = [*"-0199٢.eELlFfn \n\"'", "12", "1.5", "true"]
FRAMES = {
    "simple_java": [
        "new int[]{%s}",
        "new ArrayList<>(Arrays.asList(%s))",
        "new ArrayList<String>() {{%s}}",
        "new HashMap<A, B>() {{%s}}",
        "new HashMap<>() {%s}",
        "new HashMap<>()%s",
        "new ArrayList<>()%s",
    ],
    "simple_javascript": ["[%s]", "[[%s]]", "new Array(%s)", "new Array([%s])", "{%s}", "{a: %s}", "{a: 1, b: [%s]}"],
}


def soup(language, rng):
    """The parts that source text has in any order, mostly inside the frame of a value, or of one in another."""
    text = "".join(rng.choice(PARTS[language]) for _ in range(rng.randrange(9)))
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        text = rng.choice(FRAMES[language]) % text
        if rng.random() < 0.2:
            text += rng.choice(PARTS[language])
    return text


@pytest.mark.parametrize("language", SOURCE_CATEGORIES)
def test_source_text_is_read_as_bfcl_reads_it(language):
    rng = random.Random(f"source of {language}")
    types, collections = NAMES[language]
    theirs, ours = READERS[language]()
    read = Counter()
    for _ in range(SOURCES):
        declared = rng.choice([*types, *[*collections, "HashMap" if "HashMap" in types else "dict"] * 5])
        is_collection = types[declared] in (list, dict)
        source = soup(language, rng) if is_collection else "".join(rng.choices(NUMBER_PARTS, k=rng.randrange(6)))
        element = rng.choice([None, *types]) if declared in collections else None
        expected, value = outcome(theirs, source, declared, element), outcome(ours, source, declared, element)
        assert repr(value) == repr(expected), (source, declared, element)
        read[type(expected).__name__] += 1
    print(f"\n{language}: {dict(read)}")
    assert min(read["list"], read["dict"], read["str"]) > in_full(50, 1000)
    assert min(read["int"], read["float"]) > in_full(5, 100)


CORNERS = {
    "simple_java": [
        ("new ArrayList<>() {{}}add(1);}}", "ArrayList", "integer", [1]),
        ("new ArrayList<>() {{ }}", "ArrayList", "integer", []),
        ("new ArrayList<>() {{add()1);}}", "ArrayList", "String", [""]),
        ("new ArrayList<>(Arrays.asList()))", "ArrayList", "any", [")"]),
        ("new ArrayList<>(Arrays.asList(\n1))", "ArrayList", "integer", "new ArrayList<>(Arrays.asList(\n1))"),
        ("new int[]{1\n} new int[]{2}", "Array", "integer", [2]),
        ('new HashMap<>() {{put("a", b",\n c)}}', "HashMap", None, {'a", b': "c"}),
        ('new HashMap<>() {{put("a", "}"); put("b", 1);}}', "HashMap", None, {}),
        ('new HashMap<A, List<B>>() { { put("a",\n 5L) } }', "HashMap", None, {"a": 5}),
        ("5L\n", "long", None, 5),
    ],
    "simple_javascript": [
        ("[[1, 2],\n [3]]", "array", "array", [[1, 2], [3]]),
        ("[[1, [2]], x], 3", "array", "array", [[1, "[2"]]),
        ("[[1] 2], [3]]", "array", "array", [[1], [3]]),
        ("new Array([1], ['a'])", "array", "array", [[1], ["a"]]),
        ("[\n1]", "array", "integer", "[\n1]"),
        ("{a: 1, : 2}", "dict", None, {"a": 1, "": 2}),
        ("{a: 1, 2, b: '3'}", "dict", None, {"a": "1, 2", "b": 3}),
        ('"', "String", None, ""),
    ],
}


@pytest.mark.parametrize(
    "language, source, declared, element, value",
    [(language, *case) for language in CORNERS for case in CORNERS[language]],
)
def test_corners_of_source_text_are_read_as_bfcl_reads_them(language, source, declared, element, value):
    theirs, ours = READERS[language]()
    assert repr(ours(source, declared, element)) == repr(theirs(source, declared, element)) == repr(value)


def outcome(read, *arguments):
    """The value that is read; None where there is none."""
    try:
        return read(*arguments)
    except (ValueError, NotImplementedError):
        return None


FLOATS = {"type": "array", "items": {"type": "float"}}
DICTS = {"type": "array", "items": {"type": "dict"}}
STOPPED = {
    "no required": ({"x": {"type": "integer"}}, None, [1], 1),
    "unknown type": ({"x": {"type": "number"}}, [], [1], 1),
    "several types": ({"x": {"type": ["integer", "null"]}}, [], [1], 1),
    "no type": ({"x": {}}, [], [1], 1),
    "no items": ({"x": {"type": "array"}}, [], [[1]], [1]),
    "too large for a float": ({"x": {"type": "float"}}, [], [1.0], 10**400),
    "no dict in a list of dicts": ({"x": DICTS}, [], [[{"a": [1]}], ""], [1]),
    "a list that accepts a number": ({"x": FLOATS}, [], [[1.0], 2], [3.0]),
    "a list of dicts that accepts a number": ({"x": DICTS}, [], [[{"a": [1]}, {}], 2], [{"a": 1}]),
    "a dict that accepts a list": ({"x": {"type": "dict"}}, [], [{"a": [1]}, [1]], {"a": 2}),
    "a dict's bare number": ({"x": {"type": "dict"}}, [], [{"a": 1}], {"a": 1}),
    "a missing one": ({"x": {"type": "dict"}}, [], [{"a": 1}], {}),
}


@pytest.mark.parametrize("category", ["simple_python", "multiple", "parallel"])
@pytest.mark.parametrize("case", STOPPED)
def test_calls_count_as_wrong_where_bfcl_stops_with_an_error(case, category):
    properties, required, accepted, value = STOPPED[case]
    parameters = {"properties": properties} | ({} if required is None else {"required": required})
    question = Question(case, [{"name": "f", "parameters": parameters}], [{"f": {"x": accepted}}])
    assert same_verdict(question, [ToolCall("f", {"x": value})], category) == "raised"


@pytest.mark.parametrize(
    "category, declared, source",
    [
        ("simple_java", "Set", "new HashSet<>()"),
        ("simple_java", "Hashtable", "new Hashtable<>()"),
        ("simple_java", "Queue", "queue"),
        ("simple_java", "Stack", "stack"),
        ("simple_java", "integer", "9" * 5000),
        ("simple_java", "long", "9" * 5000 + "L"),
        ("simple_javascript", "Bigint", "9" * 5000 + "n"),
        ("simple_javascript", "Bigint", "9n\n"),
    ],
)
def test_source_counts_as_wrong_where_bfcl_stops_with_an_error(category, declared, source):
    parameters = {"properties": {"x": {"type": declared}}, "required": []}
    question = Question(declared, [{"name": "f", "parameters": parameters}], [{"f": {"x": [source]}}])
    assert same_verdict(question, [ToolCall("f", {"x": source})], category) == "raised"


def test_a_stop_in_the_parallel_categories_spoils_an_answer_whose_other_calls_are_right():
    parameters = {"properties": {"x": {"type": "float"}}, "required": []}
    question = Question(
        "parallel", [{"name": "f", "parameters": parameters}], [{"f": {"x": [1.0]}}, {"f": {"x": [2.0]}}]
    )
    late, early = [1.0, 10**400], [10**400, 1.0]
    verdicts = [same_verdict(question, [ToolCall("f", {"x": x}) for x in xs], "parallel") for xs in (late, early)]
    assert verdicts == ["raised", "raised"]


def test_no_answer_and_no_such_tool_count_as_wrong():
    call, tool = ToolCall("f", {}), {"name": "f", "parameters": {"properties": {}, "required": []}}
    assert same_verdict(Question("no tool", [tool], [{"g": {}}]), [call], "multiple") == "raised"
    assert same_verdict(Question("no answer", [tool], []), [], "multiple") == "raised"
    assert same_verdict(Question("no answer", [tool], []), [call], "simple_python") == "raised"
