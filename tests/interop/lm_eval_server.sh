# SPDX-License-Identifier: Apache-2.0
# Read by the scripts that let lm-evaluation-harness ask fpq-serve. They set `bin`, `model`, `data`,
# `documents` (of each task) and `modules`, which the Python of PYTHON (python3) must have: exit code 77
# without them or the data. Leaves `python`, `work` (removed at the end), the tasks in $work/tasks, and
# a server of the model as `tiny`: `server` (stopped at the end), its `url` and its `longest` text.
python=${PYTHON:-python3}
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
if ! "$python" -c "import ${modules// /, }" 2> /dev/null || [ ! -d "$data/mmlu" ]; then
    echo "SKIPPED: Python's $modules, or $data, are not there"
    exit 77
fi
work=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || { kill -TERM "$server" && wait "$server"; } 2> /dev/null
    server=
}
trap 'stop; rm -rf "$work"' EXIT

export HF_DATASETS_CACHE=$work/cache
"$python" "$here/lm_eval_tasks.py" "$data" "$work/tasks" "$documents" > "$work/tasks.log" ||
    { cat "$work/tasks.log"; exit 1; }
"$bin/fpq-serve" --model "$model" --served_model_name tiny --port 0 --device cpu > "$work/serve.log" &
server=$!
until grep -q '^serving ' "$work/serve.log"; do
    kill -0 "$server" 2> /dev/null || { echo "fpq-serve did not start"; exit 1; }
    sleep 0.1
done
url=$(sed -n 's/^serving .* at \(http[^,]*\),.*/\1/p' "$work/serve.log")
longest=$(sed -n 's/^serving .*, up to \([0-9]*\) tokens.*/\1/p' "$work/serve.log")
