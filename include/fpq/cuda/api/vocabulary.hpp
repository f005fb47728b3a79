// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The words of floors 0 and 1 that launchers take, also for who opens fpq::cuda alone.
#pragma once

#include "fpq/core/float_type.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/scale_layout.hpp"
#include "fpq/format/scale_rule.hpp"

namespace fpq::cuda {

using fpq::float_bytes;
using fpq::float_type;
using fpq::mxfp4;
using fpq::mxfp8_e4m3;
using fpq::name_of;
using fpq::nvfp4;
using fpq::quant_format;
using fpq::scale_order;
using fpq::scale_rule;

}  // namespace fpq::cuda
