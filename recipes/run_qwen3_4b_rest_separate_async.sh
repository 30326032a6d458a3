#!/usr/bin/env bash
# ResT on Qwen3-4B-Instruct-2507 with rollouts on separate GPUs: one node of 8 GPUs of 80 GB, 4 and 4.
#
# Training and generation run at the same time; weights are sent every SYNC_STEP mini-batches. hybrid_engine stays on:
# without it, verl 0.9.1 ends with an error in its logging.
# Reproduces: nothing published; run_qwen3_4b_rest.sh is our on-policy run.
#
# Data:
#     rest-verl data rlla rlla_4k/train.parquet --out data/rlla --validation-share 0.02
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Instruct-2507}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen3_4b_separate_async_${PRESET}_seed$SEED}
GPUS_PER_NODE=${GPUS_PER_NODE:-4} # GPUs per training node
ROLLOUT_NODES=${ROLLOUT_NODES:-1}
ROLLOUT_GPUS=${ROLLOUT_GPUS:-4}   # GPUs per rollout node
SYNC_STEP=${SYNC_STEP:-8}         # SYNC_STEP times mini-batch 64 must equal batch 512

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ASYNC=(
    "$(mode separate_async)"
    "trainer.v1.separate_async.parameter_sync_step=$SYNC_STEP"
    "actor_rollout_ref.rollout.nnodes=$ROLLOUT_NODES"
    "actor_rollout_ref.rollout.n_gpus_per_node=$ROLLOUT_GPUS"
    actor_rollout_ref.rollout.checkpoint_engine.backend=nccl
    # Tokens sampled with older weights are weighted by their probability ratio, capped at rollout_is_threshold.
    algorithm.rollout_correction.rollout_is=token
)

train "${AUTHORS_RUN[@]}" "${FSDP[@]}" "${ASYNC[@]}" "$@"
