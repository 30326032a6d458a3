#!/usr/bin/env bash
# ResT on Qwen3-4B-Instruct-2507 with asynchronous rollouts on the same GPUs: one node of 8 GPUs of 80 GB.
#
# A step begins as soon as a batch is complete; unfinished responses continue after it, with newer weights.
# Reproduces: nothing published; run_qwen3_4b_rest.sh is our on-policy run.
#
# Data:
#     rest-verl data rlla rlla_4k/train.parquet --out data/rlla --validation-share 0.02
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Instruct-2507}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen3_4b_colocate_async_${PRESET}_seed$SEED}

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ASYNC=(
    "$(mode colocate_async)"
    # Tokens sampled with older weights are weighted by their probability ratio, capped at rollout_is_threshold.
    algorithm.rollout_correction.rollout_is=token
)

train "${AUTHORS_RUN[@]}" "${FSDP[@]}" "${ASYNC[@]}" "$@"
