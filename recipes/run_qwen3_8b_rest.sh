#!/usr/bin/env bash
# ResT on Qwen3-8B: one node of 8 GPUs of 80 GB, FSDP2 and vLLM.
#
# Reproduces: the authors' run with this model.
#
# Data:
#     rest-verl data rlla rlla_4k/train.parquet --out data/rlla --validation-share 0.02
# Published: BFCL multi-turn overall 40.13; API-Bank 70.69 (Dr.GRPO 68.15; without dynamic reward 64.15,
# without gradient from reasoning 66.33, without curriculum 65.83).
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-8B}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen3_8b_${PRESET}_seed$SEED}
OFFLOAD=${OFFLOAD:-True} # vLLM makes better use of the memory that weights and optimizer take

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

train "${AUTHORS_RUN[@]}" "${FSDP[@]}" "$@"
