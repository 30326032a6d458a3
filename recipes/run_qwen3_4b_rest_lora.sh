#!/usr/bin/env bash
# ResT on Qwen3-4B-Instruct-2507 with LoRA: one node of 8 GPUs of 40 GB, FSDP2 and vLLM.
#
# Reproduces: nothing published.
#
# Data:
#     rest-verl data rlla rlla_4k/train.parquet --out data/rlla --validation-share 0.02
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Instruct-2507}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen3_4b_lora_${PRESET}_seed$SEED}
LORA_RANK=${LORA_RANK:-64}

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

LORA=(
    "actor_rollout_ref.model.lora_rank=$LORA_RANK"
    "actor_rollout_ref.model.lora_alpha=$LORA_RANK"
    # vLLM loads the base model from its files, and after each step receives only the adapter.
    actor_rollout_ref.rollout.load_format=safetensors
    # Adapters need a larger learning rate than full training.
    actor_rollout_ref.actor.optim.lr=1e-5
)

train "${AUTHORS_RUN[@]}" "${FSDP[@]}" "${LORA[@]}" "$@"
