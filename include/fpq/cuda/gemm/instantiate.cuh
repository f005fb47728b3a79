// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The definitions of the launchers in api_gemm.hpp: include in one .cu of a program.
#pragma once

#include "fpq/cuda/gemm/w4a16_launch.cuh"
#include "fpq/cuda/gemm/w4a4_launch.cuh"
