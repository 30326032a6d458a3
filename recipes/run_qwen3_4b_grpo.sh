#!/usr/bin/env bash
# GRPO on Qwen3-4B-Instruct-2507: the baseline for run_qwen3_4b_rest.sh.
#
# The same run except for the preset: stock verl's estimator, loss and trainer, with the same reward.
set -euo pipefail

PRESET=grpo exec bash "$(dirname "${BASH_SOURCE[0]}")/run_qwen3_4b_rest.sh" "$@"
