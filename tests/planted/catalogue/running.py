"""Faults between verl's trainer and the weights: schemes, losses, start-up checks, presets, and what ends a run."""

from planting import Planted

RUN_CHECKS = "tests/plugin/test_run_checks.py::"
WATCHDOG = "tests/resilience/test_watchdog.py::"
RESUME = "tests/resilience/test_resume.py::"

FAULTS = (
    Planted(
        "weights of scheme paper are not clamped",
        "weighting/schemes.py",
        "min(max(weight, low), high) if weight > 0 else 0.0",
        "weight if weight > 0 else 0.0",
        "tests/weighting/test_schemes.py::test_positive_weights_are_clamped",
    ),
    Planted(
        "the curriculum is reversed",
        "weighting/token_weighting.py",
        "return settings.low + (settings.high - settings.low) * shape",
        "return settings.high - (settings.high - settings.low) * shape",
        "tests/weighting/test_token_weighting.py::test_the_curriculum_moves_over_steps_or_a_share_of_training",
    ),
    Planted(
        "the exact variance gives way to its bound",
        "core/entropy.py",
        "return (1.0 - sum_pi_squared).clamp_min(0.0)",
        "return variance_bound(-sum_pi_squared.log())",
        "tests/core/test_entropy.py::test_the_variance_of_the_logit_gradient_is_one_minus_the_sum_of_squared_probabilities",
    ),
    Planted(
        "returns are weighted as well",
        "weighting/advantage.py",
        "return reshape_advantages(advantages, token_weights), returns",
        "return reshape_advantages(advantages, token_weights), reshape_advantages(returns, token_weights)",
        "tests/weighting/test_advantage.py::test_advantages_are_those_of_grpo_times_the_weights_and_returns_are_not",
    ),
    Planted(
        "the loss runs without weights",
        "weighting/policy_loss.py",
        "    if rollout_is_weights is None:\n",
        "    if rollout_is_weights is None and config is None:\n",
        "tests/weighting/test_policy_loss.py::test_without_weights_the_error_names_the_overrides",
    ),
    Planted(
        "clipped weight counts tokens that are not cut",
        "weighting/policy_loss.py",
        "torch.where(advantages > 0, ratio > 1 + high, (advantages < 0) & (ratio < 1 - low))",
        "(ratio > 1 + high) | (ratio < 1 - low)",
        "tests/weighting/test_policy_loss.py::test_metrics_count_weight_instead_of_tokens",
    ),
    Planted(
        "an error names no override",
        "plugin/run_checks.py",
        '            f"set {_MODE}=rest_{mode}"\n',
        '            "choose another one"\n',
        RUN_CHECKS + "test_rest_needs_a_rest_trainer_mode",
    ),
    Planted(
        "weights in the loss are dropped by bypass mode in silence",
        "plugin/run_checks.py",
        "    if in_loss and OmegaConf.select(config, _BYPASS):\n",
        '    if in_loss and loss != "rest" and OmegaConf.select(config, _BYPASS):\n',
        RUN_CHECKS + "test_weights_in_the_loss_do_not_go_with_bypass_mode",
    ),
    Planted(
        "a setting that the scheme does not read is accepted",
        "plugin/run_checks.py",
        "        if getattr(rest, name) != getattr(RestConfig(), name):\n",
        "        if getattr(rest, name) is None:\n",
        RUN_CHECKS + "test_a_setting_that_the_scheme_does_not_read_is_refused",
    ),
    Planted(
        "a preset loses its callback",
        "hydra_configs/rest/paper.yaml",
        "hydra:\n  callbacks:\n    refuse_verl:\n      _target_: rest_verl.plugin.version.RefuseVerl\n\n",
        "",
        "tests/plugin/test_presets.py::test_the_preset_paper_is_a_legal_run_with_the_weights_in_the_loss",
    ),
    Planted(
        "a preset weighs the advantages instead of the loss",
        "hydra_configs/rest/paper.yaml",
        "  apply_in: loss\n",
        "  apply_in: advantage\n",
        "tests/plugin/test_presets.py::test_the_preset_paper_is_a_legal_run_with_the_weights_in_the_loss",
    ),
    Planted(
        "a verl outside of the range is accepted",
        "plugin/version.py",
        "    if not allowed.contains(found, prereleases=True):\n",
        "    if not allowed.contains(found, prereleases=True) and not found:\n",
        "tests/plugin/test_version.py::test_a_verl_outside_of_the_range_is_named_with_the_command_that_mends_it",
    ),
    Planted(
        "the policy loss is not registered",
        "plugin/hooks.py",
        '["rest_verl.weighting.advantage", "rest_verl.weighting.policy_loss"]',
        '["rest_verl.weighting.advantage"]',
        "tests/plugin/test_hooks.py::test_importing_verl_registers_every_name",
    ),
    Planted(
        "a resume picks a checkpoint that broke off",
        "resilience/resume.py",
        'folder.glob(f"{FOLDER}*/{LAST_WRITTEN}")]',
        'folder.glob(f"{FOLDER}*/rest.json")]',
        RESUME + "test_checkpoints_that_were_written_to_their_end_are_found_in_order",
    ),
    Planted(
        "a run whose newest checkpoint is gone starts anew",
        "resilience/resume.py",
        "    if (folder / POINTER).exists():\n",
        "    if not folder.exists():\n",
        RESUME + "test_a_newest_checkpoint_that_is_gone_does_not_start_training_anew",
    ),
    Planted(
        "the message about a damaged checkpoint names the damaged one",
        "resilience/resume.py",
        "if step == 0 or whole < step]",
        "if step == 0 or whole <= step]",
        RESUME + "test_the_message_names_the_override_that_goes_on_from_the_newest_older_checkpoint",
    ),
    Planted(
        "a watchdog never ends a run",
        "resilience/watchdog.py",
        "        self._waited += seconds\n",
        "",
        WATCHDOG + "test_nothing_new_for_too_long_ends_the_run_and_says_how_many_prompts_are_unfinished",
    ),
    Planted(
        "a watchdog ends a run that is only slow",
        "resilience/watchdog.py",
        "            self._seen, self._waited = seen, 0.0\n",
        "            self._seen = seen\n",
        WATCHDOG + "test_each_trajectory_that_arrives_starts_the_time_anew",
    ),
    Planted(
        "prompts that fail for ever are replaced for ever",
        "resilience/watchdog.py",
        "        self._failures += len(failed)\n",
        "        self._failures = len(failed)\n",
        WATCHDOG + "test_prompts_that_fail_one_after_the_other_for_long_end_the_run_and_are_counted",
    ),
    Planted(
        "an interruption hides its reason",
        "resilience/interrupt.py",
        "            raise StalledRunError(reasons[0]) from error\n",
        "            raise\n",
        "tests/resilience/test_interrupt.py::test_a_wait_of_the_main_thread_ends_with_the_reason",
    ),
    Planted(
        "an interruption is not delivered to the main thread",
        "resilience/interrupt.py",
        "signal.pthread_kill(main, SIGNAL)",
        "signal.pthread_kill(threading.get_ident(), 0)",
        "tests/resilience/test_interrupt.py::test_a_wait_of_the_main_thread_ends_with_the_reason",
    ),
)
