"""Tool calls written as tags: a named call that holds parameters, each with a key and a value of plain text.

<function=NAME>
<parameter=KEY>VALUE</parameter>
</function>

A value is text and ends at the first of four tags: its own closing tag or, if that is missing, the next opening tag of
a parameter, the closing tag of the call or that of the block. All other tags in it are text, those of reasoning too.
No value can hold these four, because the text does not distinguish quoted tags. verl's parsers end values, calls and
blocks at the same closing tags, but read a parameter inside of an unclosed one as text of the first.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rest_verl.core.tool_calls import (
    BROKEN,
    NO_TOOLS,
    UNDECIDED,
    CallSpan,
    Kind,
    OpenCall,
    Span,
    ToolCall,
    ToolSchemas,
    Turn,
)
from rest_verl.formats.parse.json_calls import trimmed
from rest_verl.formats.parse.tags import is_legal_order
from rest_verl.formats.parse.typed import parameter_schema, value_of_text


@dataclass(frozen=True)
class Parameter:
    """One parameter as written.

    Attributes:
        tag: match of its opening tag, with a group `key`.
        value: bytes of its value.
        closed: whether its own closing tag ends the value.
    """

    tag: re.Match[bytes]
    value: bytes
    closed: bool


ValueOf = Callable[[Parameter, Any], Any]


@dataclass(frozen=True)
class Parameters:
    """How a format writes the parameters of a call.

    Attributes:
        opening: beginning of each opening tag.
        whole_opening: pattern of a well-formed opening tag, with the key as its group `key`.
        closing: the closing tag.
        ends: closing tags of a call and of a block.
    """

    opening: bytes
    whole_opening: bytes
    closing: bytes
    ends: tuple[bytes, ...]

    @cached_property
    def any_tag(self) -> re.Pattern[bytes]:
        """Finds the next tag that a value cannot hold; `key` is None unless it is a well-formed opening tag."""
        tags = [self.opening, self.closing, *self.ends]
        return re.compile(b"|".join([self.whole_opening, *map(re.escape, tags)]))

    def scan(self, text: bytes, start: int) -> tuple[Span | None, re.Match[bytes] | None]:
        """Span of all parameters of the call whose body begins at `start`, and the tag that ends the call; None
        without parameters, or if the text breaks off before that tag."""
        first: int | None = None
        last = start
        is_open = False
        stop: re.Match[bytes] | None = None
        for tag in self.any_tag.finditer(text, start):
            if tag.group() in self.ends:
                stop = tag
                break
            if tag.group() != self.closing:
                first = tag.start() if first is None else first
                is_open = True
            elif is_open:
                last = tag.end()
                is_open = False
        if first is None:
            return None, stop
        end = len(text) if stop is None else stop.start()
        return trimmed(text, first, end) if is_open else (first, last), stop

    def in_value(self, text: bytes, start: int) -> bool:
        """Whether a value is open at the end of the text of a call that begins at `start` (`Tags.in_value`)."""
        tags = deque(self.any_tag.finditer(text, start), maxlen=1)
        return bool(tags) and tags[0]["key"] is not None

    def split(self, text: bytes, start: int, end: int) -> list[Parameter] | None:
        """The parameters in the body of a call; None if an opening tag is malformed, or if there is text other than
        white space between the parameters."""
        found: list[Parameter] = []
        opened: re.Match[bytes] | None = None
        position = start
        for tag in self.any_tag.finditer(text, start, end):
            closes = tag.group() == self.closing
            if opened is not None:
                found.append(Parameter(opened, text[opened.end() : tag.start()], closes))
            elif closes or text[position : tag.start()].strip():
                return None
            if not closes and tag["key"] is None:
                return None
            opened = None if closes else tag
            position = tag.end()
        if opened is not None:
            found.append(Parameter(opened, text[position:end], False))
        elif text[position:end].strip():
            return None
        return found


@dataclass(frozen=True)
class XmlCalls:
    """Calls with their own tags inside of a block, such as `<function=NAME>` and `</function>`.

    Attributes:
        opening: text before the name.
        name_end: text after the name, which holds neither `<`, nor a line break, nor this text's first byte.
        closing: the closing tag of a call.
        block_closing: the closing tag of a block.
        parameters: how the parameters are written.
        value_of: function from a parameter and its schema (None if unknown) to its value; raises ValueError or
            RecursionError if it has none.
    """

    opening: bytes
    name_end: bytes
    closing: bytes
    block_closing: bytes
    parameters: Parameters
    value_of: ValueOf

    @property
    def markup(self) -> tuple[bytes, ...]:
        """The tags of calls and parameters (`WireFormat.markup`)."""
        return self.opening, self.closing, self.parameters.opening, self.parameters.closing

    @cached_property
    def header(self) -> re.Pattern[bytes]:
        """A call's opening tag, perhaps cut off: its `name`, and its `end`, which is empty if missing."""
        name = rb"(?P<name>[^<\n" + re.escape(self.name_end[:1]) + rb"]*)"
        return re.compile(re.escape(self.opening) + name + b"(?P<end>(?:" + re.escape(self.name_end) + b")?)")

    @cached_property
    def step(self) -> re.Pattern[bytes]:
        """Finds the next call of a block, or its end."""
        return re.compile(self.header.pattern + b"|" + re.escape(self.block_closing))

    def scan(self, text: bytes, start: int, turn: Turn) -> int:
        """Scanner of a block (`Tags.scan_calls`)."""
        position = start
        while found := self.step.search(text, position):
            if found.group() == self.block_closing:
                turn.markers.append(found.span())
                return found.end()
            position = self._take_call(text, found, turn)
        return len(text)

    def _take_call(self, text: bytes, header: re.Match[bytes], turn: Turn) -> int:
        """Take the call that begins with the header; return where it ends."""
        turn.markers.append((header.start(), header.start("name")))
        if header["end"]:
            turn.markers.append(header.span("end"))
        arguments, stop = self.parameters.scan(text, header.end())
        complete = stop is not None and stop.group() == self.closing
        end = len(text)
        if stop is not None:
            end = stop.end() if complete else stop.start()
        if complete:
            turn.markers.append((end - len(self.closing), end))
        turn.calls.append(CallSpan((header.start(), end), trimmed(text, *header.span("name")), arguments, complete))
        return end

    def read(self, text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> ToolCall | None:
        """Read a complete call (`WireFormat.read`), which must be well-formed with readable values."""
        return read_call(text, call, self._split(text, call), self.value_of, tools)

    def is_legal(self, order: re.Pattern[bytes], text: bytes, turn: Turn, kind: Kind) -> bool:
        """`is_legal_order`, and each call has a name and closed parameters with only white space between them."""
        return is_legal_order(order, text, turn, kind) and all(
            is_well_formed(self._split(text, call)) for call in turn.calls
        )

    def read_open(self, text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> OpenCall:
        """What is decided of an open call (`WireFormat.read_open`)."""
        header = self.header.match(text, call.whole[0])
        if header is None or not header["end"]:
            return OpenCall()
        return read_open_call(text, call, header.end(), self.parameters, self.value_of, tools)

    def _split(self, text: bytes, call: CallSpan) -> list[Parameter] | None:
        """The parameters of a complete call; None if its opening tag or its body is malformed."""
        header = self.header.match(text, call.whole[0])
        if header is None or not header["end"] or call.name is None:
            return None
        return self.parameters.split(text, header.end(), call.whole[1] - len(self.closing))


def function_calls(block_closing: bytes, value_of: ValueOf) -> XmlCalls:
    """Calls as `<function=NAME>` and `</function>` around `<parameter=KEY>VALUE</parameter>`."""
    closing = b"</function>"
    return XmlCalls(
        opening=b"<function=",
        name_end=b">",
        closing=closing,
        block_closing=block_closing,
        parameters=Parameters(
            opening=b"<parameter=",
            whole_opening=rb"<parameter=(?P<key>[^<>\n]+)>",
            closing=b"</parameter>",
            ends=(closing, block_closing),
        ),
        value_of=value_of,
    )


def is_well_formed(parameters: list[Parameter] | None) -> bool:
    """Whether a call could be split into parameters, and each of them is closed."""
    return parameters is not None and all(parameter.closed for parameter in parameters)


def read_call(
    text: bytes, call: CallSpan, parameters: list[Parameter] | None, value_of: ValueOf, tools: ToolSchemas
) -> ToolCall | None:
    """The call with a name and parameters; None if either is missing, a value cannot be read, or the bytes are not
    UTF-8. The last of repeated keys counts."""
    if call.name is None or parameters is None:
        return None
    try:
        name = text[slice(*call.name)].decode("utf-8")
        keys = [item.tag["key"].decode("utf-8").strip() for item in parameters]
        return ToolCall(
            name,
            {
                key: value_of(item, parameter_schema(tools, name, key))
                for key, item in zip(keys, parameters, strict=True)
            },
        )
    except (ValueError, RecursionError):
        return None


_BEGUN_TAG = re.compile(rb"\s*(?:<[^>]*)?\Z")


def read_open_call(
    text: bytes, call: CallSpan, start: int, parameters: Parameters, value_of: ValueOf, tools: ToolSchemas
) -> OpenCall:
    """What is decided of an open call, whose body begins at `start`. A value is decided at the tag that ends it."""
    tags = list(parameters.any_tag.finditer(text, start))
    # An opening tag that is not written to its end is none yet.
    if tags and tags[-1].group() == parameters.opening:
        text, tags = text[: tags[-1].start()], tags[:-1]
    opened = tags[-1] if tags and tags[-1]["key"] is not None else None
    written = parameters.split(text, start, len(text) if opened is None else opened.start())
    if opened is None and written is None and _BEGUN_TAG.match(text, tags[-1].end() if tags else start):
        written = parameters.split(text, start, tags[-1].end() if tags else start)
    read = read_call(text, call, written, value_of, tools)
    if read is None:
        return BROKEN
    if opened is None:
        return OpenCall(read.name, read.arguments)
    try:
        return OpenCall(read.name, read.arguments | {opened["key"].decode("utf-8").strip(): UNDECIDED})
    except UnicodeDecodeError:
        return BROKEN


def closed_text(parameter: Parameter) -> str:
    """The text of a closed value; ValueError if it is not UTF-8 or unclosed, which verl's parsers drop."""
    if not parameter.closed:
        raise ValueError("the parameter is not closed")
    return parameter.value.decode("utf-8")


def bare_value(parameter: Parameter, schema: Any) -> Any:
    """A closed value as bare text (`XmlCalls.value_of`), read by its schema; white space at its ends is kept."""
    return value_of_text(closed_text(parameter), schema)
