#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the benchmarks, runs them and prints one table a program and one JSON line a row.
#
#   bash bench/run.sh [--build DIR] [--only PATTERN] [--json FILE] [GOOGLE BENCHMARK FLAG...]
#
# --only takes programs whose name holds PATTERN (quantize, solve, ...). --json appends the lines.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
build="$here/build/release"
only=""
json=""
flags=()
while [ $# -gt 0 ]; do
    case "$1" in
        --build) build=$2; shift 2 ;;
        --only) only=$2; shift 2 ;;
        --json) json=$2; shift 2 ;;
        --help) sed -n '3,9p' "$0"; exit 0 ;;
        *) flags+=("$1"); shift ;;
    esac
done
cmake -S "$here" -B "$build" -DCMAKE_BUILD_TYPE=Release -DFPQ_BUILD_TESTS=OFF \
      -DFPQ_BUILD_TOOLS=OFF -DFPQ_BUILD_EXAMPLES=OFF > /dev/null
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
echo "machine:  $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores"
compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[^=]*=//p' "$build/CMakeCache.txt")
echo "compiler: $("$compiler" --version | head -1)"
echo "commit:   $(git -C "$here" rev-parse --short HEAD 2> /dev/null || echo unknown)"
failed=0
for source in "$here"/bench/*.cpp; do
    name=$(basename "$source" .cpp)
    case "$name" in *"$only"*) ;; *) continue ;; esac
    grep -q '^#include "common.hpp"' "$source" || continue # a program of another kind
    if ! cmake --build "$build" --target "fpq_bench_$name" -j "$(nproc)" > "$lines" 2>&1; then
        cat "$lines" >&2
        echo "$name: not built" >&2
        failed=1
        continue
    fi
    echo
    echo "$name"
    "$build/bench/bin/fpq_bench_$name" ${flags[@]+"${flags[@]}"} | tee "$lines" || failed=1
    [ -z "$json" ] || grep '^{' "$lines" >> "$json" || true
done
exit "$failed"
