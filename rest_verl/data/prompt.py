"""Prompts: a system message that lists the tools and fixes the wire format, and the dialogue so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import TemplateError

from rest_verl.common.tokenizers import load_tokenizer
from rest_verl.data.template import PromptTemplate, Tool
from rest_verl.formats import get_format

Message = dict[str, str]

_ROLES = ("user", "assistant", "tool")
_TURN_TAGS = ("<think>", "<tool_call>", "<response>")


@cache
def built_in_template() -> PromptTemplate:
    """The default template."""
    return PromptTemplate()


def _tools(tools: Iterable[Any]) -> list[Tool]:
    return [_tool(number, tool) for number, tool in enumerate(tools, start=1)]


def _tool(number: int, tool: Any) -> Tool:
    if isinstance(tool, Mapping) and isinstance(tool.get("function"), Mapping):
        tool = tool["function"]  # verl's and OpenAI's schemas wrap the same three fields
    if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str):
        raise ValueError(f"tool {number} of the prompt must be a dict with a string 'name', got {tool!r:.200}")
    # The whole schema, not only its properties: a right call depends on which parameters are required.
    return Tool(tool["name"], tool.get("description") or "", tool.get("parameters") or {})


def system_message(
    tools: Iterable[Mapping[str, Any]],
    instructions: str = "",
    format: str = "rlla",
    template: PromptTemplate | None = None,
) -> str:
    """Return the system message that offers `tools` and specifies the output format.

    Args:
        tools: each {"name": str, "description": str, "parameters": JSON-able dict}; the last two may be missing.
            {"type": "function", "function": {...}} is unwrapped.
        instructions: the task's own system instructions (a role, a language), shown in a section of their own.
        format: name of a wire format, as in `rest.format`.
        template: renders the message; None for the built-in one.

    Raises:
        ValueError: a tool is not a dict with a string name, the format is unknown, or the template fails.
    """
    get_format(format)
    return (template or built_in_template()).render(_tools(tools), instructions.strip(), format)


def make_prompt(
    tools: Sequence[Mapping[str, Any]],
    dialogue: Sequence[Mapping[str, Any]],
    format: str = "rlla",
    template: PromptTemplate | None = None,
) -> list[Message]:
    """Return the messages of a row: one system message, then the dialogue.

    The dialogue's own system messages become the instructions. For `rlla` the rest is packed into one user message;
    for the other formats messages stay separate, since the models' chat templates support them.

    Args:
        tools, format, template: as for `system_message`.
        dialogue: [{"role": system | user | assistant | tool, "content": str}, ...].

    Raises:
        ValueError: as `system_message`; or there are only system messages, or a message is unusable.
    """
    system = [message for message in dialogue if _role(message) == "system"]
    rest = [message for message in dialogue if _role(message) != "system"]
    instructions = "\n\n".join(str(message.get("content") or "") for message in system)
    messages = [{"role": "system", "content": system_message(tools, instructions, format, template)}]
    checked = _check_dialogue(rest)
    if format == "rlla":
        return [*messages, {"role": "user", "content": rlla_user_message(checked)}]
    return messages + checked


def later_messages(dialogue: Iterable[Mapping[str, Any]], format: str = "rlla") -> list[Message]:
    """Return the messages of a later user turn, in the form that `make_prompt` gives those of the first.

    For `rlla` they are one user message with tags; for the other formats they stay unchanged.

    Raises:
        ValueError: as `rlla_user_message`.
    """
    checked = _check_dialogue(dialogue)
    if format != "rlla":
        return checked
    return [{"role": "user", "content": _join_tagged(checked)}]


def tool_list(tools: Iterable[Mapping[str, Any]], format: str = "rlla", template: PromptTemplate | None = None) -> str:
    """Return only the list of tools, as in the system message; arguments and errors as `system_message`.

    Raises:
        ValueError: the template has no block `tools`.
    """
    return (template or built_in_template()).render_tools(_tools(tools), format)


def rlla_user_message(dialogue: Iterable[Mapping[str, str]]) -> str:
    """Pack the dialogue so far, [{"role": user | assistant | tool, "content": str}, ...], into one user message.

    An assistant message that already has rlla tags is kept unchanged; plain text becomes a `<response>`.

    Raises:
        ValueError: the dialogue is empty, or a message has another role or no text.
    """
    return f"**Dialogue Records History**\n{_join_tagged(_check_dialogue(dialogue))}"


def _join_tagged(dialogue: Iterable[Message]) -> str:
    first, *rest = [_rlla_turn(message) for message in dialogue]
    return first[1] + "".join(gap + text for gap, text in rest)


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, Mapping) else None


def _check_dialogue(dialogue: Iterable[Any]) -> list[Message]:
    messages = []
    for number, message in enumerate(dialogue, start=1):
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
            raise ValueError(
                f"message {number} of the dialogue must be a dict with 'content' as text, got {message!r:.200}"
            )
        if message.get("role") not in _ROLES:
            raise ValueError(
                f"message {number} of the dialogue has the role {message.get('role')!r}; "
                f"allowed: {', '.join(_ROLES)}. Give the text of a system message to system_message as "
                "instructions, or the whole dialogue to make_prompt."
            )
        messages.append({"role": message["role"], "content": message["content"]})
    if not messages:
        raise ValueError("the dialogue is empty: a prompt needs at least one message, usually the user's request")
    return messages


def _rlla_turn(message: Message) -> tuple[str, str]:
    """Return (separator from the message before, tagged text)."""
    content = message["content"].strip()
    if message["role"] == "user":
        return "\n\n", f"<user> {content} </user>"
    if message["role"] == "tool":
        return "\n", f"<obs> {content} </obs>"  # directly below the call that it answers
    tagged = any(tag in content for tag in _TURN_TAGS)
    return "\n\n", content if tagged else f"<response> {content} </response>"


Prompt = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Refused:
    """Why the chat template refuses to render a prompt."""

    reason: str


def templated_tokenizer(name: str) -> Any:
    """Load a tokenizer that has a chat template.

    Args:
        name: a model's folder or hub id, as in verl's `actor_rollout_ref.model.path`.

    Raises:
        ValueError: there is no tokenizer, or it has no chat template.
    """
    tokenizer = load_tokenizer(name)
    try:
        tokenizer.get_chat_template()
    except ValueError:
        raise ValueError(
            f"the tokenizer of {name} has no chat template, which verl needs to render prompts; use that of an "
            "instruction-tuned model"
        ) from None
    return tokenizer


def length_counter(name: str) -> Callable[[Sequence[Prompt]], list[int | Refused]]:
    """Return a function that counts the tokens of prompts (lists of messages), including the generation prompt.

    Args:
        name: as for `templated_tokenizer`.

    Raises:
        ValueError: as `templated_tokenizer`.
    """
    tokenizer = templated_tokenizer(name)

    def count(prompts: Sequence[Prompt]) -> list[int | Refused]:
        rendered = [_render(tokenizer, prompt) for prompt in prompts]
        texts = [text for text in rendered if isinstance(text, str)]
        # rendered one by one, so that a refusal affects no other prompt, but tokenised in a batch, which is faster
        ids = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
        lengths = iter(map(len, ids))
        return [text if isinstance(text, Refused) else next(lengths) for text in rendered]

    return count


def _render(tokenizer: Any, prompt: Prompt) -> str | Refused:
    try:
        return tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, tokenize=False)
    except (TemplateError, TypeError, ValueError) as error:  # a chat template is code from the model
        return Refused(f"{type(error).__name__}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
