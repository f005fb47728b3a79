// SPDX-License-Identifier: Apache-2.0
// The backend that the units beside this header instantiate the line for: they are compiled once
// for the CPU and, with FPQ_LINE_GPU, once for a CUDA device, into a library of its own.
#pragma once

#if defined(FPQ_LINE_GPU)
#include "fpq/backend/cuda/backward.hpp"
#include "fpq/backend/cuda/forward.hpp"
#include "fpq/backend/cuda/generate.hpp"
#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/cuda/packed_linear.hpp"
#include "fpq/backend/cuda/paged.hpp"
#include "fpq/backend/cuda/quant.hpp"
#include "fpq/backend/cuda/score.hpp"
#include "fpq/backend/cuda/solve.hpp"
#include "fpq/backend/cuda/states.hpp"
#include "fpq/backend/cuda/two_sided.hpp"

namespace fpq {
using line_backend = gpu;
}
#else
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/states.hpp"

namespace fpq {
using line_backend = cpu;
}
#endif
