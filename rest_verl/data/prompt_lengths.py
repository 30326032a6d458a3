"""How many tokens a prompt has under a tokenizer's chat template, counted as verl counts them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

Prompt = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Refused:
    """A prompt that the chat template does not render, and why."""

    reason: str


def templated_tokenizer(folder: Path) -> Any:
    """Load the tokenizer in a folder, which has to have a chat template.

    Args:
        folder: where the tokenizer is, as in verl's `actor_rollout_ref.model.path`.

    Raises:
        ValueError: there is no tokenizer, or it has no chat template; the message says which.
    """
    from transformers import AutoTokenizer

    if not folder.is_dir():  # else transformers takes the path for a name on the model hub and says so
        raise ValueError(f"{folder} is no folder; give one that holds a model's tokenizer")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"no tokenizer can be read from {folder} ({_first_line(error)})") from None
    try:
        tokenizer.get_chat_template()
    except ValueError:
        raise ValueError(
            f"the tokenizer in {folder} has no chat template, so verl could not render a prompt with it either; "
            "take that of an instruction-tuned model"
        ) from None
    return tokenizer


def length_counter(folder: Path) -> Callable[[Sequence[Prompt]], list[int | Refused]]:
    """Return the function that counts the tokens of prompts (lists of messages), opening of the answer included.

    Args:
        folder: where the tokenizer is.

    Raises:
        ValueError: as `templated_tokenizer` does.
    """
    tokenizer = templated_tokenizer(folder)

    def count(prompts: Sequence[Prompt]) -> list[int | Refused]:
        rendered = [_render(tokenizer, prompt) for prompt in prompts]
        texts = [text for text in rendered if isinstance(text, str)]
        # rendered one by one and tokenised at once: one refusal spoils no other prompt, and batches are faster
        ids = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
        lengths = iter(map(len, ids))
        return [text if isinstance(text, Refused) else next(lengths) for text in rendered]

    return count


def _render(tokenizer: Any, prompt: Prompt) -> str | Refused:
    try:
        return tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, tokenize=False)
    except (TemplateError, TypeError, ValueError) as error:  # a template is a program that came with the model
        return Refused(f"{type(error).__name__}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
