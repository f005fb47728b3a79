// SPDX-License-Identifier: Apache-2.0
// Floor 1. A quantized matrix that somebody else owns, and the one rule that decodes it. Every
// dialect on disk is a relabelling of this view.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/core/half.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/pack.hpp"

namespace fpq {

/// The value of a stored scale; `bytes` points at 1 byte (e4m3, e8m0) or 2 (fp16, little-endian).
FPQ_HD constexpr float decode_scale(scale_kind kind, std::uint8_t const* bytes) noexcept {
    switch (kind) {
        case scale_kind::e4m3:
            return e4m3::decode(bytes[0]);
        case scale_kind::e8m0:
            return e8m0::decode(bytes[0]);
        case scale_kind::fp16:
            break;
    }
    return to_float(fp16{static_cast<std::uint16_t>(bytes[0] | (bytes[1] << 8))});
}

/// The step that a code is multiplied by: fl(stored / global), one float32 division.
FPQ_HD constexpr float effective_scale(float stored, float global_scale) noexcept {
    return stored / global_scale;
}

/// Non-owning (rows, cols) quantized matrix.
struct packed_view {
    quant_format format;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::uint8_t const* codes = nullptr;   // rows x format.row_bytes(cols)
    std::uint8_t const* scales = nullptr;  // (rows, groups) row-major, or one for grain tensor
    std::uint8_t const* zeros = nullptr;   // asymmetric INT: one byte a scale; null otherwise
    float global_scale = 1.0F;             // divisor style: value = element * scale / global_scale

    FPQ_HD constexpr std::size_t scale_index(std::size_t row, std::size_t g) const noexcept {
        return format.grain == granularity::tensor ? 0 : row * format.groups(cols) + g;
    }
    /// float32: fl(scale / global_scale).
    FPQ_HD constexpr float step(std::size_t row, std::size_t g) const noexcept {
        return effective_scale(
            decode_scale(format.scale, scales + scale_index(row, g) * format.scale_bytes_each()),
            global_scale);
    }
    /// The decoded value: fl(element * step), or fl((code - zero) * step) for asymmetric INT.
    FPQ_HD constexpr float operator()(std::size_t row, std::size_t col) const noexcept {
        std::size_t const g = col / format.group_of(cols);
        int const bits = element_bits(format.element);
        std::uint8_t const code = packed_code(bits, codes + row * format.row_bytes(cols), col);
        float const element = format.symmetric
                                  ? decode_element(format.element, code)
                                  : static_cast<float>(int{code} - zeros[scale_index(row, g)]);
        return element * step(row, g);
    }
};

}  // namespace fpq
