// SPDX-License-Identifier: Apache-2.0
// Floor 2. The stored scale of a group under the options of an observer (format/stored_scale.hpp).
#pragma once

#include <cstdint>

#include "fpq/format/block.hpp"
#include "fpq/format/grid_rule.hpp"
#include "fpq/format/stored_scale.hpp"
#include "fpq/quant/observer_options.hpp"

namespace fpq {

/// store_scale with the rule and the global scale of the options.
inline group_scale store_scale(quant_format const& format, grid_rule const& grid, float scale,
                               float amax, std::uint8_t zero,
                               observer_options const& options) noexcept {
    return store_scale(format, grid, scale, amax, zero, options.mx, options.global_scale);
}

}  // namespace fpq
