"""Check whether BFCL accepts a value for an argument.

The rules are BFCL's own, including odd ones, since the verdict must be the same:
- Texts are compared in lower case, without blanks and the characters , . / - _ * ^, and with one kind of quote. This
  applies to a text, to the texts in a list and to the values of a dict, but not to deeper levels.
- "" among the accepted values means that the argument is optional, but "" is accepted as a value too, and so is [].
- If the accepted values have another type than the schema, they may stand for a variable: a value of either type is
  right if it equals one of them exactly.
- Below the top level, values are compared as in Python: 1, 1.0 and True are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_verl.bfcl.verdict.source import Undecidable

_IGNORED = str.maketrans("", "", " ,./-_*^")


def is_accepted(value: Any, accepted: Sequence[Any], outer: type[Any], element: type | None) -> bool:
    """Whether a value is right.

    Args:
        value: the value, already read if it was source text.
        accepted: the accepted values.
        outer, element: the types in the schema; element is None if it gives no type of elements.

    Raises:
        Undecidable: an accepted value does not have the form that its type requires.
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
        # read all before comparing any: an invalid one counts wherever it is
        return _standard_items(value) in [_standard_items(_items(answer)) for answer in accepted]
    if outer is str:
        return _standard(value) in [_standard(answer) for answer in accepted if type(answer) is str]
    return value in accepted


def _type_of_answers(accepted: Sequence[Any]) -> type | None:
    """The type of the first accepted value that is not "", which BFCL takes for the type of all of them."""
    return next((type(answer) for answer in accepted if answer != ""), None)


def _elements_fit(value: list[Any], answer: Any, element: type) -> bool:
    """Whether all elements have the type of the schema or of the answer's elements; True if that is not a list."""
    if type(answer) is not list:
        return True
    fitting = (element, _type_of_answers(answer))
    return all(type(item) in fitting for item in value)


def _standard(value: Any) -> Any:
    """A text in the form in which texts are compared; any other value unchanged."""
    return value.translate(_IGNORED).lower().replace("'", '"') if type(value) is str else value


def _standard_items(items: Sequence[Any]) -> list[Any]:
    return [_standard(item) for item in items]


def _items(answer: Any) -> Sequence[Any]:
    """The items of an accepted value; those of a text are its characters."""
    if not isinstance(answer, (list, str)):
        raise Undecidable("an accepted value is not a list")
    return answer


def _dict_accepted(value: Any, accepted: Sequence[Any]) -> bool:
    for answer in accepted:
        if answer == "":
            continue
        if not isinstance(value, dict) or not isinstance(answer, dict):
            raise Undecidable("a dict is compared with something else")
        known = all(
            key in answer and _standard(item) in _standard_items(_items(answer[key])) for key, item in value.items()
        )
        # always evaluated: an invalid answer counts even if a value is wrong
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
