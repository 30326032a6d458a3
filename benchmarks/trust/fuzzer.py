"""Between libFuzzer and a target: the process that atheris takes over, and the text that a fuzzer's bytes stand for.

    python -m trust.fuzzer TARGET SECONDS [ARGUMENTS OF LIBFUZZER...]

Random bytes hardly ever spell a tag, and never two hundred of them. So the first byte says how the others become text:
as they are, each as a piece of a vocabulary of tags and fragments, or as pieces of which some are repeated until the
text is large.

Time is CPU time. libFuzzer's own limits are wall-clock time, in which a busy machine fuzzes next to nothing in an
hour, and a machine that was asleep has a time-out.
"""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

GROWN = 2**15  # bytes of a repeated part
REPEATED = 0xF8  # first bytes from here on repeat a part: few, since such texts take long
ENDLESS_SECONDS = 60.0  # of one input

# The tags of each wire format and other text typical of it.
TAGS: dict[str, tuple[str, ...]] = {
    "deepseek_v4": (
        *("<think>", "</think>", "<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>"),
        *('<｜DSML｜invoke name="', '">', "</｜DSML｜invoke>"),
        *('<｜DSML｜parameter name="', '" string="true">', '" string="false">', "</｜DSML｜parameter>"),
    ),
    "gemma4": (
        *("<|channel>thought", "<channel|>", "<|tool_call>", "<tool_call|>", "call:f{", '<|"|>', "<turn|>"),
        *("call:", 'a:<|"|>b<|"|>'),
    ),
    "glm": (
        *("<think>", "</think>", "<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>"),
        *("</arg_value>", "<|observation|>", "<|user|>"),
    ),
    "gpt-oss": (
        *("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>json"),
        *("assistant", "analysis", "commentary", "final", " to=functions.f", "to=", "functions.", " json"),
    ),
    "hermes": ("<think>", "</think>", "<tool_call>", "</tool_call>"),
    "kimi": (
        *("<think>", "</think>", "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
        *("<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>", "functions.", ":0"),
        "<|im_end|>",
    ),
    "llama3_json": ("<|python_tag|>", "<|eom_id|>", "<|eot_id|>", "; "),
    "minimax": (
        *("<think>", "</think>", "<minimax:tool_call>", "</minimax:tool_call>", '<invoke name="', '">', "</invoke>"),
        *('<parameter name="', "</parameter>"),
    ),
    "mistral": ("[THINK]", "[/THINK]", "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]", "[TOOL_CALLS]f[ARGS]{}"),
    "pythonic": (
        *("<think>", "</think>", "<|python_start|>", "<|python_end|>", "[f(", "f(a=1)", ", g.h(", "a="),
        *("True", "None", '"""', "'''", "lambda: ", "**", "f'{", "b'", "0x1", "1j", "...", "# "),
    ),
    "qwen3_coder": (
        *("<think>", "</think>", "<tool_call>", "</tool_call>", "<function=f>", "<function=", "</function>"),
        *("<parameter=a>", "<parameter=", "</parameter>"),
    ),
    "rlla": (
        *("<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>"),
        *("<think> t </think>\n<tool_call>\n", "\n</tool_call>", "\n<response>"),
    ),
    "seed": (
        *("<seed:think>", "</seed:think>", "<seed:tool_call>", "</seed:tool_call>", "<function=f>", "<function="),
        *("</function>", "<parameter=a>", "<parameter=", "</parameter>"),
    ),
}

# What any format may hold: JSON whole and broken, numbers that are none, bytes that are no UTF-8, a lone surrogate.
_FRAGMENTS: tuple[bytes, ...] = (
    *(b'{"name": "f", "arguments": {}}', b'{"name": "f", "parameters": {"a": 1}}'),
    *(b'{"name": "', b'", "arguments": {', b'", "parameters": {', b'"name": ', b'"arguments": ', b'"parameters": '),
    *(bytes([byte]) for byte in b"\"'\\{}[]():,=<>/| \n\r\t\0fa1-."),
    *(b'"a": ', b"true", b"null", b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"</", b"<|", b"|>"),
    *(b"\xff", b"\xc3", "ß".encode(), "🙂".encode(), b"\\ud800", b"\\u0000"),
    "\ud800".encode("utf-8", "surrogatepass"),
)


def pieces_of(wire_format: str, *more: str) -> tuple[bytes, ...]:
    """The vocabulary of a wire format, with what a target adds."""
    return (*(tag.encode() for tag in (*TAGS[wire_format], *more)), *_FRAGMENTS)


def assemble(data: bytes, pieces: Sequence[bytes]) -> bytes:
    """The text that a fuzzer's bytes stand for: raw, in pieces, or in pieces with a repeated part, by the first byte.
    A byte beyond the vocabulary stands for itself."""
    how, body = (data[0] if data else 0), data[1:]
    if how < REPEATED:
        return b"".join(_piece(byte, pieces) for byte in body) if how % 2 else body
    head, length = (*body[:2], 0, 0)[:2]
    parts = [_piece(byte, pieces) for byte in body[2:]]
    begin = head % 16
    end = begin + 1 + length % 16
    again = b"".join(parts[begin:end])
    return b"".join([*parts[:begin], again * (GROWN // max(len(again), 1)), *parts[end:]])


def _piece(byte: int, pieces: Sequence[bytes]) -> bytes:
    return pieces[byte] if byte < len(pieces) else bytes([byte])


def as_text(raw: bytes) -> str:
    """Bytes as a string, with lone surrogates where the bytes spell them or are no UTF-8."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "surrogateescape")


def dictionary(pieces: Sequence[bytes]) -> str:
    """A vocabulary as a dictionary file of libFuzzer."""
    return "".join('"' + "".join(f"\\x{byte:02X}" for byte in piece) + '"\n' for piece in pieces if len(piece) > 1)


def limited(check: Callable[[bytes], None], seconds: float) -> Callable[[bytes], None]:
    """A check that is interrupted where one input takes ENDLESS_SECONDS, and that asks libFuzzer to stop, and prints
    the time, once all inputs together took `seconds`; 0 is no limit."""
    begin = time.process_time()

    def checked(data: bytes) -> None:
        signal.setitimer(signal.ITIMER_PROF, ENDLESS_SECONDS)
        try:
            check(data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        spent = time.process_time() - begin
        if 0 < seconds <= spent:
            print(f"\nCPU seconds: {spent:.0f}", file=sys.stderr, flush=True)
            signal.raise_signal(signal.SIGUSR1)

    signal.signal(signal.SIGPROF, _interrupt)
    return checked


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"an input took more than {ENDLESS_SECONDS:.0f} s of CPU time")


def main() -> None:
    """Fuzz one target in this process, which does not return from it.

    rest_verl is instrumented, and so are the checks of what it returns: much of a parser is a regular expression,
    which has no lines to reach, but the number of spans and calls that come out of it shows in the checks.
    """
    import atheris

    name, limit, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["rest_verl", "trust"], exclude=["trust.fuzzer", "trust.fuzz_targets"]):
        from trust.fuzz_targets import TARGETS
    # libFuzzer's merge starts its own name and arguments again, by a shell.
    again = shlex.join([sys.executable, "-m", "trust.fuzzer", name, limit])
    atheris.Setup([again, *arguments], limited(TARGETS[name].check, float(limit)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
