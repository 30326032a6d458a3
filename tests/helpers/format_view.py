"""What the tests of a wire format look at, as text."""

from dataclasses import dataclass
from itertools import pairwise

from rest_verl.core.tool_calls import Kind, Span, ToolCall, WireFormat

CALLS, ANSWER, BOTH, NEITHER = Kind(True, False), Kind(False, True), Kind(True, True), Kind(False, False)
Text = str | bytes


def as_bytes(text: Text) -> bytes:
    """Bytes of a turn; lone surrogates as they come."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class FormatView:
    """A format, asked about turns given as text."""

    wire_format: WireFormat

    def parts(self, text: Text) -> tuple[list, list, list, list]:
        """What the parse found: markers, think, response, and (name, arguments, complete) of each call."""
        raw = as_bytes(text)
        turn = self.wire_format.parse(raw)

        def read(spans: list[Span | None]) -> list:
            return [span and raw[slice(*span)].decode("utf-8", "surrogatepass") for span in spans]

        calls = [(*read([call.name, call.arguments]), call.complete) for call in turn.calls]
        return read(turn.markers), read(turn.think), read(turn.response), calls

    def legal(self, text: Text, kind: Kind) -> bool:
        """Whether a turn is legal for a kind."""
        raw = as_bytes(text)
        return self.wire_format.is_legal(raw, self.wire_format.parse(raw), kind)

    def kinds_of(self, text: Text) -> list[Kind]:
        """The kinds for which a turn is legal."""
        return [kind for kind in (CALLS, ANSWER, BOTH, NEITHER) if self.legal(text, kind)]

    def read_calls(self, text: Text) -> list[ToolCall | None]:
        """The calls of a turn by value."""
        raw = as_bytes(text)
        return self.wire_format.read_calls(raw, self.wire_format.parse(raw))

    def assert_apart_and_readable(self, text: bytes) -> None:
        """No two spans of a turn share a byte, none is empty or outside, and each call is None or has a value."""
        turn = self.wire_format.parse(text)
        spans = sorted(turn.markers + turn.think + turn.response + [call.whole for call in turn.calls])
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
        for call in self.wire_format.read_calls(text, turn):
            assert call is None or (type(call.name) is str and type(call.arguments) is dict)
