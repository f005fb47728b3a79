// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding: frequencies, the table of cosines and sines, and its application.
//
// Floor 6. The rotate-half convention of the transformers: value i of a head is paired with
// value i + head_dim / 2. Frequencies and angles are rounded to float32 as there, so that long
// positions get the angles the models were trained with. Not the interleaved convention.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "fpq/graph/model_config.hpp"

namespace fpq {

/// Radians per position of each of the head_dim / 2 pairs. llama3 follows the transformers' rule:
/// wavelengths above original / low_freq_factor are stretched by `factor`, those below
/// original / high_freq_factor kept, and those between are mixed linearly in original / wavelength.
[[nodiscard]] inline std::vector<float> rope_frequencies(const rope_config& rope,
                                                         std::size_t head_dim) {
    constexpr double two_pi = 6.283185307179586476925;
    std::vector<float> frequencies(head_dim / 2);
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
        const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_dim);
        const double base = 1.0 / std::pow(rope.theta, exponent);
        double frequency = base;
        if (rope.kind == rope_kind::linear) {
            frequency = base / rope.factor;
        } else if (rope.kind == rope_kind::llama3) {
            const double turns = rope.original_max_position * base / two_pi;
            if (turns < rope.low_freq_factor) {
                frequency = base / rope.factor;
            } else if (turns <= rope.high_freq_factor) {
                const double smooth =
                    (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
                frequency = (1.0 - smooth) * base / rope.factor + smooth * base;
            }
        }
        frequencies[i] = static_cast<float>(frequency);
    }
    return frequencies;
}

/// Where the rows of a matrix stand in their text.
struct row_positions {
    std::size_t length;  ///< rows of one window, windows one below the other
    std::size_t first;   ///< position of a window's first row
    std::size_t step;    ///< 1 in a window; 0 where each row is the next token of its own sequence

    [[nodiscard]] constexpr std::size_t operator()(std::size_t row) const noexcept {
        return first + row % length * step;
    }
};

/// Cosines and sines of positions 0 .. positions-1.
class rope_table {
public:
    rope_table(const rope_config& rope, std::size_t head_dim, std::size_t positions)
        : half_(head_dim / 2),
          positions_(positions),
          cos_(half_ * positions),
          sin_(half_ * positions) {
        const std::vector<float> frequencies = rope_frequencies(rope, head_dim);
        for (std::size_t t = 0; t < positions; ++t) {
            for (std::size_t i = 0; i < half_; ++i) {
                const float angle = static_cast<float>(t) * frequencies[i];
                cos_[t * half_ + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
                sin_[t * half_ + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
            }
        }
    }

    [[nodiscard]] std::size_t positions() const noexcept { return positions_; }
    /// (positions, head_dim / 2), row-major.
    [[nodiscard]] std::vector<float> const& cosines() const noexcept { return cos_; }
    [[nodiscard]] std::vector<float> const& sines() const noexcept { return sin_; }

    /// Rotates one head (head_dim values) at `position`, which must be below positions().
    void rotate(float* head, std::size_t position) const noexcept { turn<false>(head, position); }

    /// The inverse rotation, which is also its transpose: the way of a gradient.
    void rotate_back(float* head, std::size_t position) const noexcept {
        turn<true>(head, position);
    }

private:
    template <bool Back>
    void turn(float* head, std::size_t position) const noexcept {
        const float* const c = cos_.data() + position * half_;
        const float* const s = sin_.data() + position * half_;
        for (std::size_t i = 0; i < half_; ++i) {
            const float a = head[i];
            const float b = head[i + half_];
            const float sine = Back ? -s[i] : s[i];
            head[i] = a * c[i] - b * sine;
            head[i + half_] = b * c[i] + a * sine;
        }
    }

    std::size_t half_;
    std::size_t positions_;
    std::vector<float> cos_;  // (positions, head_dim / 2)
    std::vector<float> sin_;
};

}  // namespace fpq
