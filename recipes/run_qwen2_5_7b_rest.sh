#!/usr/bin/env bash
# ResT on Qwen2.5-7B-Instruct: one node of 8 GPUs of 80 GB, FSDP2 and vLLM.
#
# Reproduces: the authors' run with this model.
#
# Data:
#     rest-verl data rlla rlla_4k/train.parquet --out data/rlla --validation-share 0.02
# Published: we know of no number for this model.
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen2.5-7B-Instruct}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen2_5_7b_${PRESET}_seed$SEED}
OFFLOAD=${OFFLOAD:-True} # vLLM makes better use of the memory that weights and optimizer take

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

train "${AUTHORS_RUN[@]}" "${FSDP[@]}" "$@"
