#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs with 4 threads under the thread sanitizer, on the small model: GPTQ with an evaluation that runs
# along, rounding that streams while it writes, the evaluation of an export. Takes some ten minutes on
# two cores, nearly all of it compilation; not a part of run.sh.
# usage: threads.sh [BUILD]. Exit code 77 when clang++ has no thread sanitizer.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
build=${1:-build/threads}
mkdir -p "$build"
flags="-fsanitize=thread -fno-omit-frame-pointer -O1 -g1"
# shellcheck disable=SC2086 # flags are words
if ! echo 'int main() {}' | clang++ $flags -x c++ - -o "$build/probe" > /dev/null 2>&1; then
    echo "SKIPPED: clang++ with the thread sanitizer was not found; nothing was run"
    exit 77
fi
cmake -S . -B "$build" -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=None "-DCMAKE_CXX_FLAGS=$flags" \
    -DFPQ_BUILD_TESTS=OFF -DFPQ_BUILD_EXAMPLES=OFF -DFPQ_BUILD_BENCH=OFF -DFPQ_BUILD_CUDA=OFF > "$build/configure.log" &&
    cmake --build "$build" --parallel "$(nproc)" --target fpq-quantize fpq-evaluate > "$build/build.log" 2>&1 ||
    { tail -n 20 "$build/build.log"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Libraries of others are not instrumented: the products are our own.
export FPQ_DEVICE=cpu FPQ_PRODUCTS=own TSAN_OPTIONS="halt_on_error=1 exitcode=66"
run() {
    if ! "$build/bin/$1" --threads 4 "${@:2}" > "$work/log" 2>&1; then
        cat "$work/log"
        echo "FAILED: $*"
        exit 1
    fi
    echo "passed: $*"
}
model=examples/models/tiny-llama
text="examples/text/calib.txt --num_sequences 6 --sequence_length 96"
# shellcheck disable=SC2086 # words
run fpq-quantize --model_name_or_path $model --format nvfp --w_bits 4 --a_bits 4 --gptq --quantization_order activation \
    --dataset_name_or_path $text --eval_perplexity --eval_data examples/text/eval.txt --eval_windows 4 --save_path "$work/gptq"
run fpq-quantize --model_name_or_path $model --format mxfp --w_bits 4 --a_bits 16 --w_observer mse --save_path "$work/rtn"
run fpq-evaluate --model "$work/gptq" --reference $model --text examples/text/eval.txt --sequence_length 96 --max_windows 4
