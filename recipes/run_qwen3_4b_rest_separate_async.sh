#!/usr/bin/env bash
# ResT on Qwen3-4B-Instruct-2507 with rollouts on GPUs of their own: one node of 8 GPUs of 80 GB, 4 and 4.
#
# Training and generation run at the same time; weights are sent every SYNC_STEP mini-batches. hybrid_engine stays on:
# verl 0.9.1 ends with an error in its logging where it is off.
# Reproduces: nothing published; ours is on-policy in run_qwen3_4b_rest.sh.
#
# Data:
#     rest-verl data rlla rlla_4k/train.parquet --out data/rlla --validation-share 0.02
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Instruct-2507}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen3_4b_separate_async_${PRESET}_seed$SEED}
GPUS_PER_NODE=${GPUS_PER_NODE:-4} # that train
ROLLOUT_NODES=${ROLLOUT_NODES:-1}
ROLLOUT_GPUS=${ROLLOUT_GPUS:-4}   # of each node of rollouts
SYNC_STEP=${SYNC_STEP:-8}         # times mini-batch 64 has to be batch 512

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ASYNC=(
    "$(mode separate_async)"
    "trainer.v1.separate_async.parameter_sync_step=$SYNC_STEP"
    "actor_rollout_ref.rollout.nnodes=$ROLLOUT_NODES"
    "actor_rollout_ref.rollout.n_gpus_per_node=$ROLLOUT_GPUS"
    actor_rollout_ref.rollout.checkpoint_engine.backend=nccl
    # Tokens of older weights count by their probability ratio, cut at rollout_is_threshold.
    algorithm.rollout_correction.rollout_is=token
)

train "${AUTHORS_RUN[@]}" "${FSDP[@]}" "${ASYNC[@]}" "$@"
