#!/usr/bin/env bash
# ResT on Qwen3-14B with Megatron: one node of 8 GPUs of 80 GB, Megatron and vLLM.
# Needs: pip install 'verl[megatron,vllm]'
#
# Reproduces: the authors' run with this model.
#
# Data:
#     rest-verl data rlla rlla_4k/train.parquet --out data/rlla --validation-share 0.02
# Published: BFCL multi-turn overall 44.25.
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-14B}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen3_14b_megatron_${PRESET}_seed$SEED}
TRAIN_TP=${TRAIN_TP:-4}
ROLLOUT_TP=${ROLLOUT_TP:-2}
OFFLOAD=${OFFLOAD:-True} # vLLM makes better use of the memory that weights and optimizer take

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

train "${AUTHORS_RUN[@]}" "${MEGATRON[@]}" "$@"
