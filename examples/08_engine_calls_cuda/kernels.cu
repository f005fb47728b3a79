// SPDX-License-Identifier: Apache-2.0
// The one translation unit of the engine that owns fpq's kernels.
#include "fpq/cuda/instantiate.cuh"
