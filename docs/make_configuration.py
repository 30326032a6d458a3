"""Writes docs/configuration.md from the dataclasses of the `rest:` node and the presets, the single source of truth.

python docs/make_configuration.py
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from omegaconf import OmegaConf

from rest_verl.config.ramp import Ramp
from rest_verl.config.rest import RestConfig
from rest_verl.config.reward import RewardConfig, reward_preset
from rest_verl.weighting.schemes import SCHEME_SETTINGS, get_scheme, scheme_names

PAGE = Path(__file__).with_name("configuration.md")
INTRO = """\
# Configuration

<!-- made by docs/make_configuration.py: edit the dataclasses and presets that it reads, not this page -->

All settings of ResT are in one node of verl's config, `rest:`. A preset adds the node, and keys after the preset
change it: `+rest=paper rest.weights.think.slope=0.004`. An unknown key, a value out of range, or a setting that the
run's scheme does not read ends the run at start-up; the error names the nearest valid key or the allowed values.

This page is generated from [`config/rest.py`](../rest_verl/config/rest.py),
[`config/weights.py`](../rest_verl/config/weights.py), [`config/reward.py`](../rest_verl/config/reward.py) and
[`config/rollout.py`](../rest_verl/config/rollout.py).
"""
BOUNDS = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}
# Names that are checked against a registry, which users can extend.
NAMES = {
    "rest.scheme": ", ".join(f"`{name}`" for name in scheme_names()) + ", or [your own](extending.md)",
    "rest.format": "[wire formats](formats.md)",
    "rest.curriculum.kind": "see meaning",
    "rest.base_estimator": "verl's estimators except `remax` and optimal baselines",
}


def page() -> str:
    """The whole page."""
    sections = [INTRO, *_node("rest", RestConfig()), _ramps(), _presets()]
    return "\n".join(sections)


def _node(path: str, value: Any) -> Iterator[str]:
    """A section with the keys of a dataclass, then a section for each nested dataclass."""
    meanings = _attributes(type(value))
    rows, nested = [], []
    for field in fields(value):
        key, default = f"{path}.{field.name}", getattr(value, field.name)
        described = type(value).__pydantic_fields__[field.name]
        meaning = meanings.get(field.name, "")
        if is_dataclass(default) and not isinstance(default, Ramp):
            nested.append((key, default))
            rows.append([f"[`{key}`](#{_anchor(key)})", "keys", "", "", meaning])
        else:
            allowed = NAMES.get(key) or _allowed(described.annotation, described.metadata)
            rows.append([f"`{key}`", _type(described.annotation), f"`{_text(default)}`", allowed, meaning])
        if path == "rest":
            rows[-1].append(_readers(field.name))
    heads = ["key", "type", "default", "allowed", "meaning", *(["read by schemes"] if path == "rest" else [])]
    yield f"## {path}\n\n{_summary(type(value))}\n\n{_table(heads, rows)}"
    for key, default in nested:
        yield from _node(key, default)


def _attributes(kind: type) -> dict[str, str]:
    """Descriptions of attributes in a dataclass's docstring; one entry may cover several, `begin, end: ...`."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.getdoc(kind).partition("Attributes:\n")[2].splitlines():
        if entry := re.match(r" {4}(\w+(?:, \w+)*): (.*)", line):
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return {name: re.sub(r"\bNone\b", "`null`", meaning) for name, meaning in found.items()}


def _summary(kind: type) -> str:
    """A docstring up to its attributes, one line per paragraph."""
    text = inspect.getdoc(kind).partition("Attributes:\n")[0].strip()
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _type(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_type(part) for part in get_args(annotation))
    if get_origin(annotation) is Literal:
        return "str"
    if annotation is type(None):
        return "null"
    if annotation is Ramp:
        return "[ramp](#ramps)"
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


def _allowed(annotation: Any, metadata: list[Any]) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    bounds = [
        (sign, getattr(bound, name))
        for bound in metadata
        for name, sign in [BOUNDS.get(type(bound), ("", ""))]
        if name
    ]
    return ", ".join(f"{sign} {limit}" for sign, limit in bounds)


