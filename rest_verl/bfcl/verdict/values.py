"""Whether a value is among those that BFCL accepts for an argument.

The rules are BFCL's own, odd ones included, since the verdict has to be the same:
- Texts are compared in lower case, without blanks and the characters , . / - _ * ^, and with one kind of quote. That
  holds for a text, for the texts of a list, and for the values of a dict; not for what is nested deeper.
- "" among the accepted values says that the argument may be left out, but is accepted as a value, too, and so is [].
- Where the accepted values are of another type than the schema's, they stand for a variable or the like: a value of
  either type is right if it equals one of them exactly.
- Below the top, values are compared as Python compares them: 1, 1.0 and True are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_verl.bfcl.verdict.source import Undecidable

_IGNORED = str.maketrans("", "", " ,./-_*^")


def is_accepted(value: Any, accepted: Sequence[Any], outer: type[Any], element: type | None) -> bool:
    """Whether a value is right.

    Args:
        value: the value, read out of its source text where it is one.
        accepted: the accepted values.
        outer, element: the types that the schema asks for; element is None where it says nothing of elements.

    Raises:
        Undecidable: an accepted value is not of the form that its type asks for.
    """
    usual = _type_of_answers(accepted)
    if type(value) is not outer:
        return usual is not None and type(value) is usual and value in accepted
    if element is not None and not any(_elements_fit(value, answer, element) for answer in accepted):
        return False
    if usual is not None and usual is not outer:
        return value in accepted
    if outer is dict:
        return _dict_accepted(value, accepted)
    if outer is list and element is dict:
        return _dicts_accepted(value, accepted)
    if outer is list:
        # all are read before one is compared: an odd one counts wherever it stands
        return _standard_items(value) in [_standard_items(_items(answer)) for answer in accepted]
    if outer is str:
        return _standard(value) in [_standard(answer) for answer in accepted if type(answer) is str]
    return value in accepted


def _type_of_answers(accepted: Sequence[Any]) -> type | None:
    """The type of the first accepted value that is not "", by which BFCL takes all of them to be of that type."""
    return next((type(answer) for answer in accepted if answer != ""), None)


def _elements_fit(value: list[Any], answer: Any, element: type) -> bool:
    """Whether each element has the type of the schema, or of the answer's; an answer that is no list asks nothing."""
    if type(answer) is not list:
        return True
    fitting = (element, _type_of_answers(answer))
    return all(type(item) in fitting for item in value)


def _standard(value: Any) -> Any:
    """A text as it is compared; any other value as it is."""
    return value.translate(_IGNORED).lower().replace("'", '"') if type(value) is str else value


def _standard_items(items: Sequence[Any]) -> list[Any]:
    return [_standard(item) for item in items]


def _items(answer: Any) -> Sequence[Any]:
    """What an accepted value holds; a text holds its characters."""
    if not isinstance(answer, (list, str)):
        raise Undecidable("an accepted value that is no list")
    return answer


def _dict_accepted(value: Any, accepted: Sequence[Any]) -> bool:
    for answer in accepted:
        if answer == "":
            continue
        if not isinstance(value, dict) or not isinstance(answer, dict):
            raise Undecidable("something else than a dict where one is compared")
        known = all(
            key in answer and _standard(item) in _standard_items(_items(answer[key])) for key, item in value.items()
        )
        # looked at in any case: what is odd here counts even where a value is wrong
        complete = all(key in value or "" in _items(options) for key, options in answer.items())
        if known and complete:
            return True
    return False


def _dicts_accepted(value: list[Any], accepted: Sequence[Any]) -> bool:
    for answer in map(_items, accepted):
        if len(value) == len(answer) and all(
            _dict_accepted(item, [option]) for item, option in zip(value, answer, strict=True)
        ):
            return True
    return False
