#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The golden table of whole runs: what every format, observer, solver, transform and dialect makes of
# the two small models. One line a case: its name and the sha256 of each output file, or what an
# evaluation of it prints. Recorded before a redesign, compared after it.
# usage: table.sh BIN_DIR > TABLE; FPQ_GOLDEN_ONLY=REGEX keeps the cases whose names match.
# Hashes of RTN rows hold on every machine; GPTQ rows and scores hold for one table of products on one
# processor: Eigen's unless FPQ_PRODUCTS names others.
set -u
export FPQ_DEVICE=cpu
export FPQ_PRODUCTS=${FPQ_PRODUCTS:-eigen}
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
bin=$1
jobs=${FPQ_JOBS:-$(nproc)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# one NAME MODEL KIND FLAGS...: KIND is `files` (hash what was written and evaluate it) or `score`.
one() {
    local name=$1 model=$2 kind=$3
    shift 3
    local dir=$work/$name
    mkdir -p "$dir"
    local run=("$bin/fpq-quantize" --model_name_or_path "examples/models/$model" --threads 1
        --num_sequences 6 --sequence_length 96 --report "$dir/report.json" "$@")
    [ "$kind" = files ] && run+=(--save_path "$dir/out")
    [ "$kind" = score ] && run+=(--eval_perplexity --eval_data examples/text/eval.txt --eval_windows 2)
    if ! "${run[@]}" > "$dir/log" 2>&1; then
        echo "$name refused: $(grep '^fpq-quantize: ' "$dir/log" | tail -n 1 | cut -c1-160)"
        rm -rf "$dir"
        return
    fi
    if [ "$kind" = files ]; then
        (cd "$dir/out" && sha256sum -- *.safetensors *config*.json | sed "s|^|$name |" | awk '{print $1, $3, substr($2, 1, 24)}')
        "$bin/fpq-evaluate" --model "$dir/out" --reference "examples/models/$model" --text examples/text/eval.txt \
            --sequence_length 96 --max_windows 2 --threads 1 --json "$dir/report.json" > "$dir/log" 2>&1 ||
            echo "$name evaluation failed: $(tail -n 1 "$dir/log" | cut -c1-160)"
    fi
    echo "$name $(sed -nE 's/.*"(perplexity|kl_mean)": *([-0-9.e+]+).*/\1 \2/p' "$dir/report.json" | sort | tr '\n' ' ')"
    rm -rf "$dir"
}
export -f one
export bin work

cases() {
    local calib=examples/text/calib.txt
    local text="--dataset_name_or_path $calib"
    for model in tiny-llama tiny-qwen3; do
        for format in nvfp mxfp; do
            for a in 16 4; do
                for observer in minmax mse sweep; do
                    for solver in direct rtn gptq order polish; do
                        local flags="--format $format --w_bits 4 --a_bits $a --w_observer $observer"
                        case $solver in
                        direct) [ $a = 4 ] && [ $format = nvfp ] && continue ;;
                        rtn) flags+=" $text" ;;
                        gptq) flags+=" $text --gptq" ;;
                        order) flags+=" $text --gptq --quantization_order activation --rel_damp 0.003" ;;
                        polish) flags+=" $text --gptq --quantization_order activation --polish 2" ;;
                        esac
                        local key=$model-$format-a$a-$observer-$solver
                        echo "$key-none $model score $flags"
                        for layout in fp_quant compressed-tensors modelopt; do
                            [ $layout = modelopt ] && [ $format = mxfp ] && continue
                            echo "$key-$layout $model files $flags --export_quantized_model realquant --export_format $layout"
                        done
                    done
                done
                for transform in hadamard gsr dct; do
                    local flags="--format $format --w_bits 4 --a_bits $a --w_observer sweep $text --gptq"
                    flags+=" --transform_class $transform --hadamard_group_size 32"
                    echo "$model-$format-a$a-$transform-none $model score $flags"
                    [ $transform = dct ] && continue
                    echo "$model-$format-a$a-$transform-fp_quant $model files $flags --export_quantized_model realquant"
                done
                echo "$model-$format-a$a-pseudo $model files --format $format --w_bits 4 --a_bits $a $text --export_quantized_model pseudoquant --export_format fp_quant"
                echo "$model-$format-a$a-self $model files --format $format --w_bits 4 --a_bits $a --dataset_name_or_path self --gptq --export_quantized_model realquant --export_format compressed-tensors"
                echo "$model-$format-a$a-shards $model files --format $format --w_bits 4 --a_bits $a $text --max_shard_size 1000000 --export_quantized_model realquant --export_format compressed-tensors"
            done
        done
        for format in "int:--w_bits 4 --w_group_size 32" "int:--w_bits 4 --w_group_size 64 --asymmetric" "int:--w_bits 3" \
            "int:--w_bits 8 --a_bits 8 --a_granularity channel" "int:--w_bits 4 --w_granularity tensor" \
            "fp:--w_bits 4 --w_group_size 32" "fp:--w_bits 8 --a_bits 8 --element e4m3" "fp:--w_bits 6 --w_group_size 64 --element e3m2" \
            "mxfp:--w_bits 6 --a_bits 6" "mxfp:--w_bits 6 --a_bits 8 --element e3m2" "mxfp:--w_bits 8 --a_bits 8" "mxfp:--w_bits 8 --element e5m2" \
            "mxfp:--w_bits 4 --a_bits 8" "mxfp:--w_bits 16 --a_bits 4" "nvfp:--w_bits 16 --a_bits 4 $text" "nvfp:--w_bits 4 --global_scale exact"; do
            for observer in minmax mse sweep; do
                for solver in "" "$text --gptq --quantization_order activation"; do
                    local flags="--format ${format%%:*} ${format#*:} --w_observer $observer $solver"
                    local key="${flags//--/}"
                    key="${key//[^a-z0-9A-Z_]/-}"
                    echo "$model-${key//examples-text-calib-txt/text} $model score $flags"
                done
            done
        done
    done
}
cases | grep -E "${FPQ_GOLDEN_ONLY:-.}" | xargs -P "$jobs" -I {} bash -c 'one {}' | LC_ALL=C sort
