#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Logs read by those they are for: the event file by TensorBoard's reader, the offline run by wandb's.
#   bash logs.sh BIN_DIR
# Wants tensorboard and wandb in the Python of PYTHON (python3). Exit code 77 without both of them;
# without one, its half is skipped. Not part of the build.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
bin=$(cd "$1" && pwd)
python=$(command -v "${PYTHON:-python3}") || { echo "SKIPPED: no ${PYTHON:-python3}"; exit 77; }
has() { "$python" -c "import $1" 2> /dev/null; }
has tensorboard || has wandb || { echo "SKIPPED: tensorboard and wandb are not there"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

flags=(--model_name_or_path "$repo/examples/models/tiny-llama" --format nvfp4 --gptq --device cpu
       --dataset_name_or_path "$repo/examples/text/calib.txt" --num_sequences 4 --sequence_length 64
       --eval_perplexity --eval_data "$repo/examples/text/eval.txt" --eval_windows 4
       --log_dir logs --report report.json)
has wandb && flags+=(--log_wandb)
# The directory of a virtual environment's python3 counts, so that it is called by that.
PATH=$(dirname "$python"):$PATH WANDB_PROJECT=tiny WANDB_NAME=first WANDB_DIR=$work \
    "$bin/fpq-quantize" "${flags[@]}" > run.log 2>&1 || { tail -n 5 run.log; exit 1; }
grep -e --log_wandb run.log
"$python" "$here/logs.py" report.json logs "$work"
