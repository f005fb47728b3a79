#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes every target of this folder: bash tests/fuzz/run.sh [seconds per target] [build folder] [jobs].
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

launcher=""
command -v ccache > /dev/null && launcher=ccache
export here build seconds launcher flag_words="${flags[*]}"

# fuzz_one SOURCE: one verdict line, passed or FAILED, is its last output.
fuzz_one() {
    local name seeds=()
    name=$(basename "$1" .cpp)
    # shellcheck disable=SC2086 # flags are words
    if ! $launcher clang++ $flag_words -c "$1" -o "$build/$name.o" ||
        ! clang++ $flag_words "$build/$name.o" -o "$build/$name" \
            -lsentencepiece -lpcre2-8 -lutf8proc -lz -lfmt -pthread; then
        echo "FAILED: fuzz $name does not build"
        return
    fi
    mkdir -p "$build/found/$name" "$build/crash/$name"
    [ -d "$here/corpus/$name" ] && seeds=("$here/corpus/$name")
    if "$build/$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=65536 \
        -artifact_prefix="$build/crash/$name/" -print_final_stats=1 \
        "$build/found/$name" "${seeds[@]}" > "$build/$name.log" 2>&1; then
        echo "$name: $(grep -E 'stat::number_of_executed_units' "$build/$name.log")"
        echo "passed: fuzz $name"
    else
        tail -n 40 "$build/$name.log"
        echo "FAILED: fuzz $name; the input lies in $build/crash/$name/"
    fi
}
export -f fuzz_one
find "$here" -maxdepth 1 -name '*.cpp' ! -name replay.cpp | sort |
    xargs -P "${3:-1}" -I{} bash -c 'fuzz_one {}' | tee "$build/verdicts"
! grep -q '^FAILED: ' "$build/verdicts"
