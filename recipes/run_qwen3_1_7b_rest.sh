#!/usr/bin/env bash
# ResT on Qwen3-1.7B: one node of 8 GPUs of 80 GB, FSDP2 and vLLM.
#
# Reproduces: the authors' run with this model.
#
# Data:
#     rest-verl data rlla rlla_4k/train.parquet --out data/rlla --validation-share 0.02
# Published: we know of no number for this model.
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-1.7B}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen3_1_7b_${PRESET}_seed$SEED}

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

train "${AUTHORS_RUN[@]}" "${FSDP[@]}" "$@"