def _readers(name: str) -> str:
    if name not in SCHEME_SETTINGS:
        return "all"
    return ", ".join(f"`{scheme}`" for scheme in scheme_names() if name in get_scheme(scheme).reads)


def _text(value: Any) -> str:
    """A value as written on the command line, or the formula of a ramp."""
    if isinstance(value, Ramp):
        return _formula(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _formula(ramp: Ramp) -> str:
    """The formula of a ramp, with s for the step: min(1, 0.6 + 0.002 s), max(1, 2 - s/150)."""
    if ramp.limit is None:
        return f"{ramp.start:g}"
    slope, since = abs(ramp.slope), f"(s - {ramp.begin})" if ramp.begin else "s"
    moved = f"{slope:g} {since}" if len(f"{slope:g}") < 6 else f"{since}/{1 / slope:g}"
    bound, sign = ("max", "-") if ramp.slope < 0 else ("min", "+")
    return f"{bound}({ramp.limit:g}, {ramp.start:g} {sign} {moved})"


def _ramps() -> str:
    ramp = "`rest.weights.think={start: 0.6, slope: 0.002, limit: 1.0}`"
    rows = [
        [f"`{field.name}`", _type(described.annotation), _given(field.name), _allowed(None, described.metadata)]
        for field in fields(Ramp)
        for described in [Ramp.__pydantic_fields__[field.name]]
    ]
    return (
        f"## Ramps\n\n{_summary(Ramp)}\n\nSet all keys at once, {ramp}, or a single one, "
        "`rest.weights.think.slope=0.004`. In the tables, s is the step.\n\n"
        + _table(["key", "type", "default", "allowed"], rows)
    )


def _given(name: str) -> str:
    """The default of a key of a ramp."""
    default = getattr(Ramp(start=0.0), name)
    return "required" if name == "start" else f"`{_text(default)}`"


def _presets() -> str:
    root = files("rest_verl.hydra_configs")
    text = (
        "## Presets\n\nEach preset is a file in `hydra_configs/`. `+rest=...` selects the run, and the others are "
        "added to it; `+platform=cpu` is for machines without a GPU.\n"
    )
    for group in ("rest", "rest/reward", "rest/rollout", "platform"):
        rows = []
        for path in sorted(root.joinpath(group).iterdir(), key=lambda path: path.name):
            if path.name.endswith(".yaml"):
                name, content = path.name.removesuffix(".yaml"), path.read_text(encoding="utf-8")
                # the file of a platform explains each of its lines
                sets = "" if group == "platform" else "<br>".join(_sets(group, name, content))
                rows.append([f"`+{group}={name}`", _comment(content), sets])
        text += f"\n### +{group}\n\n{_table(['preset', 'description', 'sets'], rows)}"
    return text


def _comment(content: str) -> str:
    """The comment at the top of a preset."""
    lines = content.splitlines()
    top = lines[: next(index for index, line in enumerate(lines) if not line.startswith("#"))]
    return " ".join(line.removeprefix("#").strip() for line in top if "@package" not in line)


def _sets(group: str, name: str, content: str) -> Iterator[str]:
    """The base of a preset and the keys that it sets."""
    if group == "rest/reward":
        # these presets set every key: show only what differs from the defaults
        given, default = RewardConfig(**reward_preset(name)), RewardConfig()
        for field in fields(given):
            if getattr(given, field.name) != getattr(default, field.name):
                yield f"`rest.reward.{field.name}={_text(getattr(given, field.name))}`"
        return
    config = OmegaConf.create(content)
    config.pop("hydra", None)  # callbacks are not settings of a run
    for base in config.pop("defaults", []):
        if base != "_self_":
            yield "the defaults above, and" if base == "/rest_defaults@rest" else f"all of `{base}`, and"
    for key, value in _leaves("", OmegaConf.to_container(config)):
        yield f"`{key}={_text(value)}`"


def _leaves(path: str, node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        inner = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from _leaves(inner, value)
        else:
            yield inner, value


def _anchor(heading: str) -> str:
    """The anchor of a heading, the same on a code host and on the site."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table without empty columns."""
    kept = [column for column in range(len(heads)) if any(row[column] for row in rows)]
    lines = [[line[column] for column in kept] for line in (heads, ["---"] * len(heads), *rows)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
