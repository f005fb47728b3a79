// SPDX-License-Identifier: Apache-2.0
// Wing cuda. From the statistics of one group to its stored scale byte: the arithmetic of floor 1,
// by the names of the formats that the kernels know.
#pragma once

#include "fpq/cuda/api/scale_rules.hpp"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/format/scale_bytes.hpp"

namespace fpq::cuda {

using fpq::e4m3_byte;
using fpq::mx_byte;
using fpq::mx_byte_in_range;
using fpq::mx_constants;
using fpq::mx_rule_constants;
using fpq::nv_byte;
using fpq::nv_byte_of_maximum;
using fpq::nvfp_global_scale;
using fpq::quest_factor;
using fpq::quest_scale;
using fpq::qutlass_epsilon;

}  // namespace fpq::cuda
