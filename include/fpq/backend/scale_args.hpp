// SPDX-License-Identifier: Apache-2.0
// Floor 6. From the arguments of a plan to what an observer is asked, for every backend.
#pragma once

#include "fpq/format/quant_args.hpp"
#include "fpq/quant/observer_options.hpp"
#include "fpq/quant/stored_scale.hpp"

namespace fpq {

/// What an observer is asked under `args` with a global scale.
inline observer_options observer_of(quant_args const& args, float global_scale) {
    observer_options options;
    options.rule = args.rule;
    options.mx = args.mx;
    options.global_scale = global_scale;
    return options;
}

/// The global scale of a matrix whose largest magnitude is `amax`; 1 for formats without one.
inline float global_scale_of(quant_args const& args, float amax) {
    return default_global_scale(args.format, amax, args.pow2_global, args.mx);
}

}  // namespace fpq
