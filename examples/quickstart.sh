#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a clone to quantized checkpoints and what they cost, in under five minutes: installs what is
# missing (it says what first), builds the tools, quantizes the small trained Llama of this
# repository to NVFP4 and MXFP4 by rounding (RTN) and by GPTQ, and prints one table.
# usage: bash examples/quickstart.sh [OUTPUT_DIR]; FPQ_MODELS="tiny-llama tiny-qwen3" for both models.
set -eu
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "${1:-$repo/quickstart-out}"
out=$(cd "${1:-$repo/quickstart-out}" && pwd)
cd "$repo"
models=${FPQ_MODELS:-tiny-llama}
calibration=examples/text/calib.txt
evaluation=examples/text/eval.txt
length=512

step() { printf '%s\n' "$*" >&2; }

bash cmake/install-deps.sh build >&2
step "Building the tools (a few minutes the first time)"
build=${FPQ_BUILD_DIR:-build/quickstart}
mkdir -p "$build"
generator=()
command -v ninja > /dev/null && generator=(-G Ninja)
if ! { cmake -S . -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release \
    "-DCMAKE_CXX_FLAGS_RELEASE=-O2 -DNDEBUG" -DFPQ_BUILD_TESTS=OFF \
    -DFPQ_BUILD_EXAMPLES=OFF -DFPQ_BUILD_BENCH=OFF -DFPQ_BUILD_CUDA=OFF &&
    cmake --build "$build" --parallel "$(nproc)"; } > "$build/log" 2>&1; then
    tail -n 30 "$build/log" >&2
    exit 1
fi
bin=$build/bin

# number FILE KEY: the number under a key of a JSON report.
number() { sed -nE "s/.*\"$2\"[[:space:]]*:[[:space:]]*([-+0-9.eE]+).*/\1/p" "$1" | head -n 1; }
# logged LOG COMMAND...: its output goes to LOG; of a failure the end is shown.
logged() {
    local log=$1
    shift
    "$@" > "$log" 2>&1 || { tail -n 5 "$log" >&2; exit 1; }
}
# evaluate MODEL JSON MORE...
evaluate() {
    logged "$2.log" "$bin/fpq-evaluate" --model "$1" --text "$evaluation" \
        --sequence_length "$length" --json "$2" "${@:3}"
}
table=$out/table.txt
row() { printf '%-11s %-6s %-6s %16s %11s %9s\n' "$@" | tee -a "$table" >&2; }
: > "$table"

for model in $models; do
    source=examples/models/$model
    step "Evaluating $model as it is"
    evaluate "$source" "$out/$model.json"
    row "$model" bf16 - 16.00 "$(printf %.3f "$(number "$out/$model.json" perplexity)")" 0
    for format in nvfp mxfp; do
        for method in rtn gptq; do
            name=$model-${format}4-$method
            step "Quantizing to $name"
            solver=()
            [ "$method" = gptq ] && solver=(--gptq --quantization_order activation)
            logged "$out/$name.log" "$bin/fpq-quantize" --model_name_or_path "$source" --dataset_name_or_path "$calibration" \
                --format "$format" --w_bits 4 --w_observer sweep "${solver[@]}" \
                --num_sequences 64 --sequence_length "$length" \
                --export_quantized_model realquant --export_format compressed-tensors \
                --save_path "$out/$name"
            evaluate "$out/$name" "$out/$name.json" --reference "$source"
            row "$model" "${format}4" "$method" "$(printf %.2f "$(number "$out/$name.json" bits_per_weight)")" \
                "$(printf %.3f "$(number "$out/$name.json" perplexity)")" \
                "$(printf %.4f "$(number "$out/$name.json" kl_mean)")"
        done
    done
done

echo
printf '%-11s %-6s %-6s %16s %11s %9s\n' model format method "bits per weight" perplexity KL
cat "$table"
echo
echo "KL: mean divergence from the original model, in nats a token, on $evaluation in windows of $length."
echo "Quantized checkpoints:"
for model in $models; do
    for checkpoint in "$out/$model"-*-gptq; do echo "  $(cd "$checkpoint" && pwd)"; done
done
