"""Definitions of scores as data: categories, groups of categories, and the overall score.

BFCL V3 (the leaderboard before its agentic categories), with acc(c) the share of correct answers in category c:

    Simple      = mean of acc(simple_python), acc(simple_java), acc(simple_javascript)
    Non-Live    = mean of Simple, acc(multiple), acc(parallel), acc(parallel_multiple), acc(irrelevance)
    Live        = share of correct answers among all questions of the six live categories together
    Multi-Turn  = mean of acc(base), acc(miss_func), acc(miss_param), acc(long_context)
    Overall     = mean of Non-Live, Live, Multi-Turn

In addition, Non-Live AST and Live AST leave out (ir)relevance, and Irrelevance is the mean of its two categories.

BFCL V4, the table of the installed package, scores categories in the same way and sums them differently:

    Memory      = mean of acc(memory_kv), acc(memory_vector), acc(memory_rec_sum)
    Web Search  = mean of acc(web_search_base), acc(web_search_no_snippet)
    Overall     = 10 % Non-Live AST + 10 % Live AST + 10 % Irrelevance + 30 % Multi-Turn
                + 40 % mean of Web Search, Memory

Its table counts a category that was not asked as 0 in Overall. So does this one for the three that cannot be asked
here (`NOT_HERE`), and for no other.

Differences from other tables:
- Early V3 also had categories whose calls were executed, then four of the nine parts of Non-Live. They were dropped,
  and no later package has their questions.
- V3 had 882 questions of live irrelevance and 18 of live relevance; the installed package has 884 and 16.

API-Bank: Overall is the share of correct answers among the questions of all three levels together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """A score that is the mean of others.

    Attributes:
        name: shown in reports.
        parts: groups, and categories by their data source.
        by_questions: whether parts are weighted by their number of questions instead of equally.
        percent: the weights of the parts, if they are fixed.
    """

    name: str
    parts: tuple[Group | str, ...]
    by_questions: bool = False
    percent: tuple[int, ...] | None = None

    def categories(self) -> Iterator[str]:
        """The data sources it needs, with repetitions."""
        for part in self.parts:
            if isinstance(part, Group):
                yield from part.categories()
            else:
                yield part

    def missing(self, questions: Mapping[str, int]) -> tuple[str, ...]:
        """The data sources it needs that have no questions, without those of `NOT_HERE`.

        Args:
            questions: number of questions by data source.
        """
        return tuple(source for source in self.categories() if not questions.get(source) and source not in NOT_HERE)

    def counted_as_zero(self, questions: Mapping[str, int]) -> tuple[str, ...]:
        """The data sources of `NOT_HERE` that it counts as 0; arguments as in `missing`."""
        return tuple(source for source in self.categories() if not questions.get(source) and source in NOT_HERE)

    def weights(self, questions: Mapping[str, int]) -> dict[str, float]:
        """The weight of each data source's share of correct answers in the score; the weights sum to 1, or to less by
        what data sources have that count as 0.

        Args:
            questions: number of questions by data source.

        Raises:
            ValueError: a data source it needs has no questions: a mean over the rest would be another score.
        """
        if missing := self.missing(questions):
            raise ValueError(f"the score {self.name!r} needs {', '.join(missing)}; ask these categories too")
        sizes = self.percent or [self._size(part, questions) if self.by_questions else 1 for part in self.parts]
        weights: dict[str, float] = {}
        for part, size in zip(self.parts, sizes, strict=True):
            inner = part.weights(questions) if isinstance(part, Group) else {part: 1.0}
            for source, weight in inner.items():
                if questions.get(source):
                    weights[source] = weights.get(source, 0.0) + weight * size / sum(sizes)
        return weights

    @staticmethod
    def _size(part: Group | str, questions: Mapping[str, int]) -> int:
        sources = part.categories() if isinstance(part, Group) else (part,)
        return sum(questions[source] for source in sources)


def _bfcl(*categories: str) -> tuple[str, ...]:
    return tuple(f"bfcl_{category}" for category in categories)


_SIMPLE = Group("Simple", _bfcl("simple_python", "simple_java", "simple_javascript"))
_MULTI_CALL = _bfcl("multiple", "parallel", "parallel_multiple")
_LIVE_AST = _bfcl("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")

NON_LIVE = Group("Non-Live", (_SIMPLE, *_MULTI_CALL, "bfcl_irrelevance"))
LIVE = Group("Live", (*_LIVE_AST, *_bfcl("live_irrelevance", "live_relevance")), by_questions=True)
MULTI_TURN = Group(
    "Multi-Turn", _bfcl(*(f"multi_turn_{kind}" for kind in ("base", "miss_func", "miss_param", "long_context")))
)

# Web search needs a paid service, and the vector memory the weights of a sentence encoder from a hub.
NOT_HERE = frozenset(_bfcl("memory_vector", "web_search_base", "web_search_no_snippet"))

NON_LIVE_AST = Group("Non-Live AST", (_SIMPLE, *_MULTI_CALL))
LIVE_AST = Group("Live AST", _LIVE_AST, by_questions=True)
IRRELEVANCE = Group("Irrelevance", _bfcl("irrelevance", "live_irrelevance"))
MEMORY = Group("Memory", _bfcl("memory_kv", "memory_vector", "memory_rec_sum"))
AGENTIC = Group("Agentic", (Group("Web Search", _bfcl("web_search_base", "web_search_no_snippet")), MEMORY))

BFCL_V3 = (
    Group("BFCL V3 Overall", (NON_LIVE, LIVE, MULTI_TURN)),
    NON_LIVE,
    NON_LIVE_AST,
    LIVE,
    LIVE_AST,
    MULTI_TURN,
    IRRELEVANCE,
    Group("Relevance", _bfcl("live_relevance")),
)
BFCL_V4 = Group(
    "BFCL V4 Overall", (NON_LIVE_AST, LIVE_AST, IRRELEVANCE, MULTI_TURN, AGENTIC), percent=(10, 10, 10, 30, 40)
)
API_BANK = (Group("API-Bank Overall", tuple(f"apibank_level{level}" for level in (1, 2, 3)), by_questions=True),)
GROUPS = (*BFCL_V3, BFCL_V4, *API_BANK)  # in the order of reports


def asked_groups(questions: Mapping[str, int]) -> Iterator[Group]:
    """The groups with at least one question; V4's with at least one of its own categories.

    Args:
        questions: number of questions by data source.
    """
    for group in GROUPS:
        own = AGENTIC if group is BFCL_V4 else group
        if any(questions.get(source) for source in own.categories()):
            yield group
