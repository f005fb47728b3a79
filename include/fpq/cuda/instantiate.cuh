// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Every kernel and launcher definition. Include it in exactly one .cu of a program and
// compile that for the cards it should run on, for example
//   nvcc -std=c++20 -O3 -gencode arch=compute_90a,code=sm_90a -gencode
//   arch=compute_120f,code=sm_120
#pragma once

#include "fpq/cuda/backward/instantiate.cuh"
#include "fpq/cuda/forward/instantiate.cuh"
#include "fpq/cuda/gemm/instantiate.cuh"
#include "fpq/cuda/gptq/instantiate.cuh"
#include "fpq/cuda/quantize/instantiate.cuh"
#include "fpq/cuda/two_sided/instantiate.cuh"
