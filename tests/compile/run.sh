#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: run.sh COMPILER INCLUDE_DIR. See CMakeLists.txt here for what passes.
set -u
compiler=$1 include=$2 wrong=0
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
compile() {
    local from=$include
    [ "$1" != pass_generic_kernels.cpp ] || from=$generic
    "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion \
        -Wshadow -Werror -I"$from" "$1" 2>&1
}
# The headers as on a processor that has the generic kernels alone.
generic=$(mktemp -d)
trap 'rm -rf "$generic"' EXIT
cp -r "$include/fpq" "$generic/"
sed -i 's/^#define FPQ_X86_KERNELS 1$/#define FPQ_X86_KERNELS 0/' "$generic/fpq/core/hosted/simd_level.hpp"
for source in pass_*.cpp; do
    message=$(compile "$source") || { echo "must compile: $source"; echo "$message"; wrong=1; }
done
for source in fail/*.cpp; do
    expected=$(sed -n 's|^// expect: ||p' "$source")
    # The file must be right but for the marked line: without it (FPQ_WITHOUT_FAULT) it compiles.
    "$compiler" -std=c++20 -fsyntax-only -DFPQ_WITHOUT_FAULT -I"$include" "$source" ||
        { echo "does not compile even without its fault: $source"; wrong=1; }
    if message=$(compile "$source"); then
        echo "must not compile: $source"
        wrong=1
    elif ! printf '%s' "$message" | grep -qE "$expected"; then
        echo "fails with another message than '$expected': $source"
        echo "$message" | head -n 5
        wrong=1
    fi
done
exit "$wrong"
