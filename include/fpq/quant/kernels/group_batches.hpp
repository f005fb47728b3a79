// SPDX-License-Identifier: Apache-2.0
// Floor 2. Where find_scales meets the kernels for eight E2M1 groups at once: which groups of a row
// they can take, and their scales.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/format/block.hpp"
#include "fpq/quant/kernels/avx2_scales.hpp"
#include "fpq/quant/kernels/mse_bounds.hpp"
#include "fpq/quant/kernels/mse_groups.hpp"
#include "fpq/quant/kernels/scale_lanes.hpp"
#include "fpq/quant/kernels/sweep_bounds.hpp"
#include "fpq/quant/kernels/sweep_groups.hpp"
#include "fpq/quant/observer_options.hpp"
#include "fpq/quant/rounding.hpp"
#include "fpq/quant/stored_scale.hpp"

namespace fpq::kernels {

/// True if group_batches does it, from AVX2 on: minmax and mse of E2M1 in groups of 16 or 32; with
/// AVX2 alone the sweep of NVFP4 without weights, which has AVX-512 kernels of its own.
inline bool has_group_batches(quant_format const& format,
                              observer_options const& options) noexcept {
    if (active_simd_level() == simd_level::generic) {
        return false;
    }
    if (options.rule == scale_rule::sweep) {
        return active_simd_level() == simd_level::avx2 && format == nvfp4 &&
               options.column_weight.empty();
    }
    return format.element == element_kind::e2m1 && format.symmetric &&
           format.grain == granularity::group && (format.group == 16 || format.group == 32) &&
           (options.rule == scale_rule::minmax || options.rule == scale_rule::mse);
}

/// The tables of one search; safe to share between threads.
class group_batches {
public:
    static constexpr std::size_t groups = 8;  // of one batch

    group_batches(quant_format const& format, observer_options const& options)
        : format_(format),
          options_(options),
          grid_(rule_of(format.element)),
          usable_(has_group_batches(format, options)) {
        if (!usable_) {
            return;
        }
        if (options.rule == scale_rule::mse) {
            bounds_ = &mse_bounds::get();
        }
        if (options.rule == scale_rule::sweep) {
            sweep_ = &nvfp_sweep_bounds::get();
        }
        if (format.scale == scale_kind::fp16) {
            return;
        }
        if (format.scale == scale_kind::e8m0) {
            rule_ =
                e8m0_scale_lanes(options.mx, grid_, options.global_scale, 1, e8m0::max_code - 1);
        }
        int const last = format.scale == scale_kind::e8m0 ? e8m0::max_code : e4m3::max_code;
        for (int byte = 0; byte <= last; ++byte) {
            value_[static_cast<std::size_t>(byte)] =
                decode_group_scale(format.scale, static_cast<std::uint16_t>(byte), 0,
                                   options.global_scale)
                    .value;
        }
    }

    /// True if the eight groups from g on are whole and for a kernel.
    [[nodiscard]] bool take(std::size_t cols, std::size_t g) const noexcept {
        return usable_ && (g + groups) * format_.group <= cols;
    }

    /// put(k, group_scale) for groups g + k of a row, k < 8; the bits returned are left to others.
    template <class Put>
    unsigned run([[maybe_unused]] float const* row, [[maybe_unused]] std::size_t g,
                 [[maybe_unused]] Put put) const {
        unsigned left = 0xFF;
#if FPQ_X86_KERNELS
        float const* const x = row + g * format_.group;
        std::uint32_t bytes[groups];
        if (sweep_ != nullptr) {
            left = sweep_8_groups(*sweep_, value_.data(), options_.global_scale, x, bytes);
        } else {
            alignas(32) float scale[groups];
            alignas(32) float amax[groups];
            left =
                format_.group == 16 ? unrounded<16>(x, scale, amax) : unrounded<32>(x, scale, amax);
            if (format_.scale == scale_kind::fp16 ||
                (format_.scale == scale_kind::e8m0 && !rule_.usable)) {
                for (std::size_t k = 0; k < groups; ++k) {
                    if ((left >> k & 1u) == 0) {
                        put(k, store_scale(format_, grid_, scale[k], amax[k], 0, options_));
                    }
                }
                return left;
            }
            left |=
                format_.scale == scale_kind::e4m3 ? nv_bytes(scale, bytes) : mx_bytes(amax, bytes);
        }
        for (std::size_t k = 0; k < groups; ++k) {
            if ((left >> k & 1u) == 0) {
                put(k, {static_cast<std::uint16_t>(bytes[k]), 0, value_[bytes[k]]});
            }
        }
#endif
        return left;
    }

private:
#if FPQ_X86_KERNELS
    template <std::size_t Group>
    [[nodiscard]] unsigned unrounded(float const* x, float* scale, float* amax) const noexcept {
        return bounds_ == nullptr ? minmax_8_groups<Group>(x, scale, amax)
                                  : mse_8_groups<Group>(*bounds_, x, scale, amax);
    }
    FPQ_AVX2 unsigned nv_bytes(float const* scale, std::uint32_t* bytes) const noexcept {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes),
                            nv_bytes_of_8(_mm256_load_ps(scale), options_.global_scale));
        return 0;
    }
    FPQ_AVX2 unsigned mx_bytes(float const* amax, std::uint32_t* bytes) const noexcept {
        __m256i strange = _mm256_setzero_si256();
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes),
                            mx_bytes_of_8(_mm256_load_ps(amax), rule_, strange));
        return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(strange)));
    }
#endif

    quant_format format_;
    observer_options options_;
    grid_rule grid_;
    bool usable_;
    mse_bounds const* bounds_ = nullptr;        // null: not mse
    nvfp_sweep_bounds const* sweep_ = nullptr;  // null: not sweep
    scale_lanes rule_;                          // E8M0
    std::array<float, 256> value_{};            // of a byte, over the global scale
};

}  // namespace fpq::kernels
