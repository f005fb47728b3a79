// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The launchers: stream, pointers, shapes, enums. Host code; needs the CUDA runtime's
// headers and nothing else. The kernels behind them are compiled by the one translation unit of a
// program that includes fpq/cuda/instantiate.cuh.
#pragma once

#include "fpq/cuda/api/backward.hpp"
#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/api/gemm.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/api/paged.hpp"
#include "fpq/cuda/api/quantize.hpp"
#include "fpq/cuda/api/score.hpp"
#include "fpq/cuda/api/two_sided.hpp"
