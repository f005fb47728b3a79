# SPDX-License-Identifier: Apache-2.0
# Sourced by scripts. OpenBLAS 0.3.21 does not know processors newer than itself and then takes its
# oldest kernels (SSE3), four times slower than those the processor can run; name them for it.
if [ -z "${OPENBLAS_CORETYPE:-}" ] && [ -r /proc/cpuinfo ]; then
    if grep -qw avx512bw /proc/cpuinfo; then
        export OPENBLAS_CORETYPE=SKYLAKEX
    elif grep -qw avx2 /proc/cpuinfo; then
        export OPENBLAS_CORETYPE=HASWELL
    fi
fi
