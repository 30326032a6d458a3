"""The Jinja2 template of the system message: the one next to this module, or the user's own file."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

BUILT_IN = Path(__file__).with_name("prompt.jinja")
SHORT = Path(__file__).with_name("short_prompt.jinja")  # for models that already write the wire format


@dataclass(frozen=True)
class Tool:
    """A tool as passed to the template.

    Attributes:
        name: its name in calls.
        description: what it does; may be empty.
        parameters: its unchanged JSON schema; may be empty.
    """

    name: str
    description: str
    parameters: Any


def _fail(message: str) -> NoReturn:
    raise ValueError(message)


def _json(value: Any) -> str:
    # Text is not escaped (no \u, no HTML escapes), as a model would write it.
    return json.dumps(value, ensure_ascii=False)


class PromptTemplate:
    """A compiled template file.

    Attributes:
        path: the file.
        sha256: digest of the file.
    """

    def __init__(self, path: str | Path = BUILT_IN):
        """
        Args:
            path: a template; the comment at the top of the built-in one documents its variables.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: it is not UTF-8, or not a template; the message names file and line.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{path}: no such file. Give the path of a Jinja2 template; start from {BUILT_IN}")
        source = self.path.read_bytes()
        self.sha256 = hashlib.sha256(source).hexdigest()
        # The sandbox keeps an untrusted template from accessing this process.
        environment = SandboxedEnvironment(
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=_RefusingLoader()
        )
        environment.filters["json"] = _json
        environment.globals["fail"] = _fail
        try:
            code = environment.compile(source.decode("utf-8"), name=self.path.name, filename=str(self.path))
        except UnicodeDecodeError as error:
            line = source.count(b"\n", 0, error.start) + 1
            raise ValueError(f"{path}, line {line}: not UTF-8 ({error.reason}); save the template as UTF-8") from error
        except jinja2.TemplateSyntaxError as error:
            raise ValueError(f"{path}, line {error.lineno}: not a Jinja2 template: {error.message}") from error
        self._template = environment.template_class.from_code(environment, code, environment.globals)

    def render(self, tools: Sequence[Tool], instructions: str, format: str) -> str:
        """Return the system message, stripped of white space.

        Raises:
            ValueError: the template fails; the message names file and line.
        """
        return self._render(self._template.root_render_func, tools, instructions, format)

    def render_tools(self, tools: Sequence[Tool], format: str) -> str:
        """Return only the list of tools, stripped of white space: the template's block `tools`.

        Raises:
            ValueError: the template has no such block, or fails; the message names the file.
        """
        if "tools" not in self._template.blocks:
            raise ValueError(
                f"{self.path}: no block named 'tools', which lists tools that are added in a later turn. Put the list "
                f"between {{% block tools %}} and {{% endblock %}}, as in {BUILT_IN}"
            )
        return self._render(self._template.blocks["tools"], tools, "", format)

    def _render(
        self, part: Callable[[Context], Iterator[str]], tools: Sequence[Tool], instructions: str, format: str
    ) -> str:
        try:
            given = {"tools": tools, "instructions": instructions, "format": format}
            return "".join(part(self._template.new_context(given))).strip()
        except Exception as error:  # a template is user code and can fail in any way
            raise ValueError(f"{self.path}, line {self._line_of(error)}: {error or type(error).__name__}") from error

    def _line_of(self, error: Exception) -> int | None:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in reversed(frames) if frame.filename == str(self.path)]
        # `lines` are those of the Python code that Jinja compiled the template to
        return self._template.get_corresponding_lineno(lines[0]) if lines and lines[0] else None


class _RefusingLoader(jinja2.BaseLoader):
    """Refuses `include`, `import` and `extends`: a manifest names one template by its digest."""

    def get_source(self, environment: jinja2.Environment, template: str) -> NoReturn:
        raise jinja2.TemplateNotFound(template, f"{template!r} cannot be loaded: a template is one file; copy it in")
