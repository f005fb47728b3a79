// SPDX-License-Identifier: Apache-2.0
// Floor 2. The steps that the candidates of a search stand for: a table of every scale byte, or
// fp16 scales of eight groups at once.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/bits.hpp"
#include "fpq/format/block.hpp"
#include "fpq/quant/kernels/lane_errors.hpp"
#include "fpq/quant/observer_options.hpp"
#include "fpq/quant/scale_search.hpp"
#include "fpq/quant/stored_scale.hpp"

namespace fpq::kernels {

/// True when lane_search does it: sweep and mse in groups of up to lane_values, asymmetric ones
/// with fp16 scales only.
inline bool has_lanes(quant_format const& format, observer_options const& options,
                      std::size_t cols) noexcept {
    bool const known = options.rule == scale_rule::sweep || options.rule == scale_rule::mse;
    std::size_t const group = format.group_of(cols);
    bool const plain =
        format.symmetric || (is_integer(format.element) && format.scale == scale_kind::fp16);
    return known && plain && group > 0 && group <= lane_values &&
           format.grain != granularity::tensor;
}

/// Safe to share between threads.
class lane_steps {
public:
    lane_steps(quant_format const& format, observer_options const& options)
        : global_(options.global_scale) {
        if (options.rule != scale_rule::sweep) {
            return;  // nothing asks for a table
        }
        if (format.scale != scale_kind::fp16) {
            bool const e8 = format.scale == scale_kind::e8m0;
            for (int i = 0; i < static_cast<int>(bytes_.size()); ++i) {
                int const byte =
                    std::clamp(i - margin, e8 ? 0 : 1, e8 ? int{e8m0::max_code} : e4m3::max_code);
                bytes_[static_cast<std::size_t>(i)] =
                    decode_group_scale(format.scale, static_cast<std::uint16_t>(byte), 0, global_)
                        .value;
            }
        } else {
            coarse_.resize(1 + fp16_highest - fp16_lowest);
            for (std::size_t i = 0; i < coarse_.size(); ++i) {
                coarse_[i] = std::exp2(static_cast<double>(static_cast<int>(i) + fp16_lowest) /
                                       fp16_steps_an_octave);
            }
        }
    }

    /// fl(scale / G) of a stored byte; its neighbours lie beside it, the last ones repeated.
    [[nodiscard]] float const* of_byte(int byte) const noexcept {
        return bytes_.data() + margin + byte;
    }

    /// 2^(i / 35), i in [fp16_lowest, fp16_highest].
    [[nodiscard]] double coarse(int i) const noexcept {
        return coarse_[static_cast<std::size_t>(i - fp16_lowest)];
    }

    /// step[l] = the fp16 scale next to base[l] * factor[l], decoded.
    void of_fp16(float const* base, double const* factor, float* step) const noexcept {
        for (std::size_t l = 0; l < lane_groups; ++l) {
            float const scale = static_cast<float>(static_cast<double>(base[l]) * factor[l]);
            float const exact = scale * global_;
            // store_fp16 in the value domain: rounded in its octave, at least 2^-24, at most 65504.
            float const size = magnitude(exact);
            float const clamped = size < 65504.0F ? size : 65504.0F;
            float const octave = clamped > 0x1p-14F ? clamped : 0x1p-14F;
            float const magic = bits_of<float>((bits_of<std::uint32_t>(octave) & 0x7F800000u) +
                                               ((13u << 23) | 0x00400000u));
            float const rounded = (clamped + magic) - magic;
            float const kept = rounded > 0x1p-24F ? rounded : 0x1p-24F;
            float const value = bits_of<float>(bits_of<std::uint32_t>(kept) |
                                               (bits_of<std::uint32_t>(exact) & 0x80000000u));
            step[l] = effective_scale(value, global_);
        }
    }

private:
    static constexpr int margin = e4m3::max_code;  // candidates are at most that far away
    float global_;
    std::array<float, 256 + 2 * margin> bytes_{};
    std::vector<double> coarse_;
};

}  // namespace fpq::kernels
