// SPDX-License-Identifier: Apache-2.0
// The one translation unit that owns the kernels of the part "observe", for programs, tests and
// benchmarks.
#include "fpq/cuda/observe/instantiate.cuh"
