"""Tokenizers for the tests, one that was really trained and one whose tokens are any bytes; the registered names."""

import gc
from collections.abc import Callable, Generator, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jaxtyping import install_import_hook
from tiers import choose_tier, register_tiers, soon
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

# Before anything imports them: every call in these modules is checked against its annotations, shapes included. Not in
# core.tool_calls, which has no arrays: parsers make its spans by the hundred thousand, and each check costs 20 us.
install_import_hook(
    [
        *(
            f"rest_verl.core.{module}"
            for module in (
                "credit",
                "curriculum",
                "entropy",
                "regions",
                "runs",
                "signal",
                "stops",
                "tokens",
                "weights",
            )
        ),
        "rest_verl.weighting",
    ],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",  # an int is a float
)

register_tiers()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run every test in full, as for a release: more than an hour")


def pytest_configure(config: pytest.Config) -> None:
    choose_tier(everything=config.getoption("--all"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all"):
        return
    later = [item for item in items if item.get_closest_marker("release")]
    if later:
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if item not in set(later)]


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported stays: looking through all of it takes a quarter of a second each time


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    if item.get_closest_marker("soon") is None:
        return (yield)
    with soon():
        return (yield)


END_OF_TURN, PADDING = "<|im_end|>", "<|endoftext|>"
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>")
CORPUS = (
    '{"name": "get_weather", "parameters": {"city": "Paris"}}\n{"name": "get_time", "arguments": {}}\n' * 3,
    " The weather in Zürich is fine; I call the tool get_weather and then answer the user. " * 3,
)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of about 400 tokens; the tags are added tokens but not special ones, as in Qwen's tokenizers."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[PADDING, END_OF_TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    bpe.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END_OF_TURN, pad_token=PADDING)


@pytest.fixture(scope="session")
def tokenizer_of() -> Callable[[Iterable[bytes]], Any]:
    """Function from distinct pieces to a byte-level tokenizer in which piece i is token i, and no text is special."""
    character = bytes_to_unicode()
    backend = Tokenizer(models.BPE())
    backend.decoder = decoders.ByteLevel()

    def build(pieces: Iterable[bytes]) -> Any:
        names = ("".join(character[byte] for byte in piece) for piece in pieces)
        vocabulary = {name: index for index, name in enumerate(names)}
        return SimpleNamespace(
            is_fast=True,
            backend_tokenizer=backend,
            added_tokens_decoder={},
            eos_token_id=None,
            pad_token_id=None,
            get_vocab=lambda: vocabulary,
        )

    return build


@pytest.fixture(scope="session")
def all_names() -> dict[str, list[str]]:
    """The eight names that verl has to find in every process, by kind."""
    return {
        "advantage estimator": ["rest"],
        "policy loss": ["rest"],
        "reward manager": ["rest_tool"],
        "agent loop": ["rest_tool_agent"],
        "trainer mode": ["rest_sync", "rest_colocate_async", "rest_separate_async"],
        "platform": ["cpu"],
    }


@pytest.fixture
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test registers is gone after it: messages of other tests list all names."""
    from own_names import keep_registries  # here, for it imports modules that are checked

    keep_registries(monkeypatch)


@pytest.fixture(scope="module")
def one_thread():
    """Sums in one order; and threads that wait for each other on busy cores cost more than models of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
