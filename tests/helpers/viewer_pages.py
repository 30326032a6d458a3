"""Pages of the viewer for the browser's tests, and what they should show."""

import gzip
import json

import numpy as np
from record_tables import records_of, step_rows

from rest_verl.commands.inspect.page import PageStep, render_page
from rest_verl.commands.inspect.step_data import step_data

STEPS = (1, 100, 300)
NUMBERS = ("entropy", "weight", "advantage", "old_log_prob", "rollout_log_prob")
ROWS = {step: step_rows(step, groups=6, group_size=4) for step in STEPS}


def write_page(path, rows_by_step):
    steps = [PageStep(step, len(rows), 0, step_data(records_of(rows, step))) for step, rows in rows_by_step.items()]
    path.write_text(render_page("a run", steps), encoding="utf-8")
    return path


def shown(number):
    """A score as the page writes it."""
    return f"{number:.3f}".replace("-", "\u2212")


def check_panel(panel, row, place):
    for name in NUMBERS:
        assert np.float32(float(panel[name])) == np.float32(row[name][place]), name
    weighted = np.float32(row["weight"][place]) * np.float32(row["advantage"][place])
    assert np.float32(float(panel["weighted"])) == weighted
    gap = np.float32(row["rollout_log_prob"][place]) - np.float32(row["old_log_prob"][place])
    assert np.float32(float(panel["gap"])) == gap
    assert panel["id"] == str(row["ids"][place]) and panel["region"] == row["region"][place]
    assert bytes.fromhex(panel["bytes"]) == row["bytes"][place]
    assert panel["kind"] == ("generated, trained" if row["generated"][place] else "not generated")


def unpack(packed):
    """The header and the arrays of what `step_data.pack` made, read as the page's script reads them."""
    whole = gzip.decompress(packed)
    begin = 4 + int.from_bytes(whole[:4], "little")
    header = json.loads(whole[4:begin])
    arrays = {
        name: np.frombuffer(whole, np.dtype(dtype), count=length, offset=begin + at)
        for name, dtype, at, length in header.pop("arrays")
    }
    return header, arrays
