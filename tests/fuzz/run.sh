#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes every target of this folder: bash tests/fuzz/run.sh [seconds per target] [build folder].
# New inputs go to the build folder; a finding is printed with the file to keep under corpus/<name>/.
# Exit code 77 when clang has no libFuzzer here.
set -u
seconds=${1:-60}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
build=${2:-$repo/build/fuzz}
mkdir -p "$build"

flags=(-std=c++20 -O1 -g1 -fno-omit-frame-pointer -I"$repo/include" -I"$repo/tests"
       -isystem /usr/include/eigen3 "-fsanitize=fuzzer,address,undefined" -fno-sanitize-recover=all)
printf 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n' \
    > "$build/probe.cpp"
if ! clang++ "${flags[@]}" "$build/probe.cpp" -o "$build/probe" > /dev/null 2>&1; then
    echo "SKIPPED: fuzzing; clang++ with libFuzzer was not found"
    exit 77
fi

launcher=()
command -v ccache > /dev/null && launcher=(ccache)
failed=0
for source in "$here"/*.cpp; do
    name=$(basename "$source" .cpp)
    [ "$name" = replay ] && continue
    echo "fuzz $name: build"
    if ! "${launcher[@]}" clang++ "${flags[@]}" -c "$source" -o "$build/$name.o" ||
        ! clang++ "${flags[@]}" "$build/$name.o" -o "$build/$name" \
            -lsentencepiece -lpcre2-8 -lutf8proc -lz -lfmt -pthread; then
        echo "FAILED: fuzz $name does not build"
        failed=$((failed + 1))
        continue
    fi
    mkdir -p "$build/found/$name" "$build/crash/$name"
    seeds=()
    [ -d "$here/corpus/$name" ] && seeds=("$here/corpus/$name")
    echo "fuzz $name: $seconds s"
    if "$build/$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=65536 \
        -artifact_prefix="$build/crash/$name/" -print_final_stats=1 \
        "$build/found/$name" "${seeds[@]}" > "$build/$name.log" 2>&1; then
        grep -E "stat::number_of_executed_units" "$build/$name.log" || true
        echo "passed: fuzz $name"
    else
        tail -n 40 "$build/$name.log"
        echo "FAILED: fuzz $name; the input lies in $build/crash/$name/"
        failed=$((failed + 1))
    fi
done
[ "$failed" -eq 0 ]
