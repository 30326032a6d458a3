#!/usr/bin/env bash
# GRPO, the paper's weights and credit by span on Qwen2.5-1.5B-Instruct with three seeds each, and the table of their
# differences: the experiment to run with one GPU of 80 GB. FSDP2 and vLLM.
#
# One script from an empty Python environment to the table: it installs what is missing, makes the data, trains, asks
# each model BFCL's single-turn questions, and compares the models with GRPO's, seeds and questions resampled. Started
# again, it continues where it stopped.
#
# Reproduces: nothing of ours. The sizes are those of GDPO's published run of this model on these rows (arXiv
# 2601.05242; train_gdpo.sh of github.com/NVlabs/GDPO), which its authors put at 2.5 hours on one A100: a day for all.
# We have not run it on a GPU. A test runs it for two steps on a CPU, with the model of examples/real_model_cpu.sh.
#
# Data: dataset/rlla_4k/train.parquet of ToolRL's repository, as RLLA=FILE. The script calls
#     rest-verl data rlla "$RLLA" --out data/rlla --validation-share 0.02
# Published: we know of no number for ResT with this model.
# shellcheck disable=SC2031 # each run sources common.sh in a subshell, and what it sets is to stay there
set -euo pipefail

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen2.5-1.5B-Instruct}    # or Qwen/Qwen3-1.7B
NAME=${NAME:-qwen2_5_1_5b_study}
VARIANTS=${VARIANTS:-grpo paper credit}                 # presets; the others are compared with the first
SEEDS=${SEEDS:-0 1 2}
RLLA=${RLLA:-rlla_4k/train.parquet}
RESULTS=${RESULTS:-results/$NAME}
SERVE=${SERVE:-vllm serve}
read -ra EVAL <<<"${EVAL:---single-turn}"               # options of `rest-verl eval bfcl`
GPUS_PER_NODE=${GPUS_PER_NODE:-1}
MAX_RESPONSE=${MAX_RESPONSE:-1024}

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
read -ra variants <<<"$VARIANTS"
read -ra seeds <<<"$SEEDS"

main() { # main OVERRIDE...
    if [[ ${DRY_RUN:-0} != 0 ]]; then
        seeds=("${seeds[0]}") # the other seeds have the same config otherwise
        for variant in "${variants[@]}"; do run "$variant" "${seeds[0]}" "$@"; done
        return
    fi
    PYTHON=${PYTHON:-python}
    install
    if [[ ! -f ${TRAIN_FILE:-${DATA_DIR:-data/rlla}/train.parquet} ]]; then
        rest data rlla "$RLLA" --out "${DATA_DIR:-data/rlla}" --validation-share 0.02
    fi
    # Seeds in the outer loop: after the first seed there is a table of one seed.
    for seed in "${seeds[@]}"; do
        for variant in "${variants[@]}"; do
            if [[ -f $(folder "$variant" "$seed")/scores.json ]]; then continue; fi
            echo "== $variant, seed $seed" >&2
            run "$variant" "$seed" "$@"
            evaluate "$variant" "$seed"
        done
        for variant in "${variants[@]:1}"; do compare "${variants[0]}" "$variant" "$seed"; done
    done
}

run() { # run PRESET SEED OVERRIDE...: one training, in a shell of its own, which `train` may end
    local preset=$1 seed=$2
    shift 2
    (
        PRESET=$preset SEED=$seed EXPERIMENT=${NAME}_${preset}_seed$seed OUT=$(folder "$preset" "$seed")/checkpoints
        # shellcheck source-path=SCRIPTDIR source=common.sh
        source "$HERE/common.sh"
        # The same reward for all, so that they differ in weights and credit alone.
        train "${AUTHORS_RUN[@]}" "${FSDP[@]}" +rest/reward=strict actor_rollout_ref.actor.ppo_mini_batch_size=128 \
            trainer.total_training_steps=100 "$@"
    )
}

folder() { # folder PRESET SEED: where a run's checkpoints, model, answers and scores are
    echo "$RESULTS/$1-seed$2"
}

evaluate() { # evaluate PRESET SEED: export the run's model, serve it, ask it; answers of before are kept
    local out port # `server` is not: the trap reads it after the function has ended
    out=$(folder "$1" "$2")
    mkdir -p "$out"
    if [[ ! -d $out/model ]]; then rest export "$out/checkpoints" --out "$out/model"; fi
    port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')
    $SERVE "$out/model" --port "$port" >"$out/server.log" 2>&1 &
    server=$!
    trap 'kill $server' EXIT
    until "$PYTHON" -c "import urllib.request as r; r.urlopen('http://localhost:$port/health')" 2>/dev/null; do
        if ! kill -0 "$server" 2>/dev/null; then
            tail -n 5 "$out/server.log" >&2
            exit 1
        fi
        sleep 2
    done
    rest eval bfcl --out "$out" --base-url "http://localhost:$port/v1" --max-tokens "$MAX_RESPONSE" "${EVAL[@]}"
    kill "$server" 2>/dev/null || true
    wait "$server" || true
    trap - EXIT
}

compare() { # compare BASE OTHER LAST: the second preset against the first, with the seeds up to LAST
    local sides seed more=()
    sides=("$(folder "$1" "${seeds[0]}")" "$(folder "$2" "${seeds[0]}")")
    for seed in "${seeds[@]:1}"; do
        if [[ ${seeds[0]} == "$3" ]]; then break; fi
        more+=(--more-base "$(folder "$1" "$seed")" --more-other "$(folder "$2" "$seed")")
        if [[ $seed == "$3" ]]; then break; fi
    done
    rest eval compare "${sides[@]}" --out "$RESULTS/$2-against-$1" "${more[@]}"
}

install() { # install what is missing: verl and vLLM, this package with its evaluation, BFCL's questions
    if ! "$PYTHON" -c 'import verl, vllm' 2>/dev/null; then "$PYTHON" -m pip install 'verl[fsdp,vllm]==0.9.1'; fi
    if ! "$PYTHON" -c 'import rest_verl, openai, matplotlib' 2>/dev/null; then
        "$PYTHON" -m pip install "$HERE/..[eval]"
    fi
    if ! "$PYTHON" -c 'import bfcl_eval' 2>/dev/null; then
        "$PYTHON" -m pip install --no-deps bfcl-eval==2026.3.23
    fi
}

rest() { # rest ARGUMENT...: the command rest-verl, by the Python that trains
    "$PYTHON" -m rest_verl "$@"
}

main "$@"
