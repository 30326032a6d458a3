#!/usr/bin/env bash
# ResT on Qwen3-4B-Instruct-2507: one node of 8 GPUs of 80 GB, FSDP2 and vLLM.
#
# Reproduces: the paper's main run. Start with this recipe.
#
# Data:
#     rest-verl data rlla rlla_4k/train.parquet --out data/rlla --validation-share 0.02
# Published: BFCL multi-turn overall 50.38 (Dr.GRPO 48.62, GPT-4o 50.00).
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Instruct-2507}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen3_4b_${PRESET}_seed$SEED}

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

train "${AUTHORS_RUN[@]}" "${FSDP[@]}" "$@"
