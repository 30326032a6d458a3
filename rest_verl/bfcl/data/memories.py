"""Memories for training rows: what a chain of conversations left in the memory, by the conversation's id.

They are written by a model that `rest-verl eval` evaluated (`memories.json` of its folder), or by a script, which
needs no model. The script keeps what a perfect writer would:

- kv: every message of the user's that BFCL quotes as the source of a question, word for word, in the archival memory,
  in entries named by the topic of the conversation. The core memory stays empty. So the policy has to find the right
  entry by its key. (All that was said does not fit.)
- rec_sum: the quotes themselves, conversation by conversation. The prompt shows them, so the policy has to read.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from rest_verl.bfcl.data.memory import MEMORY_CATEGORIES, MemoryTask, memory_tasks, plain_words, quoted_parts
from rest_verl.bfcl.memory.store import Memory, MemoryStore, check_memory, empty_memory
from rest_verl.data.files import write_whole

ENTRY = 2000  # most characters of an entry of the archival memory


def scripted_memories(category: str) -> dict[str, Memory]:
    """The memory that the script leaves after each conversation of a category, by id.

    Raises:
        ValueError: the category is unknown, or BFCL's memory refuses what the script writes.
        ModuleNotFoundError, FileNotFoundError: bfcl_eval, rank_bm25 or one of the files is missing.
    """
    tasks = memory_tasks(category)
    sources: dict[str, list[str]] = defaultdict(list)
    for task in tasks:
        if task.source and task.source not in sources[task.scenario]:
            sources[task.scenario].append(task.source)
    memories: dict[str, Memory] = {}
    for task in tasks:
        if task.accepted is None:
            start = memories[task.after] if task.after else empty_memory(task.backend)
            store = MemoryStore(task.backend, start)
            for name, arguments in _calls(task, sources[task.scenario]):
                result = store.call(name, arguments)
                if "error" in json.loads(result):
                    raise ValueError(f"{task.id}: the memory refuses what the script writes: {result}")
            memories[task.id] = store.memory()
    return memories


def write_memories(path: Path, memories: Mapping[str, Memory]) -> None:
    """Write memories by the id of the conversation that left them."""
    write_whole(path, json.dumps(memories, indent=1) + "\n")


def read_memories(path: Path) -> dict[str, Memory]:
    """Read what `write_memories` wrote.

    Raises:
        ValueError: it is not such a file.
        FileNotFoundError: there is none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the memories.json of a run of rest-verl eval bfcl")
    try:
        memories = json.loads(path.read_bytes())
        for id, memory in memories.items():
            category = id.partition("_prereq_")[0]
            if category not in MEMORY_CATEGORIES:
                raise ValueError(f"{id} is no conversation of {', '.join(MEMORY_CATEGORIES)}")
            check_memory(category.removeprefix("memory_"), memory)
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not the memories of a run: {error}") from None
    return memories


def _calls(task: MemoryTask, sources: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The calls that write down what questions with these sources ask for, if the conversation tells it."""
    said = [str(message["content"]) for turn in task.said for message in turn]
    words = [plain_words(text) for text in said]
    if task.backend == "rec_sum":
        told = [source for source in sources if any(_is_quoted(text, source) for text in words)]
        if told:
            yield "memory_append", {"text": "".join(f"- {text.strip()}\n" for text in told)}
        return
    kept = [text for text, plain in zip(said, words, strict=True) if any(_is_quoted(plain, one) for one in sources)]
    topic = re.sub(r"[^a-z0-9]+", "_", task.topic.lower()).strip("_")
    for number, text in enumerate(_packed(kept), start=1):
        yield "archival_memory_add", {"key": f"{topic}_{number}", "value": text}


def _is_quoted(words: str, source: str) -> bool:
    return any(part in words for part in quoted_parts(source))


def _packed(texts: list[str]) -> Iterator[str]:
    """The texts in order, joined and cut so that each piece has at most ENTRY characters."""
    piece = ""
    for text in (whole[start : start + ENTRY] for whole in texts for start in range(0, len(whole), ENTRY)):
        if piece and len(piece) + 1 + len(text) > ENTRY:
            yield piece
            piece = text
        else:
            piece = f"{piece}\n{text}" if piece else text
    if piece:
        yield piece
