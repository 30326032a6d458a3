#!/usr/bin/env bash
# Trains a few steps in the shop of examples/custom_environment.py, on a CPU. What it does: examples/cpu/train_shop.py.
#   bash examples/custom_environment_cpu.sh [--steps N] [--out DIR]
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$HERE/install_cpu.sh"
PYTHONPATH="$HERE${PYTHONPATH:+:$PYTHONPATH}" exec "$HERE/../.venv/bin/python" "$HERE/cpu/train_shop.py" "$@"
