#!/usr/bin/env bash
# ResT on Qwen3-4B-Instruct-2507 on one GPU of 80 to 141 GB, FSDP2 and vLLM.
#
# Reproduces: the run of run_qwen3_4b_rest.sh with the same batch, about eight times slower. Float32 weights, gradients
# and Adam's moments take 64 GB during training, and are moved to main memory while vLLM generates. With 141 GB,
# OFFLOAD=False is faster.
#
# Data:
#     rest-verl data rlla rlla_4k/train.parquet --out data/rlla --validation-share 0.02
# Published: BFCL multi-turn overall 50.38 (Dr.GRPO 48.62, GPT-4o 50.00).
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Instruct-2507}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen3_4b_one_gpu_${PRESET}_seed$SEED}
GPUS_PER_NODE=${GPUS_PER_NODE:-1}
OFFLOAD=${OFFLOAD:-True}
TOKENS_PER_GPU=${TOKENS_PER_GPU:-8192} # half the value for eight GPUs: the logits need the most memory

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

train "${AUTHORS_RUN[@]}" "${FSDP[@]}" "$@"
