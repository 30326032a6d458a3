"""Check the user's own code that a run loads only in its workers: functions, classes, tools and agent loops.

Files are loaded as verl loads them, so their top-level code runs, as it would in the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from rest_verl.commands.check.files import nearest_file
from rest_verl.common.errors import raised
from rest_verl.common.names import unknown_name
from rest_verl.plugin.registries import REGISTRIES

_ROLLOUT = "actor_rollout_ref.rollout"
_LOOP = f"{_ROLLOUT}.agent.default_agent_loop"

# An object of a file: (key of its path, key of its name).
_OBJECTS = (
    ("reward.custom_reward_function.path", "reward.custom_reward_function.name"),
    ("data.custom_cls.path", "data.custom_cls.name"),
    (f"{_ROLLOUT}.agent.custom_async_server.path", f"{_ROLLOUT}.agent.custom_async_server.name"),
    ("trainer.v1.sampler.custom_sampler.path", "trainer.v1.sampler.custom_sampler.name"),
)
_MANAGER = ("reward.reward_manager.module.path", "reward.reward_manager.name")
# verl moves these to reward.custom_reward_function.
_LEGACY = ("custom_reward_function.path", "custom_reward_function.name")
# Classes by their full name.
_CLASSES = (f"{_ROLLOUT}.agent.agent_loop_manager_class", "trainer.checkpoint_callback_class")
_MODULES = ("actor_rollout_ref.model.external_lib", f"{_ROLLOUT}.checkpoint_engine.custom_backend_module")


def code_problems(config: DictConfig) -> Iterator[str]:
    """One line for each setting whose file, module, name or class a run could not load."""
    manager = [_MANAGER] if OmegaConf.select(config, "reward.reward_manager.source") == "importlib" else []
    for path_key, name_key in (*_OBJECTS, _LEGACY, *manager):
        yield from _object(config, path_key, name_key)
    for key in _CLASSES:
        yield from _class(key, OmegaConf.select(config, key))
    for key in _MODULES:
        given = OmegaConf.select(config, key)
        for module in given if isinstance(given, ListConfig) else [given]:
            if module is not None:
                yield from _told(f"{key}={module}", partial(import_module, str(module)))
    yield from _tools(config)
    yield from _agent_loops(config)


def _object(config: DictConfig, path_key: str, name_key: str) -> Iterator[str]:
    from verl.utils.import_utils import load_module

    path, name = OmegaConf.select(config, path_key), OmegaConf.select(config, name_key)
    if not path:
        return
    where = f"{path_key}={path}"
    if "://" not in path and (fault := _file_fault(path)):
        yield f"{where}: {fault}"
        return
    if name is None:
        yield f"{name_key} has no value: set the name of an object in {path}"
        return
    try:
        module = load_module(path)
    except (Exception, SystemExit) as error:
        yield f"{where}: {_cause(error)}"
        return
    if not hasattr(module, name):
        public = [other for other, value in vars(module).items() if callable(value) and not other.startswith("_")]
        yield f"{name_key}: {unknown_name('name', str(name), public)} (in {path})"
    elif not callable(getattr(module, name)):
        yield f"{name_key}={name}: {path} has it, but it is {getattr(module, name)!r:.60}: name a function or a class"


def _file_fault(path: str) -> str | None:
    """Why a file cannot be opened; verl takes it from the working folder, and does not expand ~."""
    if Path(path).is_file():
        return None
    if path.startswith("~"):
        return "verl does not expand ~ here: give the whole path"
    if Path(path).is_dir():
        return "a folder: give a file in it"
    near = nearest_file(Path(path))
    return f"no such file: did you mean {near}?" if near else "no such file: give a path from the working folder"


def _class(key: str, name: Any) -> Iterator[str]:
    if name is None:
        return
    module, _, attribute = str(name).rpartition(".")
    if not module:
        yield f"{key}={name}: expected the whole name of a class, such as my_module.MyClass"
        return

    def load() -> str | None:
        found = import_module(module)
        if hasattr(found, attribute):
            return None
        classes = [other for other, value in vars(found).items() if isinstance(value, type)]
        return unknown_name("class", attribute, classes)

    yield from _told(f"{key}={name}", load)


def _told(where: str, load: Callable[[], Any]) -> Iterator[str]:
    """What a load raises, or says where it returns text."""
    try:
        said = load()
    except (Exception, SystemExit) as error:
        yield f"{where}: {_cause(error)}"
    else:
        if isinstance(said, str):
            yield f"{where}: {said}"


def _cause(error: BaseException) -> str:
    """What was raised, unwrapped from verl's own error."""
    wrapped = isinstance(error, RuntimeError) and error.__cause__ is not None
    return raised(error.__cause__ if wrapped and error.__cause__ is not None else error)


