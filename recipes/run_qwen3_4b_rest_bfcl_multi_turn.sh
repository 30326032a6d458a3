#!/usr/bin/env bash
# ResT on Qwen3-4B-Instruct-2507 in BFCL's multi-turn environments: one node of 8 GPUs of 80 GB, FSDP2 and vLLM.
# Needs: pip install --no-deps bfcl-eval==2026.3.23
#
# Reproduces: nothing published; the authors train on single turns. Scores on training questions say nothing about a
# model: compare on the validation rows only.
#
# Data:
#     rest-verl data bfcl --multi-turn --out data/bfcl_multi_turn
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Instruct-2507}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen3_4b_bfcl_multi_turn_${PRESET}_seed$SEED}
DATA_DIR=${DATA_DIR:-data/bfcl_multi_turn}
MAX_PROMPT=${MAX_PROMPT:-6144}     # the longest prompt has 5,050 of Qwen's tokens
MAX_RESPONSE=${MAX_RESPONSE:-16384} # all turns together, including text from tools and users
TOKENS_PER_GPU=${TOKENS_PER_GPU:-$((MAX_PROMPT + MAX_RESPONSE))}
OFFLOAD=${OFFLOAD:-True}

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

MULTI_TURN=(
    +rest/rollout=multi_turn
    # 720 training questions: 5 steps per epoch.
    data.train_batch_size=128
    # rest.rollout.per_turn=True would make each turn a separate sample.
)

train "${AUTHORS_RUN[@]}" "${FSDP[@]}" "${MULTI_TURN[@]}" "$@"
