// SPDX-License-Identifier: Apache-2.0
// Floor 2. A row to its packed codes under scales that were found before; one object a thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/format/block.hpp"
#include "fpq/quant/kernels/avx2_e2m1.hpp"
#include "fpq/quant/kernels/encode_lanes.hpp"
#include "fpq/quant/kernels/pack_words.hpp"
#include "fpq/quant/rounding.hpp"

namespace fpq::kernels {

class row_codes {
public:
    explicit row_codes(quant_format const& format, std::size_t cols)
        : format_(format),
          level_(active_simd_level()),
          rule_(encode_rule_of(format.element)),
          encode_(encode_lanes_at(level_)),
          codes_(cols) {}

    /// packed = the codes of x (cols). values, zeros (groups of the row); zeros null if symmetric.
    void encode(float const* x, float const* values, std::uint8_t const* zeros,
                std::uint8_t* packed) noexcept {
        std::size_t const cols = codes_.size();
        std::size_t const group = format_.group_of(cols);
        std::size_t const done = leading(x, values, group, packed);
        if (done == cols) {
            return;
        }
        // `done` is the end of a group.
        for (std::size_t g = done / group, first = done; first < cols; ++g, first += group) {
            std::size_t const n = std::min(group, cols - first);
            std::size_t const whole = values[g] == 0.0F ? 0 : n / 16 * 16;
            int const zero = zeros == nullptr ? 0 : zeros[g];
            if (zeros != nullptr) {
                rule_ = encode_rule_of_asymmetric(format_.element, zero);
            }
            std::uint8_t* const codes = codes_.data() + first;
            encode_(x + first, whole, values[g], rule_, codes);
            if (whole != n) {
                encode_group(format_.element, format_.symmetric, x + first + whole, n - whole,
                             values[g], zero, codes + whole);
            }
        }
        pack_codes(element_bits(format_.element), codes_.data() + done, cols - done,
                   packed + done / 2);
    }

private:
    /// Codes of a leading part of x, whole groups and an even number, whose length is returned.
    [[nodiscard]] std::size_t leading([[maybe_unused]] float const* x,
                                      [[maybe_unused]] float const* values,
                                      [[maybe_unused]] std::size_t group,
                                      [[maybe_unused]] std::uint8_t* packed) const noexcept {
#if FPQ_X86_KERNELS
        bool const known = format_.element == element_kind::e2m1 && format_.symmetric &&
                           (group == 16 || group % 32 == 0) && level_ != simd_level::generic;
        std::size_t const whole = known && group != 0 ? codes_.size() / 32 * 32 / group * group : 0;
        // abs_max may store a step of 0, which is not to be divided by.
        if (whole != 0 &&
            std::find(values, values + whole / group, 0.0F) == values + whole / group) {
            return e2m1_codes_avx2(x, whole, group, values, packed);
        }
#endif
        return 0;
    }

    quant_format format_;
    simd_level level_;
    encode_rule rule_;
    decltype(encode_lanes_at(simd_level::generic)) encode_;
    std::vector<std::uint8_t> codes_;  // of one row, a byte each
};

}  // namespace fpq::kernels
