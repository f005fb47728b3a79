#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The flags that the kernels are built with (cmake/own_cuda.cmake) refuse a kernel that spills.
# Exit code 77 (ctest: skipped) when there is no nvcc. Usage: run_spills.sh [NVCC]
set -u
nvcc="${1:-${NVCC:-nvcc}}"
if ! command -v "$nvcc" > /dev/null 2>&1; then
    echo "SKIPPED: no nvcc found; nothing to refuse"
    exit 77
fi
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
cat > "$out/spills.cu" << 'CODE'
template <int N>
__global__ void __launch_bounds__(1024, 2) spills(float* x, int n) {
    float v[N];
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] = x[i * 1024 + threadIdx.x];
    for (int j = 0; j < n; ++j) {
#pragma unroll
        for (int i = 0; i < N; ++i) v[i] = v[i] * v[(i + 7) % N] + v[(i * 3 + 1) % N];
    }
#pragma unroll
    for (int i = 0; i < N; ++i) x[i * 1024 + threadIdx.x] = v[i];
}
void launch(float* x) { spills<64><<<1, 1024>>>(x, 3); }
CODE
if "$nvcc" -std=c++20 -gencode arch=compute_90a,code=sm_90a -Werror all-warnings \
    -Xptxas --warn-on-spills -c "$out/spills.cu" -o "$out/spills.o" > "$out/log" 2>&1; then
    echo "a kernel that spills was not refused"
    exit 1
fi
grep -q 'Registers are spilled' "$out/log"
