// SPDX-License-Identifier: Apache-2.0
// Wing cuda. One value to a code and back inside the GPTQ kernel, on host and device, with the
// rounding of the CPU solver: code = encode(fl(w / step)). Integers take their width at run time,
// so that seven codecs serve every element.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/format/element.hpp"

namespace fpq::cuda {

/// A minifloat: the element's own encoder and decoder (format/minifloat.hpp).
template <class Element>
struct minifloat_codec {
    FPQ_HD std::uint8_t encode(float scaled, std::uint8_t) const noexcept {
        return Element::encode(scaled);
    }
    FPQ_HD float decode(std::uint8_t code, std::uint8_t) const noexcept {
        return Element::decode(code);
    }
};

/// E2M1 by arithmetic on the value: the same codes as the generic encoder for every float (NaN
/// gives +6), in a third of its instructions.
template <>
struct minifloat_codec<e2m1> {
    FPQ_HD std::uint8_t encode(float scaled, std::uint8_t) const noexcept {
        std::uint32_t const bits = bits_of<std::uint32_t>(scaled);
        std::uint32_t const rest = bits & 0x7FFFFFFFu;
        float const size = bits_of<float>(rest < 0x40C00000u ? rest : 0x40C00000u);  // at most 6
        // Spacing 1/2 below 2, then 1, then 2. Adding 2^22 spacings rounds to an even multiple of
        // the spacing on a tie, which is the even code; the low bits then count spacings.
        bool const second = size >= 2.0F;
        bool const third = size >= 4.0F;
        float const magic = third ? 12582912.0F * 2 : (second ? 12582912.0F : 12582912.0F / 2);
        std::uint32_t const count = bits_of<std::uint32_t>(size + magic) & 0xFu;
        std::uint32_t const code = count + (third ? 4u : (second ? 2u : 0u));
        std::uint32_t const sign = rest > 0x7F800000u ? 0u : (bits >> 28) & 8u;
        return static_cast<std::uint8_t>(code | sign);
    }
    FPQ_HD float decode(std::uint8_t code, std::uint8_t) const noexcept {
        // The three low bits as the top of a float's exponent and mantissa, rebased by 2^126.
        std::uint32_t const bits = (static_cast<std::uint32_t>(code & 7u) << 22) |
                                   (static_cast<std::uint32_t>(code & 8u) << 28);
        return bits_of<float>(bits) * 0x1p126F;
    }
};

/// Two's complement of `bits` bits; NaN gives 0 (format/element.hpp, signed_integer).
struct integer_codec {
    int bits;

    FPQ_HD std::uint8_t encode(float scaled, std::uint8_t) const noexcept {
        float const most = static_cast<float>((1 << (bits - 1)) - 1);
        float const least = static_cast<float>(-(1 << (bits - 1)));
        float const number = is_nan(scaled) ? 0.0F : scaled;
        float const low = number < least ? least : number;
        float const clamped = low > most ? most : low;
        std::uint32_t const mask = (1u << bits) - 1u;
        return static_cast<std::uint8_t>(bits_of<std::uint32_t>(clamped + 12582912.0F) & mask);
    }
    FPQ_HD float decode(std::uint8_t code, std::uint8_t) const noexcept {
        int const half = 1 << (bits - 1);
        return static_cast<float>((static_cast<int>(code) ^ half) - half);
    }
};

/// clamp(rne(x) + zero, 0, 2^bits - 1); NaN gives `zero` (quant/rounding.hpp, encode_asymmetric).
struct asymmetric_codec {
    int bits;

    FPQ_HD std::uint8_t encode(float scaled, std::uint8_t zero) const noexcept {
        float const low = static_cast<float>(-static_cast<int>(zero));
        float const high = static_cast<float>((1 << bits) - 1 - static_cast<int>(zero));
        float const number = is_nan(scaled) ? 0.0F : scaled;
        float const clamped = number < low ? low : (number > high ? high : number);
        float const rounded = (clamped + 12582912.0F) - 12582912.0F;
        return static_cast<std::uint8_t>(static_cast<int>(rounded) + static_cast<int>(zero));
    }
    FPQ_HD float decode(std::uint8_t code, std::uint8_t zero) const noexcept {
        return static_cast<float>(static_cast<int>(code) - static_cast<int>(zero));
    }
};

/// Calls f with the codec of an element and returns its result.
template <class F>
auto visit_gptq_codec(element_kind element, bool symmetric, F&& f) {
    int const bits = element_bits(element);
    if (!symmetric) {
        return f(asymmetric_codec{bits});
    }
    switch (element) {
        case element_kind::e2m1:
            return f(minifloat_codec<e2m1>{});
        case element_kind::e2m3:
            return f(minifloat_codec<e2m3>{});
        case element_kind::e3m2:
            return f(minifloat_codec<e3m2>{});
        case element_kind::e4m3:
            return f(minifloat_codec<e4m3>{});
        case element_kind::e5m2:
            return f(minifloat_codec<e5m2>{});
        default:
            return f(integer_codec{bits});
    }
}

}  // namespace fpq::cuda
