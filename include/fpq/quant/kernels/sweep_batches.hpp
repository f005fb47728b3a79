// SPDX-License-Identifier: Apache-2.0
// Floor 2. Where find_scales meets the sweep of 16 groups at once: which groups of a row it
// can take, and their bytes and steps.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/quant/kernels/avx512_sweep.hpp"
#include "fpq/quant/kernels/group_batches.hpp"
#include "fpq/quant/kernels/scale_lanes.hpp"
#include "fpq/quant/kernels/sweep_table.hpp"
#include "fpq/quant/observer_options.hpp"

namespace fpq::kernels {

/// The tables of one sweep; safe to share between threads.
class sweep_batches {
public:
    static constexpr std::size_t groups = 16;  // of one batch

    /// plain: takes nothing.
    sweep_batches(quant_format const& format, observer_options const& options, bool plain)
        : weights_(options.column_weight.empty() ? nullptr : options.column_weight.data()) {
        wide_ = format == mxfp4;
        if (plain || active_simd_level() != simd_level::avx512 || !(format == nvfp4 || wide_) ||
            options.rule != scale_rule::sweep || has_group_batches(format, options)) {
            return;
        }
        table_ = make_sweep_table(format.scale, options.global_scale);
        rule_ = wide_ ? e8m0_scale_lanes(scale_rule::floor, rule_of(format.element),
                                         options.global_scale, 2, e8m0::max_code - 3)
                      : e4m3_scale_lanes(options.global_scale, 1, e4m3::max_code);
        for (std::size_t byte = 0; byte < value_.size(); ++byte) {
            auto const stored = static_cast<std::uint8_t>(byte);
            value_[byte] = effective_scale(wide_ ? e8m0::decode(stored) : e4m3::decode(stored),
                                           options.global_scale);
        }
    }

    /// True if the 16 groups from g on are whole and for the kernel.
    [[nodiscard]] bool take(std::size_t cols, std::size_t g) const noexcept {
        return table_.usable && rule_.usable && (g + groups) * group() <= cols;
    }

    /// Bytes and steps of the groups g .. g + 15 of a row; the bits returned are left to the walk.
    unsigned run([[maybe_unused]] float const* row, [[maybe_unused]] std::size_t g,
                 [[maybe_unused]] std::uint8_t* bytes,
                 [[maybe_unused]] float* values) const noexcept {
        unsigned left = 0xFFFF;
#if FPQ_X86_KERNELS
        float const* const x = row + g * group();
        if (weights_ == nullptr) {
            left = wide_ ? sweep_16_wide_groups<false>(table_, rule_, x, nullptr, bytes)
                         : sweep_16_groups<false>(table_, rule_, x, nullptr, bytes);
        } else {
            float const* const u = weights_ + g * group();
            left = wide_ ? sweep_16_wide_groups<true>(table_, rule_, x, u, bytes)
                         : sweep_16_groups<true>(table_, rule_, x, u, bytes);
        }
        for (std::size_t k = 0; k < groups; ++k) {
            values[k] = value_[bytes[k]];
        }
#endif
        return left;
    }

private:
    [[nodiscard]] std::size_t group() const noexcept { return wide_ ? 32 : 16; }

    bool wide_ = false;  // MXFP4
    sweep_table table_;
    scale_lanes rule_;
    std::array<float, 256> value_{};
    float const* weights_;
};

}  // namespace fpq::kernels
