// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launchers of the part "gptq".
#pragma once

#include "fpq/cuda/status.hpp"
#include "fpq/cuda/types.hpp"
