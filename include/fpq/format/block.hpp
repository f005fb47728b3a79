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
/// What shares a scale: the whole tensor, one row, or a group of values within a row.
enum class granularity : std::uint8_t { tensor, channel, group };

/// Bytes of one stored scale.
FPQ_HD constexpr std::size_t scale_bytes(scale_kind kind) noexcept {
    return kind == scale_kind::fp16 ? 2 : 1;
}

/// A run-time block format.
struct quant_format {
    element_kind element = element_kind::e2m1;
    scale_kind scale = scale_kind::e4m3;
    granularity grain = granularity::group;
    std::size_t group = 16;  // values a scale; read only when grain is group
    bool symmetric = true;   // false: INT codes are unsigned and a group has a zero point
    bool has_global = true;  // one fp32 global scale a tensor is stored beside the group scales

    /// Values that share a scale within one row of `cols`.
    FPQ_HD constexpr std::size_t group_of(std::size_t cols) const noexcept {
        return grain == granularity::group ? group : cols;
    }
    /// Groups of one row: ceil(cols / group); a ragged tail is a short last group.
    FPQ_HD constexpr std::size_t groups(std::size_t cols) const noexcept {
        std::size_t const g = group_of(cols);
        return g == 0 ? 0 : (cols + g - 1) / g;
    }
    /// True when the last group of a row holds fewer values than the others.
    FPQ_HD constexpr bool has_short_tail(std::size_t cols) const noexcept {
        std::size_t const g = group_of(cols);
        return g != 0 && cols % g != 0;
    }
    /// Values in group g of a row, g < groups(cols): group_of(cols), fewer in a short tail.
    FPQ_HD constexpr std::size_t group_length(std::size_t cols, std::size_t g) const noexcept {
        std::size_t const full = group_of(cols);
        std::size_t const left = cols - g * full;
        return left < full ? left : full;
    }
    /// Stored scales of a (rows, cols) matrix; one in all for granularity tensor.
    FPQ_HD constexpr std::size_t scale_count(std::size_t rows, std::size_t cols) const noexcept {
        return grain == granularity::tensor ? std::size_t{1} : rows * groups(cols);
    }
    /// Bytes of one stored scale.
    FPQ_HD constexpr std::size_t scale_bytes_each() const noexcept { return scale_bytes(scale); }
    /// Bytes of the codes of one row: ceil(cols * bits / 8); rows start on a byte.
    FPQ_HD constexpr std::size_t row_bytes(std::size_t cols) const noexcept {
        return (cols * static_cast<std::size_t>(element_bits(element)) + 7) / 8;
    }
    /// Bytes of a (rows, cols) matrix: codes, scales, zero points and the fp32 global scale.
    FPQ_HD constexpr std::size_t bytes(std::size_t rows, std::size_t cols) const noexcept {
        std::size_t const scales = scale_count(rows, cols);
        return rows * row_bytes(cols) + scales * scale_bytes_each() + (symmetric ? 0 : scales) +
               (has_global ? sizeof(float) : 0);
    }
    /// The same in bits per value; 0 if empty.
    FPQ_HD constexpr double bits_per_value(std::size_t rows, std::size_t cols) const noexcept {
        if (rows == 0 || cols == 0) {
            return 0.0;
        }
        return 8.0 * static_cast<double>(bytes(rows, cols)) / static_cast<double>(rows * cols);
    }
    /// Same bytes mean the same values; the group counts only where grain is group.
    FPQ_HD constexpr bool operator==(quant_format const& o) const noexcept {
        return has_global == o.has_global && element == o.element && scale == o.scale &&
               grain == o.grain && (grain != granularity::group || group == o.group) &&
               symmetric == o.symmetric;
    }
};

// In device code copy these constants into a local constexpr variable before calling a member:
// nvcc gives a namespace-scope constant no address there.

/// NVFP4: E2M1, one E4M3 scale a group of 16, one fp32 global scale a tensor.
inline constexpr quant_format nvfp4{
    element_kind::e2m1, scale_kind::e4m3, granularity::group, 16, true, true};
