"""Rows in verl's layout, and what `rest-verl data check` says of files with them."""

import pyarrow as pa
import typer
from typer.testing import CliRunner

from rest_verl.data.check_command import check

CALL = '<think> a </think>\n<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>'
ANSWER = "<think> a </think>\n<response> Noon. </response>"
SCHEMA = pa.schema(
    {
        "data_source": pa.string(),
        "prompt": pa.list_(pa.struct({"role": pa.string(), "content": pa.string()})),
        "ability": pa.string(),
        "reward_model": pa.struct({"style": pa.string(), "ground_truth": pa.string()}),
        "extra_info": pa.struct({"index": pa.int64(), "id": pa.string(), "split": pa.string()}),
    }
)


def row(index, question, truth=CALL, **changes):
    return {
        "data_source": "rlla",
        "prompt": [{"role": "system", "content": "Tools."}, {"role": "user", "content": question}],
        "ability": "tool_use",
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {"index": index, "id": str(index), "split": "train"},
        **changes,
    }


def run(*arguments):
    app = typer.Typer()
    app.command()(check)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def found(report):
    return [(problem.kind, problem.row, problem.reason) for problem in report.problems]
