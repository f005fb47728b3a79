// SPDX-License-Identifier: Apache-2.0
// The one translation unit that owns the kernels of the part "backward", for tests and programs.
#include "fpq/cuda/backward/instantiate.cuh"
