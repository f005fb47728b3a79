// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The definitions of the launchers in api/gptq.hpp: include in one .cu of a program.
#pragma once

#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/factor.cuh"
#include "fpq/cuda/gptq/hessian.cuh"
#include "fpq/cuda/gptq/polish_launch.cuh"
#include "fpq/cuda/gptq/solve.cuh"
