// SPDX-License-Identifier: Apache-2.0
// Floor 2. Whole rows of codes to float32 or bf16 by the fastest kernel that this processor and
// format have; the plain table loop does the rest.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/quant/kernels/avx2_e2m1.hpp"
#include "fpq/quant/kernels/avx512_dequantize.hpp"
#include "fpq/quant/kernels/pack_words.hpp"

namespace fpq::kernels {

/// Rows of one packed matrix to T, one at a time; copies share one table.
template <class T>
class row_decoder {
public:
    explicit row_decoder(packed_view const& q)
        : q_(q),
          bits_(element_bits(q.format.element)),
          group_(q.format.group_of(q.cols)),
          level_(active_simd_level()),
          steps_(q.format.groups(q.cols)),
          zeros_(q.format.symmetric ? 0 : steps_.size()),
          codes_(q.cols) {
        for (std::size_t code = 0; code < (std::size_t{1} << bits_); ++code) {
            auto const c = static_cast<std::uint8_t>(code);
            table_[code] =
                q.format.symmetric ? decode_element(q.format.element, c) : static_cast<float>(c);
        }
        if (q.format.scale_bytes_each() == 1) {
            for (std::size_t byte = 0; byte < 256; ++byte) {
                auto const stored = static_cast<std::uint8_t>(byte);
                float const scale = q.format.scale == scale_kind::e8m0 ? e8m0::decode(stored)
                                                                       : e4m3::decode(stored);
                step_of_byte_[byte] = effective_scale(scale, q.global_scale);
            }
        }
        make_byte_values();
    }

    /// Row i to out (cols). bf16: the float value rounded once. past: beside the caches.
    void row(std::size_t i, T* out, bool past) {
        std::size_t done = by_byte(i, out, past);
        if (done == q_.cols) {
            return;
        }
        find_steps(i);
        if (done == 0) {
            done = fast_part(i, out);
        }
        if (done == q_.cols) {
            return;
        }
        std::uint8_t const* const row = q_.codes + i * q_.format.row_bytes(q_.cols);
        // `done` is a multiple of 8, or 0: its codes end on a byte.
        std::size_t const skipped = done * static_cast<std::size_t>(bits_) / 8;
        unpack_codes(bits_, row + skipped, q_.cols - done, codes_.data() + done);
        for (std::size_t first = done; first < q_.cols;) {
            std::size_t const g = first / group_;
            std::size_t const last = std::min(q_.cols, (g + 1) * group_);
            float const s = steps_[g];
            float const zero = zeros_.empty() ? 0.0F : zeros_[g];
            for (; first < last; ++first) {
                float const value = (table_[codes_[first]] - zero) * s;
                if constexpr (std::is_same_v<T, bf16>) {
                    out[first] = to_bf16(value);
                } else {
                    out[first] = value;
                }
            }
        }
    }

private:
    void find_steps(std::size_t i) {
        bool const bytes =
            q_.format.scale_bytes_each() == 1 && q_.format.grain != granularity::tensor;
        std::uint8_t const* const stored = q_.scales + (bytes ? i * steps_.size() : 0);
        for (std::size_t g = 0; g < steps_.size(); ++g) {
            steps_[g] = bytes ? step_of_byte_[stored[g]] : q_.step(i, g);
        }
        for (std::size_t g = 0; g < zeros_.size(); ++g) {
            zeros_[g] = static_cast<float>(q_.zeros[q_.scale_index(i, g)]);
        }
    }

    /// Values of every byte, for the formats whose groups are small and many.
    void make_byte_values() {
#if FPQ_X86_KERNELS
        if (level_ != simd_level::avx512 || !(q_.format == nvfp4 || q_.format == mxfp4)) {
            return;
        }
        auto const made = std::make_shared<byte_values<T>>();
        fill_byte_values(table_.data(), step_of_byte_.data(), *made);
        byte_values_ = made;
#endif
    }

    /// Decodes a leading part of the row, a multiple of 32 values (or none), and returns its
    /// length.
    std::size_t by_byte([[maybe_unused]] std::size_t i, [[maybe_unused]] T* out,
                        [[maybe_unused]] bool past) const {
#if FPQ_X86_KERNELS
        if (byte_values_ != nullptr) {
            std::size_t const n = q_.cols / 32 * 32;
            auto const decode =
                group_ == 16 ? &decode_by_byte_avx512<16, T> : &decode_by_byte_avx512<32, T>;
            decode(q_.codes + i * q_.format.row_bytes(q_.cols), q_.scales + i * steps_.size(), n,
                   *byte_values_, out, past);
            return n;
        }
#endif
        return 0;
    }

    /// The same after find_steps, for the other formats.
    std::size_t fast_part([[maybe_unused]] std::size_t i, [[maybe_unused]] T* out) {
#if FPQ_X86_KERNELS
        std::uint8_t const* const row = q_.codes + i * q_.format.row_bytes(q_.cols);
        if constexpr (std::is_same_v<T, float>) {
            bool const four_bits = q_.format.element == element_kind::e2m1 && q_.format.symmetric;
            if (level_ == simd_level::avx2 && four_bits && group_ % 16 == 0) {
                return e2m1_values_avx2(row, q_.cols, group_, steps_.data(), out);
            }
        }
        bool const whole_row = group_ == q_.cols;
        if (level_ != simd_level::avx512 || (group_ % 16 != 0 && !whole_row)) {
            return 0;
        }
        std::size_t const n = q_.cols / 32 * 32;
        std::size_t const group = whole_row ? std::max<std::size_t>(n, 32) : group_;
        decode_row r{row, group, table_.data(), steps_.data(),
                     zeros_.empty() ? nullptr : zeros_.data()};
        if (bits_ == 4) {
            if (std::is_same_v<T, bf16> && !std::all_of(steps_.begin(), steps_.end(), narrows)) {
                return 0;
            }
            decode_nibbles_avx512(r, n, out);
            return n;
        }
        if constexpr (std::is_same_v<T, float>) {
            if (bits_ != 8) {
                unpack_codes(bits_, row, n, codes_.data());
                r.codes = codes_.data();
            }
            decode_bytes_avx512(r, n, out);
            return n;
        }
#endif
        return 0;
    }

    /// 4-bit values under such a step stay finite and are no NaN.
    static bool narrows(float step) noexcept { return magnitude(step) <= 0x1p120F; }

    packed_view q_;
    int bits_;
    std::size_t group_;
    simd_level level_;
    std::array<float, 256> table_{};
    std::array<float, 256> step_of_byte_{};
    std::vector<float> steps_;  // of one row
    std::vector<float> zeros_;
    std::vector<std::uint8_t> codes_;
#if FPQ_X86_KERNELS
    std::shared_ptr<byte_values<T> const> byte_values_;  // null: not for this format
#endif
};

/// out (rows, cols) = the decoded values, float or bf16.
template <class T>
void dequantize_rows(packed_view const& q, matrix_view<T> out, int threads) {
    // Beyond this, lines that are written only push others out of the caches.
    bool const past = q.rows * q.cols * sizeof(T) > (std::size_t{16} << 20);
    std::size_t const chunk = std::max<std::size_t>(1, 32768 / std::max<std::size_t>(1, q.cols));
    row_decoder<T> const prototype(q);
    parallel_for(q.rows, chunk, threads, [&](std::size_t begin, std::size_t end) {
        row_decoder<T> decoder = prototype;
        for (std::size_t i = begin; i < end; ++i) {
            decoder.row(i, out.row(i), past);
        }
    });
}

}  // namespace fpq::kernels
