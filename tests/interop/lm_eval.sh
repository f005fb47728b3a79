#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# lm-evaluation-harness against fpq-serve, beside its own model in PyTorch on the same checkpoint: the
# six tasks of OpenLLM v1 over local files, request by request.
#   bash lm_eval.sh BIN_DIR MODEL DATA [DOCUMENTS]      (DATA: see lm_eval_tasks.py; of each task, 20)
# Wants lm_eval, torch and transformers in the Python of PYTHON (python3). Exit code 77 without them or
# the data. Not part of the build.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$(cd "$1" && pwd) model=$(cd "$2" && pwd) data=$3 documents=${4:-20}
modules="lm_eval torch transformers"
. "$here/lm_eval_server.sh"
cat "$work/tasks.log"
mkdir "$work/torch" "$work/served"

# run NAME TASKS ARGS... -- MODEL MODEL_ARGS: one run of the harness.
run() {
    local name=$1 tasks=$2
    shift 2
    local more=()
    while [ "$1" != -- ]; do more+=("$1"); shift; done
    local begin=$SECONDS
    "$python" -m lm_eval --model "$2" --model_args "$3" --tasks "$tasks" --include_path "$work/tasks" \
        --batch_size 1 --log_samples --output_path "$work/$name" "${more[@]}" > "$work/$name.log" 2>&1 ||
        { tail -n 30 "$work/$name.log"; exit 1; }
    echo "$name: $((SECONDS - begin)) s"
}
scored=local_hellaswag,local_winogrande,local_truthfulqa_mc2
written=local_mmlu_cot_llama,local_arc_challenge_llama,local_gsm8k_llama
chat=(--apply_chat_template --fewshot_as_multiturn)
torch=pretrained=$model,dtype=float32,max_length=$longest
served=model=tiny,base_url=$url,tokenizer=$model,tokenizer_backend=huggingface
# The harness keeps a token's room of max_length for itself. Where it cuts texts to leave room for an
# answer, one more makes it cut them as for its own model.
run torch/scored "$scored" -- hf "$torch"
run served/scored "$scored" -- local-completions "$served,max_length=$longest,add_bos_token=True,num_concurrent=16"
run torch/written "$written" "${chat[@]}" -- hf "$torch"
run served/written "$written" "${chat[@]}" -- local-completions "$served,max_length=$((longest + 1)),num_concurrent=16"
run served/text "$scored" -- local-completions \
    "$served,max_length=$longest,add_bos_token=True,num_concurrent=1,tokenized_requests=False"
status=0
compare() {
    echo "$1 and $2:"
    "$python" "$here/lm_eval_compare.py" "$work/$1" "$work/$2" || status=1
}
compare torch/scored served/scored
compare torch/written served/written
compare torch/scored served/text
exit "$status"
