// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Which quantize kernel serves a request, and which requests are refused: pure host
// functions, tested without a GPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/quantize.hpp"

namespace fpq::cuda {

/// packed: 16-bit values, no rotation, a rule of the maximum. rotated: FP4 after Hadamard, or
/// quest. search: sweep and four_over_six of 16-bit values. general: everything.
enum class quantize_kernel : std::uint8_t { packed, rotated, search, general };

constexpr bool is_rotation(int size) noexcept {
    return size == 16 || size == 32 || size == 64 || size == 128;
}

/// Pointer and row stride are whole multiples of 16 bytes.
inline bool is_aligned(void const* data, std::size_t stride, float_type type) noexcept {
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && stride * float_bytes(type) % 16 == 0;
}

/// ok, or why the request is refused.
inline status check_quantize(float_matrix const& x, quantized_matrix const& q,
                             quantize_options const& options) noexcept {
    if (x.rows == 0 || x.cols == 0) {
        return {};
    }
    if (x.data == nullptr || q.codes == nullptr || q.scales == nullptr) {
        return refuse("quantize: x.data, q.codes, q.scales", "device pointers", "null");
    }
    if (x.stride < x.cols) {
        return refuse("quantize: x.stride", "at least x.cols", static_cast<long long>(x.stride));
    }
    if (reinterpret_cast<std::uintptr_t>(x.data) % float_bytes(x.type) != 0) {
        return refuse("quantize: x.data", "an address that fits its type", "a misaligned one");
    }
    if (!knows_rule(q.format, options.rule)) {
        return refuse("quantize: options.rule", name_of(q.format), name_of(options.rule));
    }
    if (options.global_scale_at == nullptr &&
        !(options.global_scale > 0.0F && options.global_scale <= 0x1p127F)) {
        return refuse("quantize: options.global_scale", "a positive finite number", "another");
    }
    bool const rotates = options.hadamard != 0;
    if (rotates && !is_rotation(options.hadamard)) {
        return refuse("quantize: options.hadamard", "0, 16, 32, 64 or 128", options.hadamard);
    }
    if (rotates && x.cols % static_cast<std::size_t>(options.hadamard) != 0) {
        return refuse("quantize: x.cols", "a multiple of options.hadamard",
                      static_cast<long long>(x.cols));
    }
    if (options.matrix != nullptr && !rotates) {
        return refuse("quantize: options.hadamard", "the size of options.matrix", "0");
    }
    if (options.stochastic && q.format == mxfp8_e4m3) {
        return refuse("quantize: options.stochastic", "an FP4 format", "mxfp8");
    }
    return {};
}

/// For a request that check_quantize accepts.
inline quantize_kernel choose_quantize(float_matrix const& x, quantized_matrix const& q,
                                       quantize_options const& options) noexcept {
    std::size_t const group = q.format.group;
    bool const fast = x.type != float_type::fp32 && x.cols % group == 0 &&
                      is_aligned(x.data, x.stride, x.type) &&
                      reinterpret_cast<std::uintptr_t>(q.codes) % 16 == 0 && !options.stochastic &&
                      options.matrix == nullptr && x.rows * x.cols / 16 < (std::size_t{1} << 30);
    if (!fast) {
        return quantize_kernel::general;
    }
    bool const searches =
        options.rule == scale_rule::sweep || options.rule == scale_rule::four_over_six;
    bool const quest = options.rule == scale_rule::quest;
    if (options.hadamard == 0) {
        return searches ? quantize_kernel::search
               : quest  ? quantize_kernel::general
                        : quantize_kernel::packed;
    }
    return searches || q.format == mxfp8_e4m3 ? quantize_kernel::general : quantize_kernel::rotated;
}

}  // namespace fpq::cuda
