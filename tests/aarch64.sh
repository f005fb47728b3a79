#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles the tests of floors 0 to 2 and of the transforms for AArch64, where the generic kernels are
# the only ones, and runs them under qemu. Takes about six minutes on two cores; not a part of run.sh.
# Exit code 77 when a tool is missing. Debian: g++-aarch64-linux-gnu qemu-user catch2
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
compiler="${CXX_AARCH64:-aarch64-linux-gnu-g++}"
for tool in "$compiler" qemu-aarch64; do
    command -v "$tool" > /dev/null 2>&1 || { echo "SKIPPED: no $tool found; nothing was run for AArch64"; exit 77; }
done
catch="$(echo '#include <catch2/catch.hpp>' | g++ -E -x c++ - 2> /dev/null | sed -n 's|^# 1 "\(.*\)/catch2/catch.hpp".*|\1|p' | head -1)"
[ -n "$catch" ] || { echo "SKIPPED: no single-header Catch2 found; nothing was run for AArch64"; exit 77; }
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
mkdir "$out/include"
cp -r "$catch/catch2" "$out/include/" # without the rest of the host's headers
export compiler here out
printf '#define CATCH_CONFIG_MAIN\n#include <catch2/catch.hpp>\n' > "$out/main.cpp"
cd "$here"
{ ls core/*.cpp format/*.cpp quant/*.cpp transform/*.cpp; echo "$out/main.cpp"; } |
    xargs -P "$(nproc)" -I{} bash -c 'name=$(echo "{}" | tr / _); "$compiler" -std=c++20 -O2 -DNDEBUG \
        -Wall -Wextra -Werror -I"$here/../include" -I"$here" -isystem "$out/include" \
        "-DFPQ_SOURCE_DIR=\"$here/..\"" -c "{}" -o "$out/$name.o"'
"$compiler" -static "$out"/*.o -o "$out/tests" -pthread
qemu-aarch64 "$out/tests"
