"""What conversations leave for those that follow them: the memory of BFCL's memory categories.

A question may begin with the state that another conversation left with the same seed (`Question.after`). Asking and
scoring both look it up here, so a replay begins as the run did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_verl.eval.answers import Answer
from rest_verl.eval.conversation import Conversation
from rest_verl.eval.questions import Question

Key = tuple[str, str, int]  # source, id, seed


class States:
    """The states that conversations left, by conversation."""

    def __init__(self, questions: Sequence[Question]):
        self._followed = {question.after for question in questions if question.after is not None}
        self._left: dict[Key, Any] = {}

    def is_followed(self, question: Question) -> bool:
        """Whether another question begins with what this one leaves."""
        return question.key in self._followed

    def is_ready(self, question: Question, seed: int) -> bool:
        """Whether the conversation that it follows has ended."""
        return question.after is None or (*question.after, seed) in self._left

    def begin(self, question: Question, seed: int) -> Question:
        """The question with the state that it begins with.

        Raises:
            KeyError: the conversation that it follows has not ended.
        """
        return question if question.after is None else question.beginning_with(self._left[(*question.after, seed)])

    def end(self, question: Question, seed: int, conversation: Conversation, answers: Sequence[Answer]) -> None:
        """Note the state at the end of a conversation.

        As on the leaderboard, one that the endpoint refused to continue leaves the state that it began with.
        """
        if self.is_followed(question):
            refused = bool(answers) and answers[-1].error is not None
            self._left[(*question.key, seed)] = conversation.state(refused)

    def of_seed(self, seed: int) -> dict[str, Any]:
        """The states that conversations with this seed left, by id."""
        return {id: state for (_, id, of), state in self._left.items() if of == seed}
