"""Checks of a run's data files against its settings, before Ray starts: the format that prompts ask for, and
environments that rows name.

Either mistake trains for hours without a word: no call is ever read, or none is ever answered. A file that cannot be
read here is left to verl, which fetches some and names the others. verl is not imported here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig, OmegaConf

from rest_verl.config.rest import ConfigError
from rest_verl.core.tool_calls import Kind, WireFormat
from rest_verl.formats import format_names, get_format
from rest_verl.rollout.environment import get_environment

_FILES = ("data.train_files", "data.val_files")
_AGENT = "actor_rollout_ref.rollout.agent.default_agent_loop"
_MANAGER = "reward.reward_manager.name"
_BATCH = 1024  # rows in memory at a time

# verl's own loops, which know no environments; any other name is the user's own loop.
_WITHOUT_ENVIRONMENTS = ("single_turn_agent", "tool_agent")

_VERLS_MANAGERS = ("naive", "dapo", "gdpo", "rate_limited", "remote")

# The example of a turn that a system message shows: ToolRL's rows have it, and all that `rest-verl data` makes.
_EXAMPLE = re.compile(r"\*\*Output Format\*\*\s*```[^\n]*\n(.*?)```", re.DOTALL)


def check_data(config: DictConfig, format: str) -> None:
    """Check the data files of a run against its settings.

    Args:
        config: whole config of the run.
        format: name of the run's wire format.

    Raises:
        ConfigError: the prompts of a file ask for another format, or its rows name an environment that nothing in the
            run would make, answer for or score.
    """
    if OmegaConf.select(config, "data.custom_cls.path") is not None:
        return  # only that class knows what its files hold
    for key in _FILES:
        for path in data_files(config, key):
            if "://" not in str(path) and path.is_file():
                where = f"{key}={path}"
                if _reads_calls(config):
                    _check_manifest(where, path, format)
                _check_rows(where, path, config, format)


def data_files(config: DictConfig, key: str) -> list[Path]:
    """The files of a setting, which verl takes as one path or as a list."""
    given = OmegaConf.select(config, key)
    paths = [given] if isinstance(given, str) else given or []
    return [Path(str(path)).expanduser() for path in paths]


def asked_formats(prompt: Sequence[Mapping[str, Any]], formats: Mapping[str, WireFormat]) -> list[str]:
    """Names of the formats in which the example of a prompt's system message is a legal turn with calls.

    Args:
        prompt: messages {"role", "content"}.
        formats: the formats to try, by name.

    Returns:
        an empty list if there is no example, or one in no format that is tried.
    """
    example = _example(prompt)
    return [] if example is None else [name for name, wire_format in formats.items() if _is_turn(example, wire_format)]


def _example(prompt: Any) -> bytes | None:
    messages = prompt if isinstance(prompt, list) else []
    systems = (m for m in messages if isinstance(m, Mapping) and m.get("role") == "system")
    found = _EXAMPLE.search(str(next(systems, {}).get("content")))
    return found and found[1].strip().encode()


def _is_turn(example: bytes, wire_format: WireFormat) -> bool:
    turn = wire_format.parse(example)
    calls = wire_format.read_calls(example, turn)
    # glm takes any text for a name, such as a whole call in JSON
    named = all(call is not None and not call.name.lstrip().startswith("{") for call in calls)
    kinds = (Kind(calls=True, answer=answer) for answer in (False, True))
    return bool(calls) and named and any(wire_format.is_legal(example, turn, kind) for kind in kinds)


def _reads_calls(config: DictConfig) -> bool:
    """Whether anything in the run depends on the wire format."""
    return (
        OmegaConf.select(config, "algorithm.adv_estimator") == "rest"
        or OmegaConf.select(config, _MANAGER) == "rest_tool"
        or OmegaConf.select(config, _AGENT) == "rest_tool_agent"
    )


def _check_manifest(where: str, path: Path, format: str) -> None:
    """`rest-verl data` writes a manifest next to its files, which names their format."""
    try:
        manifest = json.loads((path.parent / "manifest.json").read_bytes())
        asked, command, ours = manifest["options"]["format"], manifest["command"], path.name in manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # another program's, or none: the rows will tell
    if ours and asked != format:
        again = f", or make it again with `rest-verl data {command} --format {format}`" if command == "bfcl" else ""
        raise ConfigError(
            f"{where}: its prompts ask for {asked} (manifest.json), but rest.format={format} would read none of the "
            f"calls: set rest.format={asked}{again}"
        )


def _check_rows(where: str, path: Path, config: DictConfig, format: str) -> None:
    formats = {name: get_format(name) for name in format_names()}
    reads_calls, default_loop = _reads_calls(config), OmegaConf.select(config, _AGENT)
    fitting: set[bytes | None] = {None}
    made: set[str] = set()
    for number, row in enumerate(_rows(path, OmegaConf.select(config, "data.prompt_key") or "prompt")):
        example = _example(row.prompt) if reads_calls else None
        if example not in fitting:
            fitting.add(example)
            asked = asked_formats(row.prompt, formats)
            if asked and format not in asked:
                raise ConfigError(
                    f"{where}: the prompt of row {number} asks for {' or '.join(asked)}, but rest.format={format} "
                    f"would read none of the calls: set rest.format={asked[0]}, or make prompts for {format}"
                )
        if (name := row.environment) is not None:
            loop = row.agent or default_loop
            if loop in _WITHOUT_ENVIRONMENTS:
                raise ConfigError(
                    f"{where}: row {number} names the environment {name!r}, but the agent loop {loop} makes none, so "
                    "no call would be answered and nothing scored: add +rest/rollout=multi_turn"
                )
            if loop == "rest_tool_agent" and name not in made:
                made.add(name)
                _check_environment(f"{where}, row {number}", name, config)


def _check_environment(where: str, name: str, config: DictConfig) -> None:
    """Check that an environment of the agent loop `rest_tool_agent` exists and that something reads its score."""
    try:
        get_environment(name)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}. Add the module that registers yours to rest.modules") from None
    manager = OmegaConf.select(config, _MANAGER)
    if manager in _VERLS_MANAGERS and OmegaConf.select(config, "reward.custom_reward_function.path") is None:
        raise ConfigError(
            f"{where}: the environment {name!r} scores the row, but {_MANAGER}={manager} does not read its score: set "
            f"{_MANAGER}=rest_tool"
        )


class _Row(NamedTuple):
    prompt: Any
    environment: str | None
    agent: str | None


def _rows(path: Path, prompt_key: str) -> Iterator[_Row]:
    """The rows of a parquet file as far as they are checked; none of a file that is damaged or of another kind."""
    wanted = (prompt_key, "extra_info.environment", "agent_name")
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH, columns=wanted):
                for row in batch.to_pylist():
                    extra_info = row.get("extra_info") or {}
                    yield _Row(row.get(prompt_key), extra_info.get("environment"), row.get("agent_name"))
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return
