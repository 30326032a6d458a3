"""Check data files before a run: every row, and every pair of files."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rest_verl.data.check_report import FileReport, Kind, Lengths, PairReport, Problem, Report
from rest_verl.data.check_schema import columns_to_read, schema_differences, schema_faults
from rest_verl.data.files import parquet_fault
from rest_verl.data.prompt import Prompt, Refused
from rest_verl.formats.tools import read_tools
from rest_verl.reward.scorers import get_scorer
from rest_verl.rollout.environment import get_environment
from rest_verl.rollout.simulated_user import user_of

_BATCH = 256  # rows in memory at a time: files may be larger than the memory, and the progress bar has to move


class _UnusableError(Exception):
    """Why no row of a file can be checked; the message does not name the file."""


def check_files(
    paths: Sequence[Path],
    count_tokens: Callable[[Sequence[Prompt]], list[int | Refused]] | None = None,
    max_prompt_length: int | None = None,
    watch: Callable[[Path, int, int], None] = lambda path, done, rows: None,
) -> Report:
    """Check parquet files in verl's layout. Problems are reported, not raised.

    Args:
        paths: the files.
        count_tokens: function from prompts to their lengths in tokens; None to check no lengths.
        max_prompt_length: longer prompts, in tokens, are a warning.
        watch: called with (path, rows done, all rows) while a file is read.
    """
    files, unusable = [], []
    for path in paths:
        try:
            files.append(_check_file(path, count_tokens, max_prompt_length, watch))
        except _UnusableError as error:
            unusable.append(Problem(Kind.FILE, str(path), str(error)))
    pairs = [_check_pair(*pair) for pair in itertools.combinations(files, 2)]
    return Report(tuple(files), tuple(pairs), tuple(unusable))


def _check_file(
    path: Path,
    count_tokens: Callable[[Sequence[Prompt]], list[int | Refused]] | None,
    max_prompt_length: int | None,
    watch: Callable[[Path, int, int], None],
) -> FileReport:
    sources: Counter[str] = Counter()
    problems: list[Problem] = []
    seen: dict[bytes, tuple[int, bytes]] = {}
    lengths: list[int] = []
    done = without_tools = 0
    with _open(path) as file:
        _require_rows(file)
        for rows in _batches(file):
            prompts = {}
            for number, row in enumerate(rows, start=done):
                sources[str(row["data_source"])] += 1
                without_tools += (row.get("extra_info") or {}).get("tools") is None
                found = list(_row_problems(row))
                if Kind.PROMPT not in dict(found):
                    prompts[number] = row["prompt"]
                    found += _repetitions(number, row, seen)
                problems += [Problem(kind, str(path), reason, number) for kind, reason in found]
            if count_tokens is not None:
                counted = dict(zip(prompts, count_tokens(list(prompts.values())), strict=True))
                lengths += [length for length in counted.values() if isinstance(length, int)]
                problems += _length_problems(path, counted, max_prompt_length)
            done += len(rows)
            watch(path, done, file.metadata.num_rows)
        first_rows = {prompt: number for prompt, (number, _) in seen.items()}
        return FileReport(
            path, done, sources, without_tools, tuple(problems), _summary(lengths), file.schema_arrow, first_rows
        )


def _open(path: Path) -> pq.ParquetFile:
    try:
        fault = parquet_fault(path)
    except OSError as error:
        raise _UnusableError(f"cannot be read ({error.strerror})") from None
    if fault is not None:
        raise _UnusableError(fault)
    return pq.ParquetFile(path)


def _require_rows(file: pq.ParquetFile) -> None:
    """Raise _UnusableError if the file has another layout or no rows."""
    if faults := schema_faults(file.schema_arrow):
        raise _UnusableError(f"{'; '.join(faults)} (found: {', '.join(file.schema_arrow.names)})")
    if not file.metadata.num_rows:
        raise _UnusableError("the file has no rows")


def _batches(file: pq.ParquetFile) -> Iterator[list[dict[str, Any]]]:
    try:
        for batch in file.iter_batches(_BATCH, columns=columns_to_read(file.schema_arrow)):
            batch.validate(full=True)  # otherwise invalid text raises a UnicodeDecodeError without a reason
            yield batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise _UnusableError(f"damaged inside ({error}); recreate it") from None


def _row_problems(row: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    prompt = row["prompt"]
    if not prompt:
        yield Kind.PROMPT, "the prompt is empty"
    elif not all(message and message["role"] and message["content"] is not None for message in prompt):
        yield Kind.PROMPT, "a message of the prompt has no role or no content"
    environment, kwargs = _environment(row)
    if environment is None:
        fault = _truth_fault(row["data_source"], _truth(row))
    else:
        fault = _environment_fault(row["data_source"], environment, kwargs)
    if fault is not None:
        yield Kind.TRUTH, fault
    try:
        read_tools((row.get("extra_info") or {}).get("tools"))
    except ValueError as error:
        yield Kind.TOOLS, str(error)
    try:
        user_of(row.get("extra_info") or {})
    except ValueError as error:
        yield Kind.USER, str(error)
    if (row.get("extra_info") or {}).get("index") is None:
        yield Kind.INDEX, "no extra_info.index, by which verl's traces distinguish prompts"


def _truth(row: Mapping[str, Any]) -> str | None:
    return (row["reward_model"] or {}).get("ground_truth")


def _truth_fault(data_source: str | None, truth: str | None) -> str | None:
    if data_source is None:
        return "no data_source, which names the scorer"
    if truth is None:
        return "no ground truth"
    try:
        get_scorer(data_source).read(truth)
    except ValueError as error:
        return str(error)
    return None


def _environment(row: Mapping[str, Any]) -> tuple[Any, Any]:
    """The name of a row's environment and its arguments; None if it has none."""
    extra_info = row.get("extra_info") or {}
    return extra_info.get("environment"), extra_info.get("environment_kwargs")


