// SPDX-License-Identifier: Apache-2.0
// Floor 2. Where find_scales meets the sweep of 16 NVFP4 groups at once: which groups of a row it
// can take, and their bytes and steps.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "fpq/format/block.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/quant/kernels/avx512_sweep.hpp"
#include "fpq/quant/kernels/scale_lanes.hpp"
#include "fpq/quant/kernels/simd_level.hpp"
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
        if (plain || active_simd_level() != simd_level::avx512 || !(format == nvfp4) ||
            options.kind != observer_kind::sweep) {
            return;
        }
        table_ = make_sweep_table(format.scale, options.global_scale);
        rule_ = e4m3_scale_lanes(options.global_scale, 1, e4m3::max_code);
        for (std::size_t byte = 0; byte < value_.size(); ++byte) {
            value_[byte] = effective_scale(e4m3::decode(static_cast<std::uint8_t>(byte)),
                                           options.global_scale);
        }
    }

    /// True if the 16 groups from g on are whole and for the kernel.
    [[nodiscard]] bool take(std::size_t cols, std::size_t g) const noexcept {
        return table_.usable && (g + groups) * nvfp4.group <= cols;
    }

    /// Bytes and steps of the groups g .. g + 15 of a row; the bits returned are left to the walk.
    unsigned run([[maybe_unused]] float const* row, [[maybe_unused]] std::size_t g,
                 [[maybe_unused]] std::uint8_t* bytes,
                 [[maybe_unused]] float* values) const noexcept {
        unsigned left = 0xFFFF;
#if FPQ_X86_KERNELS
        std::size_t const first = g * nvfp4.group;
        left = weights_ == nullptr
                   ? sweep_16_groups<false>(table_, rule_, row + first, nullptr, bytes)
                   : sweep_16_groups<true>(table_, rule_, row + first, weights_ + first, bytes);
        for (std::size_t k = 0; k < groups; ++k) {
            values[k] = value_[bytes[k]];
        }
#endif
        return left;
    }

private:
    sweep_table table_;
    scale_lanes rule_;
    std::array<float, 256> value_{};
    float const* weights_;
};

}  // namespace fpq::kernels
