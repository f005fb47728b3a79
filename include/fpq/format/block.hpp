// SPDX-License-Identifier: Apache-2.0
// Floor 1. Block formats: which element, which scale, over how many values. A description only,
// never storage (packed.hpp views it). Groups run along a row; when the width is not a multiple of
// the group, the last group of each row is shorter and has a scale of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/format/element.hpp"

namespace fpq {

// g++ 12 says that a scoped enumerator shadows a type of the same name; it does not hide it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
/// How a scale is stored.
enum class scale_kind : std::uint8_t { fp16, e8m0, e4m3 };
#pragma GCC diagnostic pop
enum class granularity : std::uint8_t { tensor, channel, group };
enum class format_family : std::uint8_t { integer, fp, nvfp, mxfp };

FPQ_HD constexpr std::size_t scale_bytes(scale_kind kind) noexcept {
    return kind == scale_kind::fp16 ? 2 : 1;
}

/// A run-time block format.
struct quant_format {
    format_family family = format_family::nvfp;
    element_kind element = element_kind::e2m1;
    scale_kind scale = scale_kind::e4m3;
    granularity grain = granularity::group;
    std::size_t group = 16;  // values a scale; read only when grain is group
    bool symmetric = true;   // false: INT codes are unsigned and a group has a zero point

    /// Values that share a scale within one row of `cols`.
    FPQ_HD constexpr std::size_t group_of(std::size_t cols) const noexcept {
        return grain == granularity::group ? group : cols;
    }
    /// Groups of one row: ceil(cols / group); a ragged tail is a short last group.
    FPQ_HD constexpr std::size_t groups(std::size_t cols) const noexcept {
        std::size_t const g = group_of(cols);
        return g == 0 ? 0 : (cols + g - 1) / g;
    }
    /// Stored scales of a (rows, cols) matrix; one in all for granularity tensor.
    FPQ_HD constexpr std::size_t scale_count(std::size_t rows, std::size_t cols) const noexcept {
        return grain == granularity::tensor ? std::size_t{1} : rows * groups(cols);
    }
    FPQ_HD constexpr std::size_t scale_bytes_each() const noexcept { return scale_bytes(scale); }
    /// Bytes of the codes of one row: ceil(cols * bits / 8); rows start on a byte.
    FPQ_HD constexpr std::size_t row_bytes(std::size_t cols) const noexcept {
        return (cols * static_cast<std::size_t>(element_bits(element)) + 7) / 8;
    }
    /// Codes, scales, zero points and the fp32 global scale (NVFP only), per weight.
    FPQ_HD constexpr double bits_per_value(std::size_t rows, std::size_t cols) const noexcept {
        std::size_t const scales = scale_count(rows, cols);
        std::size_t const bytes = rows * row_bytes(cols) + scales * scale_bytes_each() +
                                  (symmetric ? 0 : scales) +
                                  (family == format_family::nvfp ? 4 : 0);
        return 8.0 * static_cast<double>(bytes) / static_cast<double>(rows * cols);
    }
    FPQ_HD constexpr bool operator==(quant_format const& o) const noexcept {
        return family == o.family && element == o.element && scale == o.scale && grain == o.grain &&
               (grain != granularity::group || group == o.group) && symmetric == o.symmetric;
    }
};

/// NVFP4: E2M1, one E4M3 scale a group of 16, one fp32 global scale a tensor.
inline constexpr quant_format nvfp4{
    format_family::nvfp, element_kind::e2m1, scale_kind::e4m3, granularity::group, 16, true};
/// MXFP4/6/8: OCP MX 1.0, one E8M0 scale a group of 32.
inline constexpr quant_format mxfp4{
    format_family::mxfp, element_kind::e2m1, scale_kind::e8m0, granularity::group, 32, true};
inline constexpr quant_format mxfp6_e2m3{
    format_family::mxfp, element_kind::e2m3, scale_kind::e8m0, granularity::group, 32, true};
inline constexpr quant_format mxfp6_e3m2{
    format_family::mxfp, element_kind::e3m2, scale_kind::e8m0, granularity::group, 32, true};
inline constexpr quant_format mxfp8_e4m3{
    format_family::mxfp, element_kind::e4m3, scale_kind::e8m0, granularity::group, 32, true};
inline constexpr quant_format mxfp8_e5m2{
    format_family::mxfp, element_kind::e5m2, scale_kind::e8m0, granularity::group, 32, true};

/// Plain FP4 with fp16 scales.
constexpr quant_format fp4(std::size_t group, granularity grain = granularity::group) noexcept {
    return {format_family::fp, element_kind::e2m1, scale_kind::fp16, grain, group, true};
}

/// INT b with fp16 scales, b in 2..8.
constexpr quant_format int_format(int bits, std::size_t group, bool symmetric = true,
                                  granularity grain = granularity::group) noexcept {
    return {
        format_family::integer, integer_element(bits), scale_kind::fp16, grain, group, symmetric};
}

/// The compile-time face of a block format, for kernels that fix it.
template <class Element, scale_kind Scale, std::size_t Group>
struct block_scaled {
    using element = Element;
    static constexpr scale_kind scale = Scale;
    static constexpr std::size_t group = Group;

    FPQ_HD static constexpr std::size_t scale_count(std::size_t rows, std::size_t cols) noexcept {
        return rows * ((cols + Group - 1) / Group);
    }
    FPQ_HD static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return (cols * static_cast<std::size_t>(Element::bits) + 7) / 8;
    }
    static constexpr double bits_per_value =
        Element::bits + 8.0 * static_cast<double>(scale_bytes(Scale)) / static_cast<double>(Group);
};

using nvfp4_block = block_scaled<e2m1, scale_kind::e4m3, 16>;
using mxfp4_block = block_scaled<e2m1, scale_kind::e8m0, 32>;
using mxfp6_e2m3_block = block_scaled<e2m3, scale_kind::e8m0, 32>;
using mxfp6_e3m2_block = block_scaled<e3m2, scale_kind::e8m0, 32>;
using mxfp8_e4m3_block = block_scaled<e4m3, scale_kind::e8m0, 32>;
using mxfp8_e5m2_block = block_scaled<e5m2, scale_kind::e8m0, 32>;

static_assert(nvfp4_block::bits_per_value == 4.5 && mxfp4_block::bits_per_value == 4.25);

}  // namespace fpq
