# shellcheck shell=bash
# Shared by the recipes: variables, the overrides of the authors' run, and `train`. Source this file; do not run it.
#
# A recipe sets its variables, sources this file, and calls `train "${AUTHORS_RUN[@]}" "${FSDP[@]}" ... "$@"`. Every
# variable below can be set in the environment, and every override can be given at the end of the command line, where
# the last one wins.
#
#   DRY_RUN=1      check the whole config on this machine, without a GPU, a model or data
#   DRY_RUN=print  print the overrides, one per line, with an empty line after each run
set -euo pipefail

PYTHON=${PYTHON:-python}
PRESET=${PRESET:-paper}                     # a file in hydra_configs/rest, as in +rest=...
SEED=${SEED:-0}
NNODES=${NNODES:-1}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
ROLLOUT_TP=${ROLLOUT_TP:-1}                 # GPUs per vLLM engine
TRAIN_TP=${TRAIN_TP:-1}                     # GPUs that share each layer, with Megatron
GPU_MEMORY=${GPU_MEMORY:-0.6}               # share of each GPU's memory that vLLM uses while it generates
OFFLOAD=${OFFLOAD:-False}                   # whether weights and optimizer leave the GPU while vLLM generates
MAX_PROMPT=${MAX_PROMPT:-2048}
MAX_RESPONSE=${MAX_RESPONSE:-2048}
TOKENS_PER_GPU=${TOKENS_PER_GPU:-$((4 * (MAX_PROMPT + MAX_RESPONSE)))} # per micro-batch: sets speed and memory
DATA_DIR=${DATA_DIR:-data/rlla}
TRAIN_FILE=${TRAIN_FILE:-$DATA_DIR/train.parquet}
VAL_FILE=${VAL_FILE:-$DATA_DIR/validation.parquet}
PROJECT=${PROJECT:-rest_verl}
EXPERIMENT=${EXPERIMENT:?set by the recipe}
OUT=${OUT:-checkpoints/$PROJECT/$EXPERIMENT} # on storage that all nodes share

# Several nodes: start the recipe on each node.
NODE_RANK=${NODE_RANK:-${SLURM_NODEID:-0}}
HEAD_ADDRESS=${HEAD_ADDRESS:-}              # address of node 0, as the other nodes reach it
RAY_PORT=${RAY_PORT:-6379}
RAY_WAIT=${RAY_WAIT:-600}                   # seconds to wait for all nodes
# RAY_AUTH_MODE is `token`: every node needs the same ~/.ray/auth_token; `ray get-auth-token --generate` creates it. If
# nobody else can reach the nodes, set it to `disabled` on all of them.

text() { # text KEY VALUE: an override whose value Hydra takes literally, including spaces and special characters
    printf "%s='%s'" "$1" "${2//\'/\\\'}"
}

mode() { # mode NAME: the override for one of verl's trainer modes; ResT has its own variant of each
    if [[ $PRESET == grpo ]]; then echo "trainer.v1.trainer_mode=$1"; else echo "trainer.v1.trainer_mode=rest_$1"; fi
}

# The authors' run: rlla_4k, batch 512, mini-batch 64, n 4, lr 1e-6, prompt and response 2048, no KL, 15 epochs. Its
# 3,920 rows make 7 steps an epoch, 105 in all.
# shellcheck disable=SC2034 # recipes use it
AUTHORS_RUN=(
    "+rest=$PRESET"
    "$(text data.train_files "$TRAIN_FILE")"
    "$(text data.val_files "$VAL_FILE")"
    data.train_batch_size=512
    "data.max_prompt_length=$MAX_PROMPT"
    "data.max_response_length=$MAX_RESPONSE"
    # Drop prompts that are too long: truncation would remove some of their tools.
    data.filter_overlong_prompts=True
    "$(text actor_rollout_ref.model.path "$MODEL_PATH")"
    actor_rollout_ref.actor.optim.lr=1e-6
    actor_rollout_ref.actor.ppo_mini_batch_size=64
    actor_rollout_ref.actor.use_kl_loss=False
    algorithm.use_kl_in_reward=False
    actor_rollout_ref.rollout.n=4
    trainer.total_epochs=15
    # Micro-batches by tokens instead of rows. verl averages the loss over the tokens of the whole mini-batch, so this
    # changes only the speed.
    actor_rollout_ref.actor.use_dynamic_bsz=True
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=$TOKENS_PER_GPU"
    actor_rollout_ref.rollout.name=vllm
    "actor_rollout_ref.rollout.tensor_model_parallel_size=$ROLLOUT_TP"
    "actor_rollout_ref.rollout.gpu_memory_utilization=$GPU_MEMORY"
    "actor_rollout_ref.rollout.max_model_len=$((MAX_PROMPT + MAX_RESPONSE))"
    # Several seeds are needed to tell a difference from noise.
    "data.seed=$SEED"
    "actor_rollout_ref.actor.data_loader_seed=$SEED"
    "actor_rollout_ref.rollout.seed=$SEED"
    "trainer.nnodes=$NNODES"
    "trainer.n_gpus_per_node=$GPUS_PER_NODE"
    "$(text trainer.project_name "$PROJECT")"
    "$(text trainer.experiment_name "$EXPERIMENT")"
    "$(text trainer.default_local_dir "$OUT")"
    'trainer.logger=[console,tensorboard]'
    # An interrupted run resumes from its latest checkpoint when it is started again.
    trainer.save_freq=20
    trainer.max_actor_ckpt_to_keep=2
    trainer.test_freq=10
)

