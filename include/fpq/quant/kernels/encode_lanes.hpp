// SPDX-License-Identifier: Apache-2.0
// Floor 2. Codes of one group, a register at a time: the arithmetic of the elements' own encoders
// without their branches, the element's constants as run-time values. One body on the compiler's
// vector types (NEON, SSE2), compiled once more for AVX2 and for AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fpq/core/bits.hpp"
#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/format/element.hpp"

namespace fpq::kernels {

/// Vectors of as many values as a register holds; wider ones g++ would take apart. Written out:
/// g++ 12 loses the attribute of a size that depends on a template parameter.
template <int Lanes>
struct lanes_of;
template <>
struct lanes_of<4> {
    using f32 = float __attribute__((vector_size(16)));
    using u32 = std::uint32_t __attribute__((vector_size(16)));
    using i32 = std::int32_t __attribute__((vector_size(16)));
    using u8 = std::uint8_t __attribute__((vector_size(4)));
};
template <>
struct lanes_of<8> {
    using f32 = float __attribute__((vector_size(32)));
    using u32 = std::uint32_t __attribute__((vector_size(32)));
    using i32 = std::int32_t __attribute__((vector_size(32)));
    using u8 = std::uint8_t __attribute__((vector_size(8)));
};
template <>
struct lanes_of<16> {
    using f32 = float __attribute__((vector_size(64)));
    using u32 = std::uint32_t __attribute__((vector_size(64)));
    using i32 = std::int32_t __attribute__((vector_size(64)));
    using u8 = std::uint8_t __attribute__((vector_size(16)));
};

/// What encode needs of an element; see minifloat::encode and signed_integer::encode.
struct encode_rule {
    bool integer = false;
    float low = 0.0F;  // integers: the ends of the grid
    float high = 0.0F;
    std::uint32_t zero = 0;      // asymmetric integers: added to the rounded value
    std::uint32_t nan_as = 0;    // code of NaN
    std::uint32_t nan_sign = 0;  // ... with NaN's sign, or without
    std::uint32_t mask = 0xFF;   // integers: bits of a code
    std::uint32_t max_bits = 0;  // floats: bits of the largest value, and of the least normal
    std::uint32_t normal_bits = 0;
    std::uint32_t max_code = 0;
    std::uint32_t rebase = 0;  // from float32's exponent bias to the element's
    int drop = 0;              // mantissa bits that rounding removes
    float magic = 0.0F;        // 2^23 subnormal steps
    int sign_down = 0;         // from float32's sign bit to the code's
};

/// The rule of an element with signed codes.
constexpr encode_rule encode_rule_of(element_kind kind) noexcept {
    return visit_element(kind, [](auto element) {
        using type = decltype(element);
        encode_rule r;
        if constexpr (requires { type::least; }) {
            r.integer = true;
            r.low = static_cast<float>(type::least);
            r.high = type::max;
            r.mask = type::mask;
        } else {
            r.max_bits = bits_of<std::uint32_t>(type::max);
            r.normal_bits = bits_of<std::uint32_t>(type::min_normal);
            r.max_code = type::max_code;
            r.nan_as = type::has_nan ? type::nan_code : type::max_code;
            r.nan_sign = type::has_nan ? 0x80000000u : 0u;
            r.rebase = static_cast<std::uint32_t>(126 + type::min_exponent) << 23;
            r.drop = 23 - type::mantissa_bits;
            r.magic = exp2_int(23 + type::min_exponent - type::mantissa_bits);
            r.sign_down = 32 - type::bits;
        }
        return r;
    });
}

/// The rule of unsigned codes around a zero point.
constexpr encode_rule encode_rule_of_asymmetric(element_kind kind, int zero) noexcept {
    encode_rule r;
    r.integer = true;
    r.low = static_cast<float>(-zero);
    r.high = static_cast<float>((1 << element_bits(kind)) - 1 - zero);
    r.zero = static_cast<std::uint32_t>(zero);
    r.nan_as = r.zero;
    return r;
}

/// codes[i] = encode(fl(w[i] / s)), i < n, n a multiple of 16.
template <int Lanes>
[[gnu::always_inline]] inline void encode_lanes_body(float const* w, std::size_t n, float s,
                                                     encode_rule const& r,
                                                     std::uint8_t* codes) noexcept {
    using f32 = typename lanes_of<Lanes>::f32;
    using u32 = typename lanes_of<Lanes>::u32;
    using u8 = typename lanes_of<Lanes>::u8;
    f32 const least = f32{} + r.low;
    f32 const most = f32{} + r.high;
    u32 const max_code = u32{} + r.max_code;
    for (std::size_t i = 0; i < n; i += Lanes) {
        f32 x;
        std::memcpy(&x, w + i, sizeof x);
        x = x / s;
        u32 bits;
        std::memcpy(&bits, &x, sizeof x);
        u32 const rest = bits & 0x7FFFFFFFu;
        u32 code;
        if (r.integer) {
            f32 const low = x < least ? least : x;
            f32 const clamped = low > most ? most : low;
            // 1.5 * 2^23: the rounded integer is in the low bits.
            f32 const shifted = clamped + 12582912.0F;
            std::memcpy(&code, &shifted, sizeof code);
            code = (code - 0x4B400000u + r.zero) & r.mask;
        } else {
            u32 const rebased = rest - r.rebase;
            u32 const half = (1u << (r.drop - 1)) - 1u + ((rebased >> r.drop) & 1u);
            u32 const rounded = (rebased + half) >> r.drop;
            f32 size;
            std::memcpy(&size, &rest, sizeof size);
            size = size + r.magic;
            u32 small;
            std::memcpy(&small, &size, sizeof small);
            code = rest >= r.normal_bits ? rounded : small & 0xFFu;
            code = rest >= r.max_bits ? max_code : code;
            code = code | ((bits & 0x80000000u) >> r.sign_down);
        }
        u32 const nan = ((bits & r.nan_sign) >> r.sign_down) | r.nan_as;
        code = rest > 0x7F800000u ? nan : code;
        u8 const out = __builtin_convertvector(code, u8);
        std::memcpy(codes + i, &out, sizeof out);
    }
}

inline void encode_lanes_generic(float const* w, std::size_t n, float s, encode_rule const& r,
                                 std::uint8_t* codes) noexcept {
    encode_lanes_body<4>(w, n, s, r, codes);
}
#if FPQ_X86_KERNELS
FPQ_AVX2 inline void encode_lanes_avx2(float const* w, std::size_t n, float s, encode_rule const& r,
                                       std::uint8_t* codes) noexcept {
    encode_lanes_body<8>(w, n, s, r, codes);
}
FPQ_AVX512 inline void encode_lanes_avx512(float const* w, std::size_t n, float s,
                                           encode_rule const& r, std::uint8_t* codes) noexcept {
    encode_lanes_body<16>(w, n, s, r, codes);
}
#endif

/// The body compiled for `level`.
inline auto encode_lanes_at(simd_level level) noexcept {
#if FPQ_X86_KERNELS
    if (level == simd_level::avx512) {
        return &encode_lanes_avx512;
    }
    if (level == simd_level::avx2) {
        return &encode_lanes_avx2;
    }
#endif
    static_cast<void>(level);
    return &encode_lanes_generic;
}

}  // namespace fpq::kernels
