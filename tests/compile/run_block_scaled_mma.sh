#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The sm_120f build of the W4A4 mainloop: each kernel issues as many block-scaled mma as its tile
# has m16n8k64 in 128 of k, with every selector that the layout calls for; at most 184 registers,
# nothing spilled. Exit code 77 (ctest: skipped) when there is no nvcc.
# Usage: run_block_scaled_mma.sh [NVCC]
set -eu
nvcc="${1:-${NVCC:-nvcc}}"
here="$(cd "$(dirname "$0")" && pwd)"
if ! command -v "$nvcc" > /dev/null 2>&1; then
    echo "SKIPPED: no nvcc found; the block-scaled mainloop was not compiled"
    exit 77
fi
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
flags="-std=c++20 -I$here/../../include -Werror all-warnings"
# shellcheck disable=SC2086 # flags are words
"$nvcc" $flags -gencode arch=compute_120f,code=compute_120f -ptx "$here/block_scaled_mma.cu" \
    -o "$out/mma.ptx"
# shellcheck disable=SC2086
"$nvcc" $flags -gencode arch=compute_120f,code=sm_120f -Xptxas -v,--warn-on-spills -cubin \
    "$here/block_scaled_mma.cu" -o "$out/mma.cubin" 2> "$out/ptxas.log" ||
    { cat "$out/ptxas.log"; exit 1; }

# Expected per kernel: warp tiles of m16n8 times two k64 steps; selectors TA 0..1 and TB 0..3 (only
# TA 0 in a tile of 16 rows); MXFP4 also byte-id 0 and 2.
awk '
    /^[ \t]*(\.visible )?\.entry / || /\.entry _Z/ { match($0, /_Z[A-Za-z0-9_]+/); kernel = substr($0, RSTART, RLENGTH) }
    /mma\.sync.*block_scale/ {
        count[kernel]++
        kind[kernel] = /mxf4nvf4/ ? "nvfp4" : "mxfp4"
        text = $0
        while (text !~ /;/ && (getline line) > 0) text = text line
        n = split(text, part, "{")
        sub(/}.*/, "", part[n]); sub(/}.*/, "", part[n - 2])  # {byte-id, thread-id} of B and of A
        gsub(/ /, "", part[n]); gsub(/ /, "", part[n - 2])
        if (!((kernel, part[n - 2], part[n]) in seen)) { seen[kernel, part[n - 2], part[n]] = 1; selectors[kernel]++ }
    }
    END {
        for (k in count) {
            rows = k ~ /ILi128ELi128E/ ? 128 : k ~ /ILi64ELi128E/ ? 64 : 16
            warps = 4
            expected = rows / 16 * (128 / 8) / warps * 2
            combinations = (rows == 16 ? 1 : 2) * 4 * (kind[k] == "mxfp4" ? 2 : 1)
            kernels++
            printf "%s, tile %d x 128: %d block-scaled mma (planned %d), %d selectors (planned %d)\n",
                   kind[k], rows, count[k], expected, selectors[k], combinations
            if (count[k] != expected || selectors[k] != combinations) wrong = 1
        }
        if (kernels != 6) { printf "expected 6 kernels with block-scaled mma, found %d\n", kernels; wrong = 1 }
        exit wrong
    }' "$out/mma.ptx"
grep -oE 'Used [0-9]+ registers' "$out/ptxas.log" | awk '
    { if ($2 > most) most = $2; n++ }
    END { printf "%d kernels, at most %d registers (limit 184)\n", n, most; exit !(n == 6 && most <= 184) }'
