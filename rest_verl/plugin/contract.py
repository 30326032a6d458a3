"""What of verl, Ray, vLLM and the transfer queue this package uses, in one list, with what it expects of each.

`rest-verl doctor` holds the installed packages to it, and any other verl by `--verl FOLDER`, without importing them
(`contract_check`). tests/plugin/test_contract.py holds the list to the code: nothing is imported from these packages
that is not here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One part of another package.

    Attributes:
        name: module, a colon, and a class, a function, a method or a value in it; without a colon the module itself.
        used_in: module of this package, or several, that stops working without it.
        parameters: of a function: what this package calls it with, or names in an override, in this order if
            positional.
        attributes: of a class: what this package reads of its instances, set or defined by it or a base.
        fields: strings that must occur in the module: the names under which it writes or reads data.
    """

    name: str
    used_in: str
    parameters: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The module that has it."""
        return self.name.partition(":")[0]

    @property
    def package(self) -> str:
        """The package that has it."""
        return self.module.partition(".")[0]


_V1 = "verl.trainer.ppo.v1"
_TRAINER = f"{_V1}.trainer_base:PPOTrainer"
_FIRST = "verl.trainer.ppo.ray_trainer:RayPPOTrainer"
_LOOP = "verl.experimental.agent_loop.agent_loop"
_MANAGERS = "verl.experimental.reward_loop.reward_manager"
_PLATFORMS = "verl.plugin.platform"
_TOOLS = "verl.experimental.agent_loop.tool_agent_loop"
_CORE = "verl.trainer.ppo.core_algos"
_BATCH, _STEP = ("batch", "metrics"), ("metrics", "timing_raw", "sample_batch_size")

# What an engine writes for each token, and the request for the last.
_OF_ENGINES = ('"log_probs"', '"entropy"', '"sum_pi_squared"', "calculate_sum_pi_squared")

CONTRACT = (
    # the plugin itself
    Part("verl", "plugin.hooks, rollout.verl_loop", fields=("__version__", "verl.plugins")),
    Part("verl.utils.config:validate_config", "plugin.hooks", ("config",)),
    Part("verl.utils.config:omega_conf_to_dataclass", "commands.check.run", ("config",)),
    Part("verl.trainer:main_ppo", "commands.check.run"),
    # registries
    Part(f"{_CORE}:ADV_ESTIMATOR_REGISTRY", "plugin.registries, plugin.rest_trainer, commands.preview.run"),
    Part(f"{_CORE}:POLICY_LOSS_REGISTRY", "plugin.registries"),
    Part(f"{_CORE}:register_adv_est", "weighting.advantage", ("name_or_enum",)),
    Part(f"{_CORE}:get_adv_estimator_fn", "weighting.advantage", ("name_or_enum",)),
    Part(f"{_CORE}:register_policy_loss", "weighting.policy_loss", ("name",)),
    Part(
        f"{_CORE}:compute_policy_loss_vanilla",
        "weighting.policy_loss",
        ("old_log_prob", "log_prob", "advantages", "response_mask", "loss_agg_mode", "config", "rollout_is_weights"),
    ),
    Part(f"{_MANAGERS}:register", "reward.manager", ("name",)),
    Part(f"{_MANAGERS}.registry:REWARD_MANAGER", "plugin.registries"),
    Part(f"{_LOOP}:register", "rollout.agent_loop", ("agent_name",)),
    Part(f"{_LOOP}:_agent_loop_registry", "plugin.registries"),
    Part(f"{_V1}:register_trainer", "plugin.trainer", ("name",)),
    Part(f"{_V1}.trainer_base:TRAINER_REGISTRY", "plugin.registries"),
    # the V1 trainer
    Part(f"{_V1}:PPOTrainer", "resilience.watched_trainer"),
    Part(f"{_V1}:PPOTrainerSync", "plugin.trainer"),
    Part(f"{_V1}:PPOTrainerColocateAsync", "plugin.trainer"),
    Part(
        f"{_V1}:PPOTrainerSeparateAsync",
        "plugin.trainer",
        attributes=("standalone_server_manager", "standalone_checkpoint_manager"),
    ),
    Part(
        _TRAINER,
        "plugin.trainer, plugin.rest_trainer, resilience.watched_trainer",
        attributes=(
            *("config", "tokenizer", "global_steps", "total_training_steps", "timing_raw", "actor_rollout_wg"),
            *("llm_server_manager", "agent_loop_manager", "checkpoint_manager"),
        ),
        fields=(
            *("responses", "response_mask", "extra_fields", "entropy", "old_log_probs"),
            *("rollout_log_probs", "advantages", "rm_scores", "token_level_rewards", "rollout_is_weights"),
        ),
    ),
    Part("verl.workers.engine.fsdp.transformer_impl", "plugin.trainer, plugin.batch_fields", fields=_OF_ENGINES),
    Part("verl.workers.engine.megatron.transformer_impl", "plugin.trainer, plugin.batch_fields", fields=_OF_ENGINES),
    Part(f"{_V1}:trainer_base", "plugin.batch_fields"),
    Part(f"{_V1}.trainer_base", "plugin.batch_fields", fields=(" as tq\n", "tq.kv_batch_get(", "tq.kv_batch_put(")),
    Part(f"{_TRAINER}.__init__", "plugin.trainer", ("config",)),
    Part(f"{_TRAINER}.init", "resilience.watched_trainer"),
    Part(f"{_TRAINER}.fit", "resilience.watched_trainer", ("agent_loop_manager",)),
    Part(f"{_TRAINER}.get_reward_handles", "resilience.watched_trainer"),
    Part(f"{_TRAINER}._setup", "resilience.watched_trainer"),
    Part(f"{_TRAINER}._build_replay_buffer", "resilience.watched_trainer"),
    Part(f"{_TRAINER}._init_tokenizer", "plugin.trainer"),
    Part(f"{_TRAINER}._init_dataloader", "plugin.trainer"),
    Part(f"{_TRAINER}._step_once", "plugin.trainer", _STEP),
    Part(f"{_TRAINER}._compute_old_log_prob", "plugin.trainer", _BATCH),
    Part(f"{_TRAINER}._compute_advantage", "plugin.trainer", _BATCH),
    Part(f"{_TRAINER}._update_actor", "plugin.trainer", _BATCH),
    Part(f"{_TRAINER}._save_checkpoint", "plugin.rest_trainer"),
    Part(f"{_TRAINER}._load_checkpoint", "plugin.rest_trainer"),
    Part(f"{_TRAINER}._shutdown_dump_executor", "plugin.rest_trainer"),
    Part(
        f"{_V1}.replay_buffer:ReplayBuffer",
        "resilience.watchdog, resilience.watched_trainer",
        attributes=("partitions", "pending_keys", "running_keys", "finished_keys", "poll_interval"),
    ),
    Part(
        f"{_V1}.replay_buffer:ReplayBuffer._wait_for_next_poll",
        "resilience.watchdog",
        ("partition_id", "last_debug_time"),
    ),
    Part(
        f"{_V1}.replay_buffer:ReplayBuffer._evict_terminal_groups",
        "resilience.watchdog",
        ("global_steps", "partition_id", "eviction_reasons"),
    ),
    # the first trainer
    Part("verl.trainer:main_ppo_v0", "plugin.first_trainer"),
    Part("verl.trainer.main_ppo_v0:RayPPOTrainer", "plugin.first_trainer"),
    Part(
        _FIRST,
        "plugin.first_trainer, resilience.watched_first_trainer",
        attributes=(
            *("config", "tokenizer", "global_steps", "total_training_steps", "actor_rollout_wg", "checkpoint_manager"),
            *("async_rollout_manager", "llm_server_manager", "reward_loop_manager"),
        ),
        fields=("uid", "responses", "attention_mask", "entropys", "old_log_probs", "advantages", "rm_scores"),
    ),
    Part(f"{_FIRST}.__init__", "plugin.first_trainer", ("config", "tokenizer")),
    Part(f"{_FIRST}.init_workers", "resilience.watched_first_trainer"),
    Part(f"{_FIRST}.fit", "resilience.watched_first_trainer"),
    Part(f"{_FIRST}._get_gen_batch", "plugin.first_trainer", ("batch",)),
    Part(f"{_FIRST}._compute_old_log_prob", "plugin.first_trainer", ("batch",)),
    Part(f"{_FIRST}._update_actor", "plugin.first_trainer", ("batch",)),
    Part(f"{_FIRST}._save_checkpoint", "plugin.rest_trainer"),
    Part(f"{_FIRST}._load_checkpoint", "plugin.rest_trainer"),
    Part(f"{_FIRST}._shutdown_dump_executor", "plugin.rest_trainer"),
    # what both use
    Part("verl:DataProto", "plugin.batch_fields, plugin.first_trainer, reward.manager, resilience.watchdog"),
    Part("verl.protocol:DataProto", "plugin.batch_fields", attributes=("batch", "non_tensor_batch", "meta_info")),
    Part("verl.trainer.ppo.utils:need_critic", "plugin.rest_trainer", ("config",)),
    Part("verl.utils.debug:marked_timer", "plugin.trainer", ("name", "timing_raw")),
    Part("verl.utils.tracking:ValidationGenerationsLogger", "records.trackers", attributes=("log",)),
    Part("verl.workers.utils.padding:response_from_nested", "plugin.batch_fields", ("tensor", "response_mask")),
    Part(
        "verl.checkpoint_engine:CheckpointEngineManager",
        "plugin.trainer, resilience.watched_trainer, resilience.watchdog",
    ),
    Part(
        "verl.checkpoint_engine.base:CheckpointEngineManager.update_weights", "resilience.watchdog", ("global_steps",)
    ),
    Part("verl.experimental.agent_loop:AgentLoopManager", "resilience.watched_trainer, resilience.watchdog"),
    Part(f"{_LOOP}:AgentLoopManager", "resilience.watched_trainer", attributes=("agent_loop_workers",)),
    Part(f"{_LOOP}:AgentLoopManager.generate_sequences", "resilience.watchdog", ("prompts",)),
    Part(
        "verl.workers.rollout.llm_server:LLMServerManager",
        "resilience.watched_trainer",
        attributes=("server_handles",),
    ),
    Part("verl.workers.rollout.replica:get_rollout_replica_class", "commands.doctor.registrations"),
    # reward manager
    Part(f"{_MANAGERS}:NaiveRewardManager", "reward.manager"),
    Part(f"{_MANAGERS}.base:RewardManagerBase", "reward.manager"),
    Part(
        f"{_MANAGERS}.base:RewardManagerBase.__init__",
        "reward.manager",
        ("config", "tokenizer", "compute_score"),
    ),
    Part(f"{_MANAGERS}.base:RewardManagerBase.run_single", "reward.manager", ("data",)),
    # agent loop
    Part(
        f"{_LOOP}:AgentLoopOutput",
        "rollout.agent_loop, rollout.per_turn",
        attributes=("prompt_ids", "response_ids", "response_mask", "response_logprobs", "extra_fields", "metrics"),
    ),
    Part(f"{_LOOP}:AgentLoopMetrics", "rollout.per_turn"),
    Part(f"{_LOOP}:DictConfigWrap", "rollout.verl_loop", attributes=("config",)),
    Part(
        _LOOP,
        "reward.manager, plugin.batch_fields",
        fields=("tool_extra_fields", "reward_extra_info", "response_len", "__num_turns__"),
    ),
    Part(
        f"{_TOOLS}:AgentData",
        "rollout.agent_loop",
        attributes=(
            *("messages", "prompt_ids", "response_mask", "response_logprobs", "tool_calls", "tools_kwargs"),
            *("user_turns", "metrics"),
        ),
    ),
    Part(f"{_TOOLS}:AgentState", "rollout.agent_loop", attributes=("GENERATING", "PROCESSING_TOOLS", "TERMINATED")),
    Part(
        f"{_TOOLS}:ToolAgentLoop",
        "rollout.verl_loop, rollout.agent_loop",
        attributes=(
            *("tools", "tool_schemas", "tool_parser", "response_length", "rollout_config"),
            *("max_assistant_turns", "max_user_turns", "max_parallel_calls"),
        ),
        fields=("_active_tools", "Error executing tool "),
    ),
    Part(f"{_TOOLS}:ToolAgentLoop.run", "rollout.agent_loop", ("sampling_params",)),
    Part(f"{_TOOLS}:ToolAgentLoop._handle_pending_state", "rollout.agent_loop", ("agent_data", "sampling_params")),
    Part(
        f"{_TOOLS}:ToolAgentLoop._handle_generating_state",
        "rollout.agent_loop",
        ("agent_data", "sampling_params", "ignore_termination"),
    ),
    Part(f"{_TOOLS}:ToolAgentLoop._handle_processing_tools_state", "rollout.agent_loop", ("agent_data",)),
    Part(f"{_TOOLS}:ToolAgentLoop._call_tool", "rollout.agent_loop", ("tool_call", "tools_kwargs", "agent_data")),
    Part(f"{_TOOLS}:ToolAgentLoop._build_assistant_message", "rollout.agent_loop", ("content", "agent_data")),
    Part("verl.experimental.agent_loop.tool_parser:ToolParser", "rollout.agent_loop, rollout.settings"),
    Part(
        "verl.experimental.agent_loop.tool_parser:FunctionCall", "rollout.verl_loop", attributes=("name", "arguments")
    ),
    Part("verl.tools.function_tool:FunctionTool", "rollout.verl_loop", attributes=("fn", "is_async")),
    Part("verl.tools.function_tool:load_function_tools_from_path", "commands.check.code"),
    Part(
        "verl.tools.schemas:ToolResponse",
        "rollout.verl_loop, rollout.agent_loop",
        attributes=("text", "image", "video"),
    ),
    Part("verl.tools.schemas:OpenAIFunctionToolSchema", "commands.check.code"),
    # checks before a run
    Part("verl.utils.import_utils:import_external_libs", "commands.check.run"),
    Part("verl.utils.import_utils:load_module", "commands.check.code"),
    Part("verl.experimental.agent_loop.utils:resolve_config_path", "commands.check.code", ("config_path",)),
    Part("verl.utils.tracking:Tracking", "commands.check.files", attributes=("supported_backend",)),
    # +platform=cpu
    Part(f"{_PLATFORMS}:set_platform", "cpu.use_cpu"),
    Part(f"{_PLATFORMS}.platform_base:PlatformBase", "cpu.cpu"),
    Part(
        f"{_PLATFORMS}.platform_manager:PlatformRegistry",
        "cpu.cpu, plugin.registries",
        attributes=("_platforms",),
    ),
    Part(f"{_PLATFORMS}.platform_manager:get_platform", "cpu.cpu"),
    Part("verl.checkpoint_engine:CheckpointEngine", "cpu.gloo_weights"),
    Part("verl.checkpoint_engine:CheckpointEngineRegistry", "cpu.gloo_weights"),
    Part("verl.workers.rollout.vllm_rollout.utils:vLLMColocateWorkerExtension", "cpu.vllm_worker"),
    Part("vllm._custom_ops", "cpu.vllm_worker"),
    Part("vllm.entrypoints.cli.main:main", "cpu.serve_cpu"),
    # the transfer queue and Ray
    Part("transfer_queue", "plugin.batch_fields, resilience.watched_trainer"),
    Part("transfer_queue:KVBatchMeta", "plugin.batch_fields, plugin.trainer"),
    Part(
        "transfer_queue.metadata:KVBatchMeta",
        "plugin.batch_fields",
        attributes=("keys", "tags", "partition_id", "extra_info"),
    ),
    Part("transfer_queue:kv_batch_get", "plugin.batch_fields", ("keys", "partition_id", "select_fields")),
    Part("transfer_queue:kv_batch_put", "plugin.batch_fields", ("keys", "partition_id", "fields")),
    Part(
        "transfer_queue.interface",
        "resilience.watched_trainer",
        fields=("_TQ_STORAGE", "TransferQueueController"),
    ),
    Part("ray", "cpu.gloo_weights, resilience.liveness, resilience.watched_trainer, commands.doctor.registrations"),
    Part("ray.actor:ActorHandle", "resilience.liveness"),
    Part("ray.exceptions:ActorDiedError", "resilience.liveness"),
    Part("ray.exceptions:RayActorError", "resilience.liveness"),
    Part("ray.exceptions:RayTaskError", "resilience.liveness"),
)
