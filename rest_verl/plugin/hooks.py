"""Import hooks that register this plugin with verl: the entry point `verl.plugins` names this module.

verl imports it at the end of its own `__init__`, in every process: the driver, the task runner, every Ray worker and
vLLM's workers. It imports nothing of verl, whose trainer alone takes seconds: each piece registers itself when verl
imports the module that holds its registry. With an unsupported verl nothing is registered, and verl runs as if this
package were not installed; a preset then ends the run with the reason (version.py).
"""

from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any

import wrapt

from rest_verl.cpu.resolvers import register_resolvers, resolve_environment
from rest_verl.plugin.version import check_verl

# verl module -> the modules of this package that register themselves with it on import
REGISTRATIONS = {
    "verl.plugin.platform.platform_manager": ["rest_verl.cpu.cpu"],
    "verl.trainer.ppo.core_algos": ["rest_verl.weighting.advantage", "rest_verl.weighting.policy_loss"],
    "verl.trainer.ppo.v1": ["rest_verl.plugin.trainer"],
    "verl.trainer.main_ppo_v0": ["rest_verl.plugin.first_trainer"],
    "verl.experimental.reward_loop.reward_manager": ["rest_verl.reward.manager"],
    "verl.experimental.agent_loop": ["rest_verl.rollout.agent_loop"],
}


def _register(verl_module: ModuleType) -> None:
    for name in REGISTRATIONS[verl_module.__name__]:
        import_module(name)


def _check_config_first(verl_config: ModuleType) -> None:
    """Run our checks at the start of verl's own validation, before Ray starts, and resolve what Ray gets.

    A function under verl's own name, no proxy: Ray pickles the task runner of verl's first trainer, which refers to
    it, and can do so by name alone.
    """
    verl_validate = verl_config.validate_config

    @wraps(verl_validate)
    def validate(*args: Any, **kwargs: Any) -> Any:
        run_checks = import_module("rest_verl.plugin.run_checks")
        estimators = import_module("verl.trainer.ppo.core_algos").ADV_ESTIMATOR_REGISTRY
        config = kwargs["config"] if "config" in kwargs else args[0]
        run_checks.check_at_start(config, estimators)
        resolve_environment(config)
        return verl_validate(*args, **kwargs)

    verl_config.validate_config = validate  # type: ignore[attr-defined]


register_resolvers()  # first, so that with an unsupported verl a preset fails with the reason and not with a resolver
check_verl()
for _name in REGISTRATIONS:
    wrapt.register_post_import_hook(_register, _name)
wrapt.register_post_import_hook(_check_config_first, "verl.utils.config")
