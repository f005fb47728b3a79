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
modules="lm_eval transformers"
. "$here/lm_eval_server.sh"
"$python" "$here/lm_eval_rate.py" "$url" "$model" "$longest" "$work/tasks" \
    local_hellaswag,local_winogrande,local_truthfulqa_mc2 "$clients" "$work/bodies" 2> "$work/log" ||
    { tail -n 30 "$work/log"; exit 1; }
stop
"$bench/fpq_bench_serve" "$model" "$work/bodies" "$clients"
