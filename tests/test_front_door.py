"""The package's front door: what `from rest_verl import ...` gives, and what `import rest_verl` does not load."""

import subprocess
import sys
from importlib import import_module

import pytest

import rest_verl

HOMES = {
    "RestTrainerMixin": "rest_verl.plugin.trainer",
    "register_curriculum": "rest_verl.core.curriculum",
    "register_environment": "rest_verl.rollout.environment",
    "register_format": "rest_verl.formats",
    "register_scheme": "rest_verl.weighting.schemes",
    "register_scorer": "rest_verl.reward.scorers",
}


def in_a_fresh_process(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_no_heavy_library():
    heavy = ("verl", "torch", "ray", "vllm", "transformers", "numpy", "pandas")
    script = f"import sys, rest_verl; dir(rest_verl); print([name for name in {heavy} if name in sys.modules])"
    assert in_a_fresh_process(script) == "[]\n"


@pytest.mark.parametrize("name", HOMES)
def test_every_name_is_the_object_of_its_module(name):
    assert getattr(rest_verl, name) is getattr(import_module(HOMES[name]), name)


def test_what_a_module_of_a_user_registers_with_loads_no_verl():
    """The `register_*` functions in a process that has nothing else imported, as in a user's own tests."""
    names = ", ".join(name for name in HOMES if name.startswith("register_"))
    assert in_a_fresh_process(f"import sys; from rest_verl import {names}; print('verl' in sys.modules)") == "False\n"


def test_the_names_are_listed():
    assert rest_verl.__all__ == sorted(HOMES)
    assert {*HOMES, "__version__"} <= set(dir(rest_verl))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'rest_verl' has no attribute 'register_schema'"):
        rest_verl.register_schema  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'register_schema'"):
        from rest_verl import register_schema  # noqa: F401
