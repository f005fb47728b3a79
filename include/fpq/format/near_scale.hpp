// SPDX-License-Identifier: Apache-2.0
// Floor 1. The stored scales around one, which a search over scales tries.
#pragma once

#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/format/block.hpp"

namespace fpq::detail {

/// Stored scales tried on either side of the present one: E4M3 codes, which are steps of 6 to 12 %;
/// two octaves of E8M0; and 1, 4, 16 and 64 units of fp16, the last 3 to 6 %.
FPQ_HD constexpr int joint_span(scale_kind kind) noexcept {
    return kind == scale_kind::e8m0 ? 2 : 4;
}

/// The stored scale `step` places away, |step| <= joint_span; `ok` is false where there is none.
/// The sign of an fp16 scale stays; no step reaches 0, infinity or NaN.
struct near_scale {
    bool ok;
    std::uint16_t stored;
};
FPQ_HD constexpr near_scale scale_near(scale_kind kind, std::uint16_t stored, int step) noexcept {
    int const size = step < 0 ? -step : step;
    int const away = kind == scale_kind::fp16 && size > 0 ? 1 << (2 * (size - 1)) : size;
    int const sign = kind == scale_kind::fp16 ? stored & 0x8000 : 0;
    int const least = kind == scale_kind::e8m0 ? 0 : 1;
    int const most = kind == scale_kind::e8m0 ? 254 : kind == scale_kind::e4m3 ? 126 : 0x7BFF;
    int const at = (stored - sign) + (step < 0 ? -away : away);
    return {at >= least && at <= most, static_cast<std::uint16_t>(at | sign)};
}
static_assert(!scale_near(scale_kind::e4m3, 1, -1).ok && !scale_near(scale_kind::e4m3, 126, 1).ok);
static_assert(scale_near(scale_kind::fp16, 0xBC00, 2).stored == 0xBC04);

}  // namespace fpq::detail
