#!/usr/bin/env bash
# From a fresh clone to a model trained with ResT in stock verl, on a CPU. What it does: examples/cpu/quickstart.py.
#   bash examples/quickstart_cpu.sh [--steps N] [--seed N] [--preset NAME] [--out DIR]
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$HERE/install_cpu.sh"
exec "$HERE/../.venv/bin/python" "$HERE/cpu/quickstart.py" "$@"
