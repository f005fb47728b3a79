#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole check, from a clone: installs what is missing, builds, runs every test, again under the
# sanitizers, fuzzes, and checks format and lint. Needs no terminal and no GPU.
# Environment: FPQ_FUZZ_SECONDS (25 a target; 0: none), FPQ_BUILD_ROOT (build), FPQ_JOBS (cores),
# FPQ_SHARED (../shared), FPQ_STAGES ("release sanitize fuzz lint"; a subset while working).
# Ends with `N passed, N failed, N skipped`; exit code 0 only when nothing failed.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
exec < /dev/null
repo=$PWD
root=${FPQ_BUILD_ROOT:-$repo/build}
jobs=${FPQ_JOBS:-$(nproc)}
stages=${FPQ_STAGES:-release sanitize fuzz lint}
[ -n "${FPQ_SHARED:-}" ] || { [ -d "$repo/../shared" ] && FPQ_SHARED=$(cd "$repo/../shared" && pwd) && export FPQ_SHARED; }
export FPQ_DEVICE=cpu  # what tests expect of the programs are the CPU's bytes
export CCACHE_DIR=${CCACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/ccache}
mkdir -p "$root"
started=$SECONDS
passed=0 failed=0 skipped=0
failures=()

say() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - started)); }
pass() { passed=$((passed + 1)); echo "passed: $1"; }
skip() { skipped=$((skipped + 1)); echo "SKIPPED: $1"; }
fail() { failed=$((failed + 1)); failures+=("$1"); echo "FAILED: $1"; }
has_stage() { case " $stages " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

# build NAME DIR: builds all that builds, so that one broken file does not hide the others.
build() {
    local log=$2/build.log
    if cmake --build "$2" --parallel "$jobs" -- "${keep_going[@]}" > "$log" 2>&1; then
        grep -E '(warning|WARNING)' "$log" | head -n 5
        pass "$1 build"
    else
        grep -E '(error|FAILED|undefined)' "$log" | head -n 40
        fail "$1 build (log: $log)"
    fi
}

# run_ctest NAME DIR ARGS...: runs ctest; counts Catch2 cases for the tests that have them, one for
# every other test. The verdicts come from what ctest prints, the cases from its log.
run_ctest() {
    local name=$1 dir=$2 printed=$2/ctest.log log=$2/Testing/Temporary/LastTest.log
    shift 2
    rm -f "$log"
    (cd "$dir" && ctest --output-on-failure --parallel "$jobs" "$@") | tee "$printed"
    # shellcheck disable=SC2046 # three numbers
    set -- $(awk -f tests/count_results.awk "$printed" "$log")
    echo "$name: $1 passed, $2 failed, $3 skipped"
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
    [ "$2" -eq 0 ] || failures+=("$name: $2, see above")
    grep -h '^SKIPPED: ' "$log" | sort | uniq -c
}

# tool_of_14 NAME: its program, when there is one of version 14; the layout and the warnings of other
# versions differ.
tool_of_14() {
    command -v "$1-14" && return 0
    "$1" --version 2> /dev/null | grep -q 'version 14\.' && command -v "$1"
}

say "Set-up"
bash cmake/install-deps.sh test || exit 1
if command -v ninja > /dev/null; then
    generator=(-G Ninja)
    keep_going=(-k 0)
else
    generator=(-G "Unix Makefiles")
    keep_going=(-k)
fi
configure() {
    local dir=$1
    shift
    mkdir -p "$dir"
    if ! cmake -S . -B "$dir" "${generator[@]}" -DFPQ_WARNINGS_AS_ERRORS=ON "$@" > "$dir/configure.log" 2>&1; then
        cat "$dir/configure.log"
        fail "configure of $dir"
        return 1
    fi
    grep -A 3 -E 'SKIPPED|Warning' "$dir/configure.log"
    return 0
}

# The release build compiles units several at a time (cmake/merged_units.cmake); under the sanitizers
# each is compiled by itself. Benchmarks, which are not run, and what only a CUDA device runs, where
# there is none, are compiled without optimization.
gpu_flags=-O0
[ -e /dev/nvidia0 ] && gpu_flags=

if has_stage release; then
    say "Release: build and test"
    configure "$root/release" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_FLAGS_RELEASE=-O2 -DNDEBUG" \
        "-DFPQ_MERGED_UNITS=line;tests" "-DFPQ_GPU_FLAGS=$gpu_flags" -DFPQ_BENCH_FLAGS=-O0 && build release "$root/release" &&
        run_ctest release "$root/release"
fi

if has_stage sanitize; then
    # clang where it has the runtimes: it is the second compiler, and builds this twice as fast.
    sanitizers="-fsanitize=address,undefined -fno-sanitize-recover=all"
    second=()
    # shellcheck disable=SC2086 # flags are words
    if echo 'int main() {}' | clang++ $sanitizers -x c++ - -o "$root/sanitizer_probe" > /dev/null 2>&1; then
        second=(-DCMAKE_CXX_COMPILER=clang++)
    fi
    rm -f "$root/sanitizer_probe"
    say "Address and undefined-behaviour sanitizers (${second[*]:-the default compiler}): build and test"
    configure "$root/sanitize" "${second[@]}" -DCMAKE_BUILD_TYPE=None -DFPQ_BUILD_BENCH=OFF -DFPQ_BUILD_CUDA=OFF \
        -DFPQ_TEST_STRUCTURE=OFF -DFPQ_LIGHT_FLAGS=-O0 "-DCMAKE_CXX_FLAGS=-O1 -g1 -fno-omit-frame-pointer $sanitizers" &&
        build sanitize "$root/sanitize" && run_ctest sanitize "$root/sanitize"
fi

if has_stage fuzz && [ "${FPQ_FUZZ_SECONDS:-25}" -gt 0 ]; then
    say "Fuzz: ${FPQ_FUZZ_SECONDS:-25} s a target"
    mkdir -p "$root/fuzz"
    bash tests/fuzz/run.sh "${FPQ_FUZZ_SECONDS:-25}" "$root/fuzz" "$jobs" 2>&1 | tee "$root/fuzz/log"
    fuzz_status=${PIPESTATUS[0]}
    if [ "$fuzz_status" -eq 77 ]; then
        skip "fuzzing"
    else
        passed=$((passed + $(grep -c '^passed: ' "$root/fuzz/log")))
        while read -r line; do fail "${line#FAILED: }"; done < <(grep '^FAILED: ' "$root/fuzz/log")
    fi
fi

if has_stage lint; then
    say "Format"
    mapfile -t sources < <(git ls-files -- '*.hpp' '*.cpp' '*.cuh' '*.cu')
    if clang_format=$(tool_of_14 clang-format); then
        if "$clang_format" --dry-run -Werror "${sources[@]}" > "$root/format.log" 2>&1; then
            pass "clang-format of ${#sources[@]} files"
        else
            grep -E 'error' "$root/format.log" | cut -d: -f1 | sort | uniq -c
            fail "clang-format"
        fi
    else
        skip "clang-format 14 is not installed"
    fi
    say "Lint"
    # Version 14 reads no newer standard library than its own compiler.
    if clang_tidy=$(tool_of_14 clang-tidy) && tool_of_14 clang++ > /dev/null; then
        configure "$root/tidy" -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Debug -DFPQ_BUILD_BENCH=OFF -DFPQ_BUILD_CUDA=OFF
        # A unit of every part of the tree; together they include every header. The units of a tool
        # are one here: most of the time goes to what they include. tools/line only instantiates.
        mapfile -t units < <(ls tests/structure/two_files_other.cpp examples/0[1-5]*.cpp tools/selftest/gpu/checks.cpp 2> /dev/null)
        for tool in common evaluate inspect logs quantize selftest serve speed tasks; do
            printf '#include "%s"\n' "$repo/tools/$tool"/*.cpp > "$root/tidy/$tool.cpp"
        done
        if printf '%s\n' "${units[@]}" | xargs -P "$jobs" -n 1 \
            "$clang_tidy" --quiet -p "$root/tidy" > "$root/tidy.log" 2>&1 &&
            printf '%s\n' "$root"/tidy/{common,evaluate,inspect,logs,quantize,selftest,serve,speed,tasks}.cpp | xargs -P "$jobs" -I UNIT \
                "$clang_tidy" --quiet --config-file="$repo/.clang-tidy" --checks=-bugprone-suspicious-include \
                --header-filter='(include/fpq|tools)/' UNIT -- \
                -std=c++20 -I"$repo/include" -I"$repo/tools" -DFPQ_COMMIT='""' >> "$root/tidy.log" 2>&1; then
            pass "clang-tidy of ${#units[@]} units and the tools"
        else
            grep -E '(warning|error):' "$root/tidy.log" | sort -u | head -n 40
            fail "clang-tidy"
        fi
    else
        skip "clang-tidy 14 is not installed"
    fi
fi

say "Summary"
for failure in "${failures[@]}"; do echo "FAILED: $failure"; done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
