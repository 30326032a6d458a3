"""Try a tokenizer and a wire format on an example: are a call's name and arguments tagged as such?

The example is the one in the built-in prompt: the first fenced block of its output format, a complete legal turn with
two calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rest_verl.commands.doctor.findings import Finding, Level

GROUP = "tokenizer"
_FENCE = "```"


def example_turn(format: str) -> str:
    """A complete legal turn with two calls; ValueError if the format is unknown or the prompt does not explain it."""
    from rest_verl.data.prompt import system_message

    shown = system_message([], format=format).partition("**Output Format**")[2]
    return shown.split(_FENCE)[1].partition("\n")[2].removesuffix("\n")


def byte_tokenizer() -> Any:
    """A tokenizer whose tokens are the 256 bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def check_tokenizer(name: str | None, format: str) -> Iterator[Finding]:
    """Load a tokenizer (a byte tokenizer without a name) and tag the example turn of a format with it."""
    from rest_verl.data.prompt import templated_tokenizer

    try:
        tokenizer = byte_tokenizer() if name is None else templated_tokenizer(name)
        found = tag_example(tokenizer, format)
    except (ValueError, TypeError) as error:
        remedy = "use the tokenizer of the model that the run trains, or another rest.format"
        yield Finding(GROUP, format, " ".join(str(error).split()), Level.FAILURE, remedy)
        return
    source = "one byte per token; --tokenizer MODEL tries a model's" if name is None else name
    yield Finding(GROUP, format, f"{found}: {source}")


def tag_example(tokenizer: Any, format: str) -> str:
    """Tag the example turn of a format and summarise the result.

    Raises:
        ValueError: the calls cannot be recovered from the tokens, or a token of a name or of arguments is in another
            region.
        TypeError: the bytes of the tokenizer's tokens are unknown.
    """
    import numpy as np
    import torch

    from rest_verl.core.regions import Region, RegionTagger
    from rest_verl.core.tokens import TokenBytes
    from rest_verl.formats import get_format

    wire_format = get_format(format)
    text = example_turn(format).encode()
    written = wire_format.read_calls(text, wire_format.parse(text))
    ids = np.asarray(tokenizer(text.decode(), add_special_tokens=False)["input_ids"])
    back, starts = TokenBytes.from_tokenizer(tokenizer).gather(ids)
    turn = wire_format.parse(back.tobytes())
    if wire_format.read_calls(back.tobytes(), turn) != written:
        raise ValueError(f"the example's calls cannot be recovered from its tokens: {back.tobytes()!r:.300}")
    tagger = RegionTagger(tokenizer, get_format(format))
    regions = tagger(torch.from_numpy(ids)[None], torch.ones(1, len(ids), dtype=torch.bool))[0].numpy()
    for call in turn.calls:
        # the calls read above are complete, so they have both
        for region, span in ((Region.NAME, call.name), (Region.ARGS, call.arguments)):
            assert span is not None
            middle = (span[0] + span[1]) // 2
            token = np.searchsorted(starts, middle, side="right") - 1
            if regions[token] < region:
                raise ValueError(f"the {region.name} of a call is tagged as {Region(regions[token]).name}")
    counts = {region.name: int((regions == region).sum()) for region in Region}
    return f"{len(turn.calls)} calls in {len(ids)} tokens, {counts['NAME']} of NAME and {counts['ARGS']} of ARGS"
