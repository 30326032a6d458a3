#!/usr/bin/env bash
# Trains on BFCL's questions, or on a ToolRL parquet file, on a CPU. What it does: examples/cpu/train_bfcl.py.
#   bash examples/train_bfcl_cpu.sh [--data FILE.parquet] [--categories A,B] [--steps N] [--out DIR]
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$HERE/install_cpu.sh"
# Only its data files are needed; its dependencies would install a CUDA stack.
"$HERE/../.venv/bin/pip" install --quiet --no-deps bfcl-eval==2026.3.23 >>"$HERE/../.venv/install.log" 2>&1
exec "$HERE/../.venv/bin/python" "$HERE/cpu/train_bfcl.py" "$@"
