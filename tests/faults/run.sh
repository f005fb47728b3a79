#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Lets one call to the system fail at a time (fail_call.cpp), all along a run that quantizes a small
# model, into a new directory and onto an older export. A run is whole and exits with 0, or says one
# line and exits with 3; then what is there is the older export, the new one or nothing, and the
# same command without a fault ends in the right bytes with nothing left beside them. Before that:
# where no thread can be had, or one alone, a run ends in the same bytes.
# usage: run.sh BIN_DIR LIBRARY [STRIDE]: every STRIDE-th call (1: all). Exit code 77: no LD_PRELOAD.
set -u
bin=$1 library=$2 stride=${3:-1}
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../examples" && pwd)
model=$examples/models/tiny-llama
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

threads=2
# quantize OUT FORMAT FLAG...: into OUT; what it says lies in log.
quantize() {
    "$bin/fpq-quantize" --model_name_or_path "$model" --format "$2" --w_bits 4 --threads "$threads" \
        --max_shard_size 400000 --save_path "$1" "${@:3}" > /dev/null 2> log
}
# as_it_fails N ERRNO OUT: quantize with call N failing.
as_it_fails() {
    FPQ_FAIL_CALL=$1 FPQ_FAIL_ERRNO=$2 FPQ_FAIL_COUNT=$work/count LD_PRELOAD=$library quantize "$3" nvfp
}
same() { diff -rq "$1" "$2" > /dev/null 2>&1; }
wrong() {
    echo "FAILED: call $call ($(cut -d' ' -f2 count)), errno $errno, $place: $1"
    cat log
    exit 1
}

quantize right nvfp && quantize old mxfp || { cat log; exit 1; }
as_it_fails 0 5 counted || { cat log; exit 1; }
if [ ! -s count ]; then
    echo "SKIPPED: faults; libraries cannot be preloaded here"
    exit 77
fi
same counted right || { echo "FAILED: the library changes a run"; exit 1; }
last=$(cut -d' ' -f1 count)

gptq=(--gptq --dataset_name_or_path "$examples/text/calib.txt" --num_sequences 4 --sequence_length 96)
quantize right-gptq nvfp "${gptq[@]}" || { cat log; exit 1; }
threads=4
for first in 1 2; do # no thread, one
    for method in right right-gptq; do
        more=()
        [ "$method" = right ] || more=("${gptq[@]}")
        rm -rf few count
        FPQ_FAIL_THREADS=$first FPQ_FAIL_COUNT=$work/count LD_PRELOAD=$library quantize few nvfp "${more[@]}" ||
            { echo "FAILED: threads from $first on fail, $method: exit code $?"; cat log; exit 1; }
        same few "$method" || { echo "FAILED: threads from $first on fail, $method: other bytes"; exit 1; }
        [ "$(cut -d' ' -f3 count)" -gt 0 ] || { echo "FAILED: no thread was asked for"; exit 1; }
    done
done
threads=2

tried=0 ended=0
for ((call = 1; call <= last; call += stride)); do
    for place in new older; do
        errno=$((tried % 2 == 0 ? 5 : 28)) # EIO, ENOSPC
        rm -rf out out.* .out* count
        [ "$place" = new ] || cp -r old out
        as_it_fails "$call" "$errno" out
        code=$?
        tried=$((tried + 1))
        case $code in
            0) same out right || wrong "exit code 0 and other bytes" ;;
            3)
                ended=$((ended + 1))
                [ "$(grep -c '^fpq-quantize: ' log)" = 1 ] || wrong "not one line"
                # What loads is whole.
                if [ -e out ] && "$bin/fpq-inspect" out --verify > /dev/null 2>&1; then
                    for name in out/*.safetensors; do
                        cmp -s "$name" "right/${name#out/}" || cmp -s "$name" "old/${name#out/}" ||
                            wrong "$name is neither old nor new"
                    done
                fi
                quantize out nvfp || wrong "the next run fails"
                same out right || wrong "the next run ends in other bytes"
                ;;
            *) wrong "exit code $code" ;;
        esac
        [ -z "$(find . -maxdepth 1 \( -name 'out.*' -o -name '.out*' \))" ] || wrong "something is left: $(ls -d out.* .out* 2> /dev/null)"
    done
done
echo "passed: 4 runs without threads, $tried runs with one failing call of $last; $ended ended early, none left anything wrong"
