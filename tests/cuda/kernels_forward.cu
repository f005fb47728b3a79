// SPDX-License-Identifier: Apache-2.0
// The one translation unit that owns the kernels of the part "forward", for tests and benchmarks.
#include "fpq/cuda/forward/instantiate.cuh"
