// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The definitions of the launchers in api/two_sided.hpp: include in one .cu of a
// program.
#pragma once

#include "fpq/cuda/two_sided/coupled_launch.cuh"
#include "fpq/cuda/two_sided/descent_launch.cuh"
#include "fpq/cuda/two_sided/form.cuh"
