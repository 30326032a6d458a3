#!/usr/bin/env bash
# GRPO on Qwen3-1.7B: what run_qwen3_1_7b_rest.sh is compared with.
#
# The same run in everything but the preset: stock verl's estimator, loss and trainer, with the same reward.
set -euo pipefail

PRESET=grpo exec bash "$(dirname "${BASH_SOURCE[0]}")/run_qwen3_1_7b_rest.sh" "$@"
