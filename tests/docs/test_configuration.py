"""docs/configuration.md is what the dataclasses and presets say."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest
from page_blocks import ROOT
from tiers import HANG_GUARD

from rest_verl.config.ramp import Ramp
from rest_verl.config.rest import RestConfig


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("make_configuration", ROOT / "docs" / "make_configuration.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sections(value):
    """A dataclass and those in it, without ramps."""
    yield value
    for field in fields(value):
        inner = getattr(value, field.name)
        if is_dataclass(inner) and not isinstance(inner, Ramp):
            yield from sections(inner)


def test_the_page_is_up_to_date(generator):
    # in a process of its own: another test may have registered names here
    code = "import sys, make_configuration; sys.stdout.buffer.write(make_configuration.page().encode())"
    path = os.pathsep.join([str(ROOT), str(generator.PAGE.parent)])
    environment = os.environ | {"PYTHONPATH": path}
    made = subprocess.run(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True, timeout=HANG_GUARD
    )
    written = generator.PAGE.read_text(encoding="utf-8")
    assert written == made.stdout.decode(), "stale: run python docs/make_configuration.py"


@pytest.mark.parametrize("section", sections(RestConfig()), ids=lambda section: type(section).__name__)
def test_every_key_is_described_where_its_section_describes_keys(generator, section):
    described = generator._attributes(type(section))
    if described:
        assert described.keys() == {field.name for field in fields(section)}
        assert all(described.values())


@pytest.mark.parametrize(
    ("ramp", "formula"),
    [
        (Ramp(1.0), "1"),
        (Ramp(0.6, 0.002, 1.2), "min(1.2, 0.6 + 0.002 s)"),
        (Ramp(2.0, -1 / 150, 1.0), "max(1, 2 - s/150)"),
        (Ramp(1.0, -0.5, 0.5, 29), "max(0.5, 1 - 0.5 (s - 29))"),
    ],
)
def test_a_ramp_is_shown_as_its_formula(generator, ramp, formula):
    assert generator._formula(ramp) == formula
