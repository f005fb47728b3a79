#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles format_device.cu with nvcc, every warning an error, without experimental flags.
# Exit code 77 (ctest: skipped) when there is no nvcc. Usage: run_nvcc.sh [NVCC]
set -eu
nvcc="${1:-${NVCC:-nvcc}}"
here="$(cd "$(dirname "$0")" && pwd)"
if ! command -v "$nvcc" >/dev/null 2>&1; then
    echo "SKIPPED: no nvcc found; floors 0 and 1 were not compiled for the device"
    exit 77
fi
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
"$nvcc" -std=c++20 -gencode arch=compute_90a,code=sm_90a -Werror all-warnings \
    -I"$here/../../include" -c "$here/format_device.cu" -o "$out/format_device.o"
echo "floors 0 and 1 compile for sm_90a"
