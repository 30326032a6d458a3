"""BFCL's own checker and its questions, as the package `bfcl_eval` holds them.

The checker's module imports a table of models, and with it some 150 packages; an empty stand-in takes its place while
the checker is imported.
"""

import importlib
import json
import sys
from collections import namedtuple
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any
from unittest.mock import patch

from bfcl_calls import MISSING as MISSING
from bfcl_calls import SINGLE_TURN

from rest_verl.bfcl.data.files import bfcl_folder
from rest_verl.core.tool_calls import ToolCall

MODEL = "model"
AST_CATEGORIES = ("simple_java", "simple_javascript", *SINGLE_TURN)


@dataclass(frozen=True)
class Question:
    """One row: the tools' descriptions and what is accepted."""

    id: str
    functions: list[dict[str, Any]]
    possible_answer: list[dict[str, Any]]


@dataclass(frozen=True)
class Reference:
    """BFCL's checker, its readers of source text, and its names of the languages."""

    ast_checker: Any
    read_java: Any
    read_javascript: Any
    languages: Any

    def verdict(self, question: Question, calls: list[ToolCall], category: str) -> str:
        """valid, invalid or raised."""
        language = {"simple_java": "JAVA", "simple_javascript": "JAVASCRIPT"}.get(category, "PYTHON")
        output = [{call.name: call.arguments} for call in calls]
        try:
            result = self.ast_checker(
                question.functions, output, question.possible_answer, self.languages[language], category, MODEL
            )
        except Exception:  # whatever it is: the checker did not expect it
            return "raised"
        return "valid" if result["valid"] else "invalid"


@cache
def reference() -> Reference:
    models = ModuleType("bfcl_eval.constants.model_config")
    models.MODEL_CONFIG_MAPPING = {MODEL: namedtuple("Config", "underscore_to_dot")(False)}
    with patch.dict(sys.modules, {models.__name__: models}):
        checks = "bfcl_eval.eval_checker.ast_eval"
        return Reference(
            importlib.import_module(f"{checks}.ast_checker").ast_checker,
            importlib.import_module(f"{checks}.type_convertor.java_type_converter").java_type_converter,
            importlib.import_module(f"{checks}.type_convertor.js_type_converter").js_type_converter,
            importlib.import_module("bfcl_eval.constants.enums").Language,
        )


def questions(category: str) -> list[Question]:
    answers = {row["id"]: row["ground_truth"] for row in _json_lines(f"possible_answer/BFCL_v4_{category}.json")}
    return [
        Question(row["id"], row["function"], answers[row["id"]]) for row in _json_lines(f"BFCL_v4_{category}.json")
    ]


def _json_lines(name: str) -> list[dict[str, Any]]:
    text = (bfcl_folder() / "data" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line.strip()]
