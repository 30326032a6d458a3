#!/usr/bin/env bash
# Trains a pretrained model of 135 million parameters on BFCL's questions, on a CPU. What it does:
# examples/cpu/real_model.py, docs/real_model.md.
#   bash examples/real_model_cpu.sh [--model PATH] [--format NAME] [--start-steps N] [--steps N] [--rows N] [--out DIR]
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$HERE/install_cpu.sh"
# Only its data files are needed; its dependencies would install a CUDA stack.
"$HERE/../.venv/bin/pip" install --quiet --no-deps bfcl-eval==2026.3.23 >>"$HERE/../.venv/install.log" 2>&1
PYTHONPATH="$HERE/turns${PYTHONPATH:+:$PYTHONPATH}" exec "$HERE/../.venv/bin/python" "$HERE/cpu/real_model.py" "$@"
