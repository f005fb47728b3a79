// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The definitions of the launchers in api/backward.hpp: include in one .cu of a program.
#pragma once

#include "fpq/cuda/backward/launch.cuh"
