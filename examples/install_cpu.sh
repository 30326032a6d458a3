#!/usr/bin/env bash
# Creates .venv in the repository root with the exact CPU stack of constraints-cpu.txt and this package.
# Does nothing if that is already done; after a `git pull` that brought or took modules it links the package again.
# Needs Python 3.11 or 3.12 (PYTHON=... to choose one) and about 4 GB of disk.
#
# pip takes torch from its configured index. The CPU build is enough and far smaller: if pip would choose a CUDA build,
# point PIP_EXTRA_INDEX_URL at PyTorch's index of CPU wheels first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
STACK=$(cat constraints-cpu.txt setup.py | sha256sum | cut -c1-16)
# A strict editable install has a link for each file that was there, and the version that it had.
LINKS=$({
    grep '^__version__' rest_verl/__init__.py
    find rest_verl hydra_configs -type f ! -name '*.pyc' | LC_ALL=C sort
} | sha256sum | cut -c1-16)
STAMP=.venv/installed-$STACK
LINKED=.venv/linked-$STACK-$LINKS
if [[ -f $STAMP && -f $LINKED ]]; then exit 0; fi

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)])'; then
    echo "The CPU stack needs Python 3.11 or 3.12, but $PYTHON is $("$PYTHON" --version). Set PYTHON to another." >&2
    exit 1
fi

step() { # step NAME COMMAND...: print one line with the duration; the output goes to the log
    local name=$1 begin=$SECONDS
    shift
    printf '%s ... ' "$name"
    if ! "$@" >>.venv/install.log 2>&1; then
        printf 'failed. The end of .venv/install.log:\n' >&2
        tail -n 15 .venv/install.log >&2
        exit 1
    fi
    printf '%d s\n' $((SECONDS - begin))
}

if [[ ! -f $STAMP ]]; then
    echo "Installing the CPU stack into .venv: 3 to 6 minutes, once (log: .venv/install.log)"
    mkdir -p .venv
    rm -f .venv/installed-* # what it holds is about to change
    step "virtual environment" "$PYTHON" -m venv .venv
    step "torch" .venv/bin/pip install "$(grep '^torch==' constraints-cpu.txt)"
    step "verl, vLLM, Ray and the rest" .venv/bin/pip install --no-deps -r constraints-cpu.txt
    touch "$STAMP"
fi
# strict: links the files, so edits take effect at once and packages keep the layout that Hydra's plugins need.
rm -f .venv/linked-*
step "rest-verl" .venv/bin/pip install --no-deps -e . --config-settings editable_mode=strict
touch "$LINKED"
