#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Our numbers beside those of the Python reference harness, on the two small models.
#
#   bash bench/proof.sh [--seeds "42 43 44"] [--models "tiny-llama tiny-qwen3"] [--rows PATTERN]
#                       [--ours-only] [--threads N] [--bin DIR] [--text DIR] [--out DIR]
#
# Needs a release build and the novels (calib-*.txt, eval-Hardy.txt, eval-Forster.txt) in --text.
# Every row is one run of fpq-quantize with the row's settings, seed by seed; the table gives the mean
# and, with several seeds, the spread (largest minus least). Ratios are ours / the reference's KL.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
seeds="42"
models="tiny-llama tiny-qwen3"
rows="."
ours_only=0
threads=0
bin="$here/build/release/bin"
text="${FPQ_SHARED:-$here/../shared}/data/text"
out=""
while [ $# -gt 0 ]; do
    case "$1" in
        --seeds) seeds=$2; shift 2 ;;
        --models) models=$2; shift 2 ;;
        --rows) rows=$2; shift 2 ;;
        --ours-only) ours_only=1; shift ;;
        --threads) threads=$2; shift 2 ;;
        --bin) bin=$2; shift 2 ;;
        --text) text=$2; shift 2 ;;
        --out) out=$2; shift 2 ;;
        *) echo "proof.sh: unknown argument: $1" >&2; exit 2 ;;
    esac
done
[ -x "$bin/fpq-quantize" ] || { echo "proof.sh: no fpq-quantize in $bin (build the release preset, or --bin)" >&2; exit 2; }
for f in calib-Eliot.txt calib-Bronte.txt calib-Broughton.txt eval-Hardy.txt eval-Forster.txt; do
    [ -f "$text/$f" ] || { echo "proof.sh: missing text: $text/$f (--text)" >&2; exit 3; }
done
[ -n "$out" ] || out=$(mktemp -d)
if [ ! -d "$out/calibration" ]; then
    mkdir -p "$out/calibration"
    cp "$text"/calib-Eliot.txt "$text"/calib-Bronte.txt "$text"/calib-Broughton.txt "$out/calibration/"
fi

field() { sed -n "s/.*\"$2\": *\([-0-9.e+]*\).*/\1/p" "$1" | head -1; }

# model format solver observer transform bits extra-flags... -> JSON file, one a seed
run_row() {
    local model=$1 format=$2 solver=$3 observer=$4 transform=$5 bits=$6 seed=$7; shift 7
    local report="$out/$model.$format.$solver.$observer.${transform// /}.${bits/\//-}.$*.$seed.json"
    report=${report// /_}
    if [ ! -s "$report" ]; then
        local flags=(--model_name_or_path "$here/examples/models/$model"
            --dataset_name_or_path "$out/calibration" --sequence_length 2048 --num_sequences 128
            --seed "$seed" --format "$format" --mx_rule fp_quant --w_bits 4 --a_bits "${bits#*/}" --w_observer "$observer"
            --transform_class "${transform%% *}" --rel_damp 0.01 --threads "$threads"
            --eval_perplexity --eval_data "$text/eval-Hardy.txt" --eval_data "$text/eval-Forster.txt"
            --eval_characters 130000 --eval_windows 16 --eval_bos never --report "$report")
        [ "$transform" = identity ] || flags+=(--hadamard_group_size "${transform##* }")
        [ "$format" != int ] || flags+=(--w_group_size 32 --a_group_size 32)
        [ "$solver" != gptq ] || flags+=(--gptq --quantization_order activation)
        "$bin/fpq-quantize" "${flags[@]}" "$@" >"$report.log" 2>&1 ||
            { echo "proof.sh: failed: fpq-quantize ${flags[*]} $*" >&2; tail -3 "$report.log" >&2; return 1; }
    fi
    field "$report" kl_mean; field "$report" perplexity; field "$report" top1_agreement
}

# The same over all seeds: mean KL, spread, mean perplexity, mean top-1.
average() {
    local all=""
    for seed in $seeds; do
        all+="$(run_row "$1" "$2" "$3" "$4" "$5" "$6" "$seed" "${@:7}" | paste -sd' ')"$'\n'
    done
    printf '%s' "$all" | awk '{k+=$1; p+=$2; t+=$3; if(NR==1||$1<lo)lo=$1; if(NR==1||$1>hi)hi=$1}
        END{printf "%.5f %.5f %.3f %.4f", k/NR, hi-lo, p/NR, t/NR}'
}

line='%-11s %-5s %-5s %-7s %-16s %-5s | %9s %9s %7s | %9s %9s | %7s %7s\n'
# shellcheck disable=SC2059
printf "$line" model fmt solve observer transform bits "KL ours" "KL ref" ratio "ppl ours" "ppl ref" "top1" "spread"
reference="$here/bench/reference_results.tsv"
for model in $models; do
    declare -A best=()
    while IFS=$'\t' read -r m format solver observer transform bits kl ppl top1; do
        [ "$m" = "$model" ] && [ "$format" != bf16 ] || continue
        if [ "$solver" = gptq ]; then
            key="$format $bits"
            best[$key]=$(printf '%s\n%s\n' "${best[$key]:-9}" "$kl" | sort -g | head -1)
        fi
        [ "$ours_only" = 0 ] && printf '%s %s %s %s %s %s' "$m" "$format" "$solver" "$observer" "$transform" "$bits" |
            grep -Eq -- "$rows" || continue
        read -r k spread p t <<<"$(average "$m" "$format" "$solver" "$observer" "$transform" "$bits" --global_scale exact)"
        # shellcheck disable=SC2059
        printf "$line" "$m" "$format" "$solver" "$observer" "$transform" "$bits" "$k" "$kl" \
            "$(awk "BEGIN{printf \"%.3f\", $k/$kl}")" "$p" "$ppl" "$t" "$spread"
    done < <(sed '1,5d' "$reference" | sed 's/\t\t/\t-\t/g')
    # Ours: the sweep observer weighted by the Hessian, GPTQ in activation order, power-of-two G.
    for spec in "nvfp 4/16 identity" "mxfp 4/16 identity" "mxfp 4/16 hadamard 128" "int 4/16 identity" \
        "nvfp 4/4 identity" "mxfp 4/4 identity" "mxfp 4/4 hadamard 128"; do
        read -r format bits transform <<<"$spec"
        for polish in 0 2; do
            printf '%s %s gptq sweep %s %s p%s' "$model" "$format" "$transform" "$bits" "$polish" |
                grep -Eq -- "$rows" || continue
            kl=${best["$format $bits"]:-}
            [ -n "$kl" ] || kl=nan
            read -r k spread p t <<<"$(average "$model" "$format" gptq sweep "$transform" "$bits" --polish "$polish")"
            # shellcheck disable=SC2059
            printf "$line" "$model" "$format" gptq sweep "$transform p$polish" "$bits" "$k" "$kl" \
                "$(awk "BEGIN{printf \"%.3f\", $k/$kl}")" "$p" best "$t" "$spread"
        done
    done
    unset best
done
