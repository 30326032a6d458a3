"""The single-turn categories of the Berkeley Function Calling Leaderboard (BFCL) as rows for verl.

The questions and answers come out of the data files of the package `bfcl_eval`. It is never imported: installed with
`--no-deps`, as advised here, it lacks what its modules need, and the files are all that is wanted.
"""

import difflib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rest_verl.data.prompt import rlla_system_prompt, rlla_user_message

# live_relevance is absent: BFCL only asks there that some call be made and gives no call to compare with, so a row of
# it could not carry an honest ground truth.
CATEGORIES: tuple[str, ...] = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
)

_INSTALL = "pip install --no-deps bfcl-eval==2026.3.23"
_OMITTED = ""  # BFCL lists this among the accepted values of an argument that may be left out
_THINK_CALL = "<think> The tools at hand can do what is asked, so I call them with the values the user gave. </think>"
_NO_CALL = (
    "<think> None of the tools at hand can do what is asked, so I call none and say so. </think>\n"
    "<response> I cannot do this with the tools that I have. </response>"
)


def bfcl_folder() -> Path:
    """Return the folder of the installed package `bfcl_eval` (its `data/` holds the questions), without importing it.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to install it.
    """
    spec = importlib.util.find_spec("bfcl_eval")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"BFCL's data is not installed. Run: {_INSTALL}", name="bfcl_eval")
    return Path(next(iter(spec.submodule_search_locations)))


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: this bfcl_eval is another version. Run: {_INSTALL}")
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            try:
                entry = json.loads(line)
            except ValueError as error:  # broken JSON or broken UTF-8
                raise ValueError(f"{path}, line {number}: not JSON ({error}). Reinstall it: {_INSTALL}") from error
            if not isinstance(entry, dict) or "id" not in entry:
                raise ValueError(f"{path}, line {number}: no JSON object with an 'id'. Reinstall it: {_INSTALL}")
            yield entry


def _field(entry: Mapping[str, Any], name: str, path: Path, may_be_empty: bool = False) -> list[Any]:
    value = entry.get(name)
    if not isinstance(value, list) or not (value or may_be_empty):
        raise ValueError(f"{path}, {entry['id']}: {name!r} is not a list, or is empty. Reinstall it: {_INSTALL}")
    return value


def _part(schema: Any, key: str) -> Any:
    return schema.get(key) if isinstance(schema, Mapping) else None


def _plain(value: Any, schema: Any) -> Any:
    if isinstance(value, Mapping):
        return _arguments(value, schema)
    if isinstance(value, list):
        return [_plain(item, _part(schema, "items")) for item in value]
    return value


def _arguments(accepted: Mapping[str, Any], schema: Any) -> dict[str, Any]:
    """Return one right {argument: value} out of {argument: [accepted value, ...]}, nested dicts included.

    Of the accepted values the first counts, with "" passed over where another is left: "" marks an argument that may
    be left out, and one that the schema does not require is left out. An empty list of accepted values appears in
    BFCL where an empty list is the value.
    """
    required = _part(schema, "required") or ()
    arguments = {}
    for name, values in accepted.items():
        value_schema = _part(_part(schema, "properties"), name)
        if not isinstance(values, list):  # a few nested dicts hold the bare value
            arguments[name] = _plain(values, value_schema)
        elif not values:
            arguments[name] = []
        elif _OMITTED not in values or name in required:
            arguments[name] = _plain(next((v for v in values if v != _OMITTED), _OMITTED), value_schema)
    return arguments


def _ground_truth(calls: list[Any], tools: list[Any], where: str) -> str:
    schemas = {_part(tool, "name"): _part(tool, "parameters") for tool in tools}
    lines = []
    for call in calls:
        if not isinstance(call, Mapping) or not all(isinstance(accepted, Mapping) for accepted in call.values()):
            raise ValueError(f"{where}: a call must be {{name: {{argument: [accepted, ...]}}}}, got {call!r:.200}")
        for name, accepted in call.items():
            parameters = _arguments(accepted, schemas.get(name))
            lines.append(json.dumps({"name": name, "parameters": parameters}, ensure_ascii=False))
    return "\n".join([_THINK_CALL, "<tool_call>", *lines, "</tool_call>"])


def _prompt(messages: Any, tools: list[Any]) -> list[dict[str, str]]:
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise ValueError(f"the question's first turn must be a list of messages, got {messages!r:.200}")
    instructions = "\n\n".join(
        str(message.get("content") or "") for message in messages if message.get("role") == "system"
    )
    dialogue = [message for message in messages if message.get("role") != "system"]
    return [
        {"role": "system", "content": rlla_system_prompt(tools, instructions)},
        {"role": "user", "content": rlla_user_message(dialogue)},
    ]


def _category_rows(category: str, data: Path) -> Iterator[dict[str, Any]]:
    path = data / f"BFCL_v4_{category}.json"
    answer_path = data / "possible_answer" / path.name
    answers = {}
    if not category.endswith("irrelevance"):
        answers = {answer["id"]: answer for answer in _json_lines(answer_path)}
    for entry in _json_lines(path):
        where = f"{path}, {entry['id']}"
        question = _field(entry, "question", path)
        tools = _field(entry, "function", path, may_be_empty=True)  # live_irrelevance asks some with no tool at all
        try:
            prompt = _prompt(question[0], tools)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        ground_truth = _NO_CALL
        if not category.endswith("irrelevance"):
            if entry["id"] not in answers:
                raise ValueError(f"{where}: {answer_path} has no answer to it. Run: {_INSTALL}")
            ground_truth = _ground_truth(_field(answers[entry["id"]], "ground_truth", answer_path), tools, where)
        yield {
            "data_source": f"bfcl_{category}",
            "prompt": prompt,
            "ability": "tool_use",
            "reward_model": {"style": "rule", "ground_truth": ground_truth},
            "extra_info": {"id": str(entry["id"]), "split": "test"},
        }


def _check_category(category: str) -> None:
    if category in CATEGORIES:
        return
    nearest = difflib.get_close_matches(str(category), CATEGORIES, n=1, cutoff=0.5)
    reason = "gives no ground truth" if category == "live_relevance" else "is unknown"
    hint = f"; did you mean {nearest[0]!r}?" if nearest and category != "live_relevance" else "."
    raise ValueError(f"The BFCL category {category!r} {reason}{hint} Allowed: {', '.join(CATEGORIES)}.")


def bfcl_rows(categories: Iterable[str]) -> list[dict[str, Any]]:
    """Return the rows of these categories, in their order, in the layout that verl reads.

    A row is {"data_source": "bfcl_<category>", "prompt": [system, user], "ability": "tool_use", "reward_model":
    {"style": "rule", "ground_truth": str}, "extra_info": {"index": int, "id": str, "split": "test"}}. ground_truth is
    text in the rlla wire format. index counts through the whole list, because verl tells prompts apart by it; id is
    BFCL's own.

    Raises:
        ValueError: a category is not in CATEGORIES, or a data file is damaged.
        ModuleNotFoundError, FileNotFoundError: bfcl_eval, or a file of it, is not there.
    """
    wanted = [categories] if isinstance(categories, str) else list(categories)
    for category in wanted:
        _check_category(category)
    data = bfcl_folder() / "data"
    rows = [row for category in wanted for row in _category_rows(category, data)]
    return [{**row, "extra_info": {"index": index, **row["extra_info"]}} for index, row in enumerate(rows)]
