#!/usr/bin/env bash
# Training steps on BFCL's multi-turn questions, on a CPU. What it does: examples/cpu/train_bfcl_multi_turn.py.
#   bash examples/train_bfcl_multi_turn_cpu.sh [--steps N] [--out DIR]
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$HERE/install_cpu.sh"
# Its data and the classes of its tools are wanted; what the package depends on would bring a CUDA stack with it.
"$HERE/../.venv/bin/pip" install --quiet --no-deps bfcl-eval==2026.3.23 >>"$HERE/../.venv/install.log" 2>&1
exec "$HERE/../.venv/bin/python" "$HERE/cpu/train_bfcl_multi_turn.py" "$@"
