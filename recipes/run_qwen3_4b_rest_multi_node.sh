#!/usr/bin/env bash
# ResT on Qwen3-4B-Instruct-2507 on two or more nodes of 8 GPUs of 80 GB, FSDP2 and vLLM.
#
# Reproduces: the run of run_qwen3_4b_rest.sh, faster. Start it on each node, with the same NNODES and HEAD_ADDRESS:
#     NNODES=2 NODE_RANK=0 HEAD_ADDRESS=10.0.0.1 bash recipes/run_qwen3_4b_rest_multi_node.sh   # on 10.0.0.1
#     NNODES=2 NODE_RANK=1 HEAD_ADDRESS=10.0.0.1 bash recipes/run_qwen3_4b_rest_multi_node.sh   # on the other
# Slurm sets the first two: HEAD_ADDRESS=$(scontrol show hostnames | head -n 1) srun bash recipes/run_...sh
# Node 0 waits RAY_WAIT seconds for the others, and they end when it ends. Every Ray process on the nodes is then
# stopped, so use nodes that no other run uses. Keep data, model, OUT and ~/.ray/auth_token on storage that all nodes
# share; `ray get-auth-token --generate` creates the token once.
#
# Data:
#     rest-verl data rlla rlla_4k/train.parquet --out data/rlla --validation-share 0.02
# Published: BFCL multi-turn overall 50.38 (Dr.GRPO 48.62, GPT-4o 50.00).
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-4B-Instruct-2507}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
EXPERIMENT=${EXPERIMENT:-qwen3_4b_multi_node_${PRESET}_seed$SEED}
NNODES=${NNODES:-${SLURM_NNODES:-2}}

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

train "${AUTHORS_RUN[@]}" "${FSDP[@]}" "$@"
