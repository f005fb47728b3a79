// SPDX-License-Identifier: Apache-2.0
// The one translation unit that owns the kernels of the part "two_sided", for tests and programs.
#include "fpq/cuda/two_sided/instantiate.cuh"
