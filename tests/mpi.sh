#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fpq-quantize-mpi on two processes of this machine: the bytes of one process, one line when all fail
# or one does, and work that a killed rank leaves is gone on with. usage: mpi.sh BIN_DIR. Exit 77:
# no mpirun.
set -u
bin=$1
examples=$(cd "$(dirname "$0")/../examples" && pwd)
command -v mpirun > /dev/null || { echo "SKIPPED: mpirun is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
wrong=0
fail() { echo "FAILED: $*"; wrong=1; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export FPQ_DEVICE=cpu
flags=(--model_name_or_path "$examples/models/tiny-llama" --format nvfp --w_bits 4 --a_bits 4 --gptq
    --dataset_name_or_path "$examples/text/calib.txt" --num_sequences 9 --sequence_length 128
    --eval_perplexity --eval_data "$examples/text/eval.txt" --eval_windows 5 --threads 1)
ranks() { timeout 300 mpirun -q -np "$@" < /dev/null; }

"$bin/fpq-quantize" "${flags[@]}" --save_path one --report one.json > one.log 2>&1 || fail "one process: $(tail -1 one.log)"
ranks 2 "$bin/fpq-quantize-mpi" "${flags[@]}" --save_path two --report two.json > two.log 2>&1 ||
    fail "two processes: $(tail -1 two.log)"
cmp one/model.safetensors two/model.safetensors || fail "other bytes on two ranks"
grep -q '"ranks": 2' two.json || fail "the report does not say 2 ranks"
[ "$(grep -o '"kl_mean": [0-9.e-]*' one.json)" = "$(grep -o '"kl_mean": [0-9.e-]*' two.json)" ] || fail "another KL"
[ "$(grep -c '^note: ' two.log)" = "$(grep -c '^note: ' one.log)" ] || fail "notes are said twice"

ranks 2 "$bin/fpq-quantize-mpi" "${flags[@]}" --save_path none --model_name_or_path absent > absent.log 2>&1
code=$?
[ "$code" = 3 ] || fail "an absent model: exit code $code"
[ "$(grep -c '^fpq-quantize: ' absent.log)" = 1 ] && [ "$(grep -c interrupted absent.log)" = 0 ] || fail "an absent model: $(cat absent.log)"
ranks 3 "$bin/fpq-quantize-mpi" "${flags[@]}" --save_path none > three.log 2>&1 && fail "three ranks"
[ "$(grep -c 'expected 1, 2, 4 or 8, found 3' three.log)" = 1 ] || fail "three ranks: $(cat three.log)"
ranks 2 "$bin/fpq-quantize" "${flags[@]}" --save_path none > plain.log 2>&1 && fail "fpq-quantize under mpirun"
grep -q 'fpq-quantize-mpi' plain.log || fail "fpq-quantize under mpirun: $(cat plain.log)"
[ ! -e none ] || fail "something was written"

# A rank that dies: the others end, and the same command goes on.
ranks 2 "$bin/fpq-quantize-mpi" "${flags[@]}" --verbose --save_path cut > cut.log 2>&1 &
run=$!
for _ in $(seq 600); do
    grep -q '"layer"' cut.partial/*.jsonl 2> /dev/null && break
    sleep 0.05
done
pkill -9 -n -f "fpq-quantize-mpi .*--save_path cut"
wait $run && [ ! -e cut ] && fail "a killed rank: exit code 0"
ranks 2 "$bin/fpq-quantize-mpi" "${flags[@]}" --save_path cut > again.log 2>&1 || fail "again: $(tail -1 again.log)"
cmp one/model.safetensors cut/model.safetensors || fail "other bytes after a killed rank"
[ ! -e cut.partial ] || fail "something is left"
exit $wrong
