"""The `rlla` prompt: one system message that lists the tools, one user message that holds the dialogue so far.

The layout (headings, numbered tools, tags) is the one that models trained on ToolRL's rows have seen, so that rows
made here mix with those; the wording is our own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_OPENING = "You talk with a user over one or more turns. You answer in text, and you may call tools on the way."

_GUIDE = """**Steps for Each Turn**
1. **Think:** Work out what the user wants now and what the dialogue already tells you.
2. **Call tools if they help:** Pick the tools that serve the request and fill in their parameters.
3. **Respond if it is time to:** Tell the user the outcome, or say what is missing or cannot be done.

**Output Format**
```plaintext
<think> What you consider before you act </think>
<tool_call>
{"name": "First tool", "parameters": {"First parameter": "its value", "Second parameter": "its value"}}
{"name": "Second tool", "parameters": {"First parameter": "its value"}}
</tool_call>
<response> What you tell the user </response>
```

**Important Notes**
1. Every turn opens with `<think>`. After it comes a `<tool_call>` block, a `<response>`, or one and then the other.
2. A `<tool_call>` block holds one JSON object per line, as many as the request needs. Each has the keys "name" and \
"parameters"; a tool that takes no parameters gets an empty object.
3. The user message holds the dialogue so far: the user's words in `<user>`, your own earlier turns, and what the \
tools returned in `<obs>`."""

_TURN_TAGS = ("<think>", "<tool_call>", "<response>")


def _tool_entry(number: int, tool: Any) -> str:
    if isinstance(tool, Mapping) and isinstance(tool.get("function"), Mapping):
        tool = tool["function"]  # verl's and OpenAI's schemas wrap the same three fields
    if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str):
        raise ValueError(f"tool {number} of the prompt must be a dict with a string 'name', got {tool!r:.200}")
    # The whole schema is shown, not only its properties: which parameters are required decides what a right call is.
    # Text stays as it is (no \u escapes), since that is how a model would write it back.
    parameters = json.dumps(tool.get("parameters") or {}, ensure_ascii=False)
    description = tool.get("description") or ""
    return f"{number}. Name: {tool['name']}\nDescription: {description}\nParameters: {parameters}"


def rlla_system_prompt(tools: Sequence[Mapping[str, Any]], instructions: str = "") -> str:
    """Return the system message that offers `tools` and fixes the output format.

    Args:
        tools: each {"name": str, "description": str, "parameters": JSON-able dict}; the last two may be missing.
            {"type": "function", "function": {...}} is unwrapped.
        instructions: what the task itself says to the system (a role to play, a language to use); its own section.

    Raises:
        ValueError: a tool is not a dict with a string name.
    """
    listed = "\n".join(_tool_entry(number, tool) for number, tool in enumerate(tools, start=1))
    sections = [_OPENING, f"**Available Tools**\n{listed or 'None: answer in text.'}", _GUIDE]
    if instructions.strip():
        sections.append(f"**Task Instructions**\n{instructions.strip()}")
    return "\n\n".join(sections)


def _turn(number: int, message: Any) -> tuple[str, str]:
    """Return (what separates the message from the one before it, its text in tags)."""
    if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
        raise ValueError(
            f"message {number} of the dialogue must be a dict with 'content' as text, got {message!r:.200}"
        )
    role, content = message.get("role"), message["content"].strip()
    if role == "user":
        return "\n\n", f"<user> {content} </user>"
    if role == "tool":
        return "\n", f"<obs> {content} </obs>"  # sits directly under the call that it answers
    if role == "assistant":
        tagged = any(tag in content for tag in _TURN_TAGS)
        return "\n\n", content if tagged else f"<response> {content} </response>"
    raise ValueError(
        f"message {number} of the dialogue has the role {role!r}; user, assistant and tool are known. "
        "The words of a system message go to rlla_system_prompt(tools, instructions=...)."
    )


def rlla_user_message(dialogue: Iterable[Mapping[str, str]]) -> str:
    """Pack the dialogue so far, [{"role": user | assistant | tool, "content": str}, ...], into one user message.

    An assistant message that already carries rlla tags is kept as it is; plain text becomes a `<response>`.

    Raises:
        ValueError: the dialogue is empty, or a message has another role or no text.
    """
    turns = [_turn(number, message) for number, message in enumerate(dialogue, start=1)]
    if not turns:
        raise ValueError("the dialogue is empty: a prompt needs at least one message, usually the user's request")
    first, *rest = turns
    return f"**Dialogue Records History**\n{first[1]}" + "".join(gap + text for gap, text in rest)
