#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Log-likelihood requests a second: of lm-evaluation-harness asking fpq-serve, of C++ clients asking
# it, and of the engine alone, for the same requests.
#   bash lm_eval_rate.sh BIN_DIR BENCH_DIR MODEL DATA [DOCUMENTS] [CLIENTS]
# DATA: see lm_eval_tasks.py; of each task, 50 documents; 64 requests at a time. Wants lm_eval and
# transformers in the Python of PYTHON (python3); exit code 77 without them. Not part of the build.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$(cd "$1" && pwd) bench=$(cd "$2" && pwd) model=$(cd "$3" && pwd) data=$4 documents=${5:-50} clients=${6:-64}
python=${PYTHON:-python3}
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
if ! "$python" -c 'import lm_eval, transformers' 2> /dev/null || [ ! -d "$data/mmlu" ]; then
    echo "SKIPPED: lm_eval and transformers, or $data, are not there"
    exit 77
fi
work=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || { kill -TERM "$server" && wait "$server"; } 2> /dev/null
    rm -rf "$work"
}
trap stop EXIT

export HF_DATASETS_CACHE=$work/cache
"$python" "$here/lm_eval_tasks.py" "$data" "$work/tasks" "$documents" > /dev/null || exit 1
"$bin/fpq-serve" --model "$model" --served_model_name tiny --port 0 --device cpu > "$work/serve.log" &
server=$!
until grep -q '^serving ' "$work/serve.log"; do
    kill -0 "$server" 2> /dev/null || { echo "fpq-serve did not start"; exit 1; }
    sleep 0.1
done
url=$(sed -n 's/^serving .* at \(http[^,]*\),.*/\1/p' "$work/serve.log")
longest=$(sed -n 's/^serving .*, up to \([0-9]*\) tokens.*/\1/p' "$work/serve.log")
"$python" "$here/lm_eval_rate.py" "$url" "$model" "$longest" "$work/tasks" \
    local_hellaswag,local_winogrande,local_truthfulqa_mc2 "$clients" "$work/bodies" 2> "$work/log" ||
    { tail -n 30 "$work/log"; exit 1; }
kill -TERM "$server" && wait "$server" 2> /dev/null
server=
"$bench/fpq_bench_serve" "$model" "$work/bodies" "$clients"
