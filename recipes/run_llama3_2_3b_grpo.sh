#!/usr/bin/env bash
# GRPO on Llama-3.2-3B-Instruct: the baseline for run_llama3_2_3b_rest.sh.
#
# The same run except for the preset: stock verl's estimator, loss and trainer, with the same reward.
set -euo pipefail

PRESET=grpo exec bash "$(dirname "${BASH_SOURCE[0]}")/run_llama3_2_3b_rest.sh" "$@"