def _environment_fault(data_source: str | None, name: Any, kwargs: Any) -> str | None:
    """Why the agent loop cannot create the row's environment, which scores it; None if it can."""
    if data_source is None:
        return "no data_source, which metrics are grouped by"
    try:
        make = get_environment(name)
        given = json.loads(kwargs)
    except (TypeError, ValueError, RecursionError) as error:
        return f"the environment cannot be created: {error}"
    if not isinstance(given, dict):
        return f"environment_kwargs must be a JSON object as text, got {kwargs!r:.120}"
    try:
        make(**given)
    except Exception as error:  # an environment is user code and can fail in any way
        return f"the environment {name!r} refuses its environment_kwargs: {error or type(error).__name__}"
    return None


def _repetitions(
    number: int, row: Mapping[str, Any], seen: dict[bytes, tuple[int, bytes]]
) -> Iterator[tuple[Kind, str]]:
    """Compare a row with the first one with the same prompt; a first one is added to `seen`."""
    messages = [[message["role"], message["content"]] for message in row["prompt"]]
    extra_info = row.get("extra_info") or {}
    told = (*_environment(row), extra_info.get("user"), extra_info.get("user_kwargs"))
    truth = _digest([_truth(row), told])
    first, first_truth = seen.setdefault(_digest(messages), (number, truth))
    if first != number and truth == first_truth:
        yield Kind.DUPLICATE, f"same prompt and ground truth as row {first}"
    elif first != number and not any(told):  # with an environment or a user, later turns may differ
        yield Kind.CONTRADICTION, f"same prompt as row {first}, but another ground truth"


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).digest()


def _length_problems(path: Path, counted: Mapping[int, int | Refused], limit: int | None) -> Iterator[Problem]:
    for number, length in counted.items():
        if isinstance(length, Refused):
            yield Problem(Kind.TEMPLATE, str(path), f"the chat template refuses the prompt: {length.reason}", number)
        elif limit is not None and length > limit:
            yield Problem(Kind.LONG, str(path), f"a prompt of {length} tokens, more than {limit}", number)


def _summary(lengths: list[int]) -> Lengths | None:
    if not lengths:
        return None
    ordered = sorted(lengths)
    median, p95 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95))
    return Lengths(ordered[0], median, p95, ordered[-1])


def _check_pair(first: FileReport, second: FileReport) -> PairReport:
    shared = [(row, second.prompts[prompt]) for prompt, row in first.prompts.items() if prompt in second.prompts]
    names = f"{first.path} and {second.path}"
    problems = [
        Problem(Kind.OVERLAP, names, f"row {one} and row {other} have the same prompt") for one, other in shared
    ]
    for difference in schema_differences(first.schema, second.schema):
        problems.append(Problem(Kind.SCHEMAS, names, f"verl cannot concatenate them: {difference}"))
    return PairReport(first.path, second.path, len(shared), tuple(problems))