def _tools(config: DictConfig) -> Iterator[str]:
    """The files of tools. Native tools are not made: they may connect to a service."""
    keys = [f"{_ROLLOUT}.multi_turn.{kind}_path" for kind in ("tool_config", "function_tool")]
    for key in keys:
        path = OmegaConf.select(config, key)
        if not path:
            continue
        resolved = _resolved(path)
        if resolved is None:
            yield f"{key}={path}: {_file_fault(path)}"
        elif key == keys[0]:
            yield from _tool_config(f"{key}={path}", resolved)
        else:
            yield from _told(f"{key}={path}", partial(_function_tools, resolved))


def _function_tools(path: str) -> str | None:
    from verl.tools.function_tool import load_function_tools_from_path

    if load_function_tools_from_path(path):
        return None
    return "has no tool: decorate a function with verl.tools.function_tool.function_tool"


def _resolved(path: str) -> str | None:
    from verl.experimental.agent_loop.utils import resolve_config_path

    try:
        found = resolve_config_path(path)
    except FileNotFoundError:
        return None
    return found if Path(found).is_file() else None


def _entries(where: str, path: str, key: str | None) -> tuple[list[Any], str | None]:
    """The list in a YAML file, below a key or at its top; or why there is none."""
    try:
        loaded: Any = OmegaConf.load(path)
    except Exception as error:  # YAML has errors of its own
        return [], f"{where}: not YAML: {raised(error)}"
    listed = loaded.get(key) if key and isinstance(loaded, DictConfig) else None if key else loaded
    if not isinstance(listed, ListConfig):
        return [], f"{where}: expected {f'a key {key!r} with a list' if key else 'a list'}, one entry for each"
    return list(listed), None


def _tool_config(where: str, path: str) -> Iterator[str]:
    from verl.tools.schemas import OpenAIFunctionToolSchema

    tools, fault = _entries(where, path, "tools")
    if fault:
        yield fault
    for number, tool in enumerate(tools):
        here = f"{where}: tools[{number}]"
        name, kind = OmegaConf.select(tool, "class_name"), OmegaConf.select(tool, "config.type")
        if name is None or kind is None:
            yield f"{here}: expected class_name, and config with type: native"
            continue
        if kind != "native":
            yield f"{here}.config.type={kind}: verl has only native tools: set native, or use an environment"
        yield from _class(f"{here}.class_name", name)
        if (schema := tool.get("tool_schema")) is not None:
            given = OmegaConf.to_container(schema, resolve=True)
            yield from _told(f"{here}.tool_schema", partial(OpenAIFunctionToolSchema.model_validate, given))


def _agent_loops(config: DictConfig) -> Iterator[str]:
    key = f"{_ROLLOUT}.agent.agent_loop_config_path"
    path, chosen = OmegaConf.select(config, key), OmegaConf.select(config, _LOOP)
    if not path:
        return
    where, resolved = f"{key}={path}", _resolved(path)
    if resolved is None:
        yield f"{where}: {_file_fault(path)}"
        return
    loops, fault = _entries(where, resolved, None)
    if fault:
        yield fault
        return
    names = {str(OmegaConf.select(loop, "name")) for loop in loops if isinstance(loop, DictConfig)}
    for number, loop in enumerate(loops):
        if not isinstance(loop, DictConfig) or "name" not in loop or "_target_" not in loop:
            yield f"{where}: [{number}]: expected name and _target_"
        else:
            yield from _class(f"{where}: [{number}]._target_", loop["_target_"])
    allowed = names | set(REGISTRIES["agent loop"].entries())
    if chosen is not None and chosen not in allowed:
        yield f"{_LOOP}: {unknown_name('agent loop', str(chosen), allowed)}"