# Weights, gradients and optimizer sharded over all GPUs.
# shellcheck disable=SC2034 # recipes use it
FSDP=(
    actor_rollout_ref.actor.strategy=fsdp2
    "actor_rollout_ref.actor.fsdp_config.param_offload=$OFFLOAD"
    "actor_rollout_ref.actor.fsdp_config.optimizer_offload=$OFFLOAD"
)

# Each layer split over TRAIN_TP GPUs. verl's default learning rate differs for Megatron; AUTHORS_RUN sets it.
# shellcheck disable=SC2034 # recipes use it
MEGATRON=(
    model_engine=megatron
    "actor_rollout_ref.actor.megatron.tensor_model_parallel_size=$TRAIN_TP"
    "actor_rollout_ref.actor.megatron.param_offload=$OFFLOAD"
    "actor_rollout_ref.actor.megatron.optimizer_offload=$OFFLOAD"
    # Recompute activations in the backward pass, as verl's FSDP engine does.
    actor_rollout_ref.actor.megatron.override_transformer_config.recompute_granularity=full
    actor_rollout_ref.actor.megatron.override_transformer_config.recompute_method=uniform
    actor_rollout_ref.actor.megatron.override_transformer_config.recompute_num_layers=1
)

train() { # train OVERRIDE...: verl's own main with these overrides, on one node, or on several once all have joined
    if ((NNODES > 1)); then set -- +ray_kwargs.ray_init.address=auto "$@"; fi
    case ${DRY_RUN:-0} in
        0) ;;
        1) exec "$PYTHON" -m rest_verl check "$@" ;;
        print)
            printf '%s\n' "$@" ''
            exit
            ;;
        *) fail "DRY_RUN=$DRY_RUN: allowed: 0, 1, print" ;;
    esac
    if ((NNODES == 1)); then exec "$PYTHON" -m verl.trainer.main_ppo "$@"; fi
    if ((NODE_RANK >= NNODES)); then fail "NODE_RANK=$NODE_RANK: allowed: 0 to $((NNODES - 1)), for NNODES=$NNODES"; fi
    if [[ -z $HEAD_ADDRESS ]]; then fail "HEAD_ADDRESS is not set: give every node the address of node 0"; fi
    # Ray's default differs between versions and even between commands, but all nodes must agree.
    export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
    trap 'ray_command stop' EXIT
    if ((NODE_RANK == 0)); then run_head "$@"; else run_worker; fi
}

run_head() { # run_head OVERRIDE...: start Ray, wait for the other nodes, train
    ray_command start --head "--node-ip-address=$HEAD_ADDRESS" "--port=$RAY_PORT"
    local deadline=$((SECONDS + RAY_WAIT)) there=0
    until there=$(count_nodes) && ((there >= NNODES)); do
        if ((SECONDS >= deadline)); then
            fail "$there of NNODES=$NNODES nodes joined within RAY_WAIT=$RAY_WAIT s. Start the recipe on each node."
        fi
        sleep 5
    done
    "$PYTHON" -m verl.trainer.main_ppo "$@"
}

run_worker() { # join the node of rank 0, and stay until it ends
    local deadline=$((SECONDS + RAY_WAIT))
    until ray_command start "--address=$HEAD_ADDRESS:$RAY_PORT"; do
        if ((SECONDS >= deadline)); then
            fail "no Ray at $HEAD_ADDRESS:$RAY_PORT within RAY_WAIT=$RAY_WAIT s. Check that the recipe runs on node 0."
        fi
        sleep 5
    done
    while ray_command status "--address=$HEAD_ADDRESS:$RAY_PORT" >/dev/null 2>&1; do sleep 10; done
}

count_nodes() { # number of live nodes in Ray's cluster
    "$PYTHON" - <<'END'
import ray

ray.init(address="auto", log_to_driver=False, logging_level="error")
print(sum(node["Alive"] for node in ray.nodes()))
END
}

ray_command() { # Ray's command line, run by the Python that trains
    "$PYTHON" -m ray.scripts.scripts "$@"
}

fail() {
    echo "$*" >&2
    exit 2
}
