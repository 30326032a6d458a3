#!/usr/bin/env bash
# GRPO on Qwen2.5-7B-Instruct: the baseline for run_qwen2_5_7b_rest.sh.
#
# The same run except for the preset: stock verl's estimator, loss and trainer, with the same reward.
set -euo pipefail

PRESET=grpo exec bash "$(dirname "${BASH_SOURCE[0]}")/run_qwen2_5_7b_rest.sh" "$@"
