#!/usr/bin/env bash
# Everything that has to hold: style, types, unit tests, and runs of stock verl, Ray and vLLM on the CPU.
# Installs the CPU stack into .venv where it is not there yet. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash examples/install_cpu.sh
BIN=$PWD/.venv/bin
# BFCL's calls and Qwen's vocabulary: only the data files in these packages are read, nothing of them is imported.
"$BIN/pip" install --quiet --disable-pip-version-check --no-deps bfcl-eval==2026.3.23 dashscope==2.0.2
# The site of docs/. It needs nothing of the stack and brings nothing that the stack has.
"$BIN/pip" install --quiet --disable-pip-version-check -c constraints-cpu.txt mkdocs-material==9.8.1
"$BIN/ruff" check .
"$BIN/ruff" format --check .
"$BIN/mypy"
"$BIN/python" -m pytest "$@"