/// MXFP4/6/8: OCP MX 1.0, one E8M0 scale a group of 32.
inline constexpr quant_format mxfp4{
    element_kind::e2m1, scale_kind::e8m0, granularity::group, 32, true, false};
inline constexpr quant_format mxfp6_e2m3{
    element_kind::e2m3, scale_kind::e8m0, granularity::group, 32, true, false};
inline constexpr quant_format mxfp6_e3m2{
    element_kind::e3m2, scale_kind::e8m0, granularity::group, 32, true, false};
inline constexpr quant_format mxfp8_e4m3{
    element_kind::e4m3, scale_kind::e8m0, granularity::group, 32, true, false};
inline constexpr quant_format mxfp8_e5m2{
    element_kind::e5m2, scale_kind::e8m0, granularity::group, 32, true, false};

/// Of a format that is one of the constants above; "another format" for all others.
constexpr char const* name_of(quant_format const& format) noexcept {
    return format == nvfp4        ? "nvfp4"
           : format == mxfp4      ? "mxfp4"
           : format == mxfp6_e2m3 ? "mxfp6_e2m3"
           : format == mxfp6_e3m2 ? "mxfp6_e3m2"
           : format == mxfp8_e4m3 ? "mxfp8_e4m3"
           : format == mxfp8_e5m2 ? "mxfp8_e5m2"
                                  : "another format";
}

/// Plain FP4 with fp16 scales.
FPQ_HD constexpr quant_format fp4(std::size_t group,
                                  granularity grain = granularity::group) noexcept {
    return {element_kind::e2m1, scale_kind::fp16, grain, group, true, false};
}

/// INT b with fp16 scales, b in 2..8.
FPQ_HD constexpr quant_format int_format(int bits, std::size_t group, bool symmetric = true,
                                         granularity grain = granularity::group) noexcept {
    return {integer_element(bits), scale_kind::fp16, grain, group, symmetric, false};
}

/// The compile-time face of a block format, for kernels that fix it. A description, never storage.
template <class Element, scale_kind Scale, std::size_t Group>
struct block_scaled {
    static_assert(Group > 0);
    using element = Element;
    static constexpr scale_kind scale = Scale;
    static constexpr std::size_t group = Group;
    /// E4M3 scales come with one fp32 global scale a tensor (NVFP4); E8M0 scales do not.
    static constexpr bool has_global_scale = Scale == scale_kind::e4m3;
    /// The same at run time.
    static constexpr quant_format format{kind_of<Element>, Scale, granularity::group, Group, true,
                                         has_global_scale};

    FPQ_HD static constexpr std::size_t scale_count(std::size_t rows, std::size_t cols) noexcept {
        return rows * ((cols + Group - 1) / Group);
    }
    FPQ_HD static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return (cols * static_cast<std::size_t>(Element::bits) + 7) / 8;
    }
    FPQ_HD static constexpr std::size_t code_bytes(std::size_t rows, std::size_t cols) noexcept {
        return rows * row_bytes(cols);
    }
    /// Of a whole group; the global scale of a tensor is not counted.
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

/// Calls f with the compile-time block of a format that has one (NVFP4 and the MX formats) and
/// returns true; returns false for formats whose group is chosen at run time. Host only: it
/// chooses what to launch.
template <class F>
constexpr bool visit_format(quant_format const& format, F&& f) {
    if (format == nvfp4) {
        f(nvfp4_block{});
    } else if (format == mxfp4) {
        f(mxfp4_block{});
    } else if (format == mxfp6_e2m3) {
        f(mxfp6_e2m3_block{});
    } else if (format == mxfp6_e3m2) {
        f(mxfp6_e3m2_block{});
    } else if (format == mxfp8_e4m3) {
        f(mxfp8_e4m3_block{});
    } else if (format == mxfp8_e5m2) {
        f(mxfp8_e5m2_block{});
    } else {
        return false;
    }
    return true;
}

}  // namespace fpq
