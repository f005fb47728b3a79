#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every header compiles alone, and twice in one file, with our warnings as errors; no code is made.
# A header that a unit of the build includes first is left to that unit: tests/run.sh compiles each
# unit by itself, those below tests/structure in the release build and the others under the
# sanitizers, and has then seen the header alone.
# usage: headers_alone.sh [--self-test] COMPILER INCLUDE_DIR [FLAG...]
set -u
self_test=0
[ "${1:-}" = --self-test ] && { self_test=1; shift; }
compiler=$1 include=$2
shift 2
export compiler flags="$*"

# check_one DIR HEADER
check_one() {
    # shellcheck disable=SC2086 # flags are words
    printf '#include "%s"\n#include "%s"\n' "$2" "$2" |
        "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion \
            -Wno-sign-conversion -Wshadow -Werror -I"$1" $flags -x c++ - && return 0
    echo "does not compile alone: $2"
    return 1
}
export -f check_one

if [ "$self_test" = 1 ]; then
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    cp -r "$include/fpq" "$copy/"
    printf '#pragma once\ninline std::vector<int> planted() { return {}; }\n' > "$copy/fpq/core/no_include.hpp"
    printf 'inline int planted() { return 1; }\n' > "$copy/fpq/core/no_pragma.hpp"
    for header in fpq/core/no_include.hpp fpq/core/no_pragma.hpp; do
        if check_one "$copy" "$header" > /dev/null 2>&1; then
            echo "not noticed: $header"
            exit 1
        fi
    done
    exit 0
fi
cd "$include" || exit 1
# Twice in one file, for those that are left to the build.
if grep -rL '^#pragma once$' fpq --include='*.hpp' --include='*.cuh' | grep .; then
    echo "these have no #pragma once"
    exit 1
fi
# The first include of each unit that fpq_floor and fpq_line compile, and of the one with all headers.
seen_first() {
    local floor
    for floor in adapt core format quant transform linalg solve io graph backend dialect model method \
        pipeline; do
        find "../tests/$floor" -maxdepth 1 -name '*.cpp'
    done
    find ../tools/line -name '*.cpp'
    echo ../tests/structure/two_files_other.cpp
}
names_seen_first() {
    seen_first | xargs awk 'FNR == 1 { done = 0 } !done && /^#include / { print $2; done = 1 }' |
        tr -d '"<>' | grep '^fpq/'
}
find fpq -name '*.hpp' ! -path 'fpq/cuda/*' ! -path 'fpq/backend/cuda/*' | sort |
    grep -vxFf <(names_seen_first) | xargs -P 2 -I{} bash -c 'check_one . {}'
