// SPDX-License-Identifier: Apache-2.0
// Floor 1. The element types a code can have, at compile time (minifloat, signed_integer) and as a
// run-time enum; visit_element is the one switch from the enum to a type.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/format/minifloat.hpp"

namespace fpq {

/// Two's complement integers of 2..8 bits, -2^(b-1) .. 2^(b-1) - 1, in the low bits of a byte.
template <int Bits>
struct signed_integer {
    static_assert(Bits >= 2 && Bits <= 8);
    static constexpr int bits = Bits;
    static constexpr int least = -(1 << (Bits - 1));
    static constexpr int most = (1 << (Bits - 1)) - 1;
    static constexpr float max = static_cast<float>(most);
    static constexpr std::uint8_t mask = static_cast<std::uint8_t>((1u << Bits) - 1u);

    FPQ_HD static constexpr float decode(std::uint8_t code) noexcept {
        int const low = code & mask;
        return static_cast<float>(low > most ? low - (1 << Bits) : low);
    }
    /// Nearest integer, halves to even, saturating at both ends; NaN gives 0.
    FPQ_HD static constexpr std::uint8_t encode(float x) noexcept {
        if (is_nan(x)) {
            return 0;
        }
        float const low = x < static_cast<float>(least) ? static_cast<float>(least) : x;
        float const clamped = low > max ? max : low;
        // 1.5 * 2^23: adding it leaves the rounded integer in the low mantissa bits.
        float const shifted = clamped + 12582912.0F;
        return static_cast<std::uint8_t>(bits_of<std::uint32_t>(shifted) & mask);
    }
};

/// Unsigned integers 0 .. 2^b - 1, the codes of asymmetric INT groups.
template <int Bits>
struct unsigned_integer {
    static_assert(Bits >= 2 && Bits <= 8);
    static constexpr int bits = Bits;
    static constexpr float max = static_cast<float>((1 << Bits) - 1);

    FPQ_HD static constexpr float decode(std::uint8_t code) noexcept {
        return static_cast<float>(code & static_cast<std::uint8_t>((1u << Bits) - 1u));
    }
    /// Nearest integer, halves to even, saturating; NaN gives 0.
    FPQ_HD static constexpr std::uint8_t encode(float x) noexcept {
        if (!(x > 0.0F)) {
            return 0;
        }
        float const shifted = (x > max ? max : x) + 8388608.0F;
        return static_cast<std::uint8_t>(bits_of<std::uint32_t>(shifted) & 0xFFu);
    }
};

// g++ 12 says that a scoped enumerator shadows a type of the same name; it does not hide it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
/// The element of a format chosen at run time.
enum class element_kind : std::uint8_t {
    e2m1,
    e2m3,
    e3m2,
    e4m3,
    e5m2,
    int2,
    int3,
    int4,
    int5,
    int6,
    int7,
    int8
};
#pragma GCC diagnostic pop

namespace detail {

template <class Element>
struct element_name;  // of the types that element_kind lists
template <>
struct element_name<e2m1> {
    static constexpr element_kind kind = element_kind::e2m1;
};
template <>
struct element_name<e2m3> {
    static constexpr element_kind kind = element_kind::e2m3;
};
template <>
struct element_name<e3m2> {
    static constexpr element_kind kind = element_kind::e3m2;
};
template <>
struct element_name<e4m3> {
    static constexpr element_kind kind = element_kind::e4m3;
};
template <>
struct element_name<e5m2> {
    static constexpr element_kind kind = element_kind::e5m2;
};

}  // namespace detail

/// The run-time name of a floating-point element.
template <class Element>
inline constexpr element_kind kind_of = detail::element_name<Element>::kind;

/// Calls f with a value of the element's type (empty; use decltype) and returns its result.
FPQ_CALLS_ARGUMENT
template <class F>
FPQ_HD constexpr auto visit_element(element_kind kind, F&& f) {
    switch (kind) {
        case element_kind::e2m3:
            return f(e2m3{});
        case element_kind::e3m2:
            return f(e3m2{});
        case element_kind::e4m3:
            return f(e4m3{});
        case element_kind::e5m2:
            return f(e5m2{});
        case element_kind::int2:
            return f(signed_integer<2>{});
        case element_kind::int3:
            return f(signed_integer<3>{});
        case element_kind::int4:
            return f(signed_integer<4>{});
        case element_kind::int5:
            return f(signed_integer<5>{});
        case element_kind::int6:
            return f(signed_integer<6>{});
        case element_kind::int7:
            return f(signed_integer<7>{});
        case element_kind::int8:
            return f(signed_integer<8>{});
        case element_kind::e2m1:
            break;
    }
    return f(e2m1{});
}

/// True for INT2..INT8.
FPQ_HD constexpr bool is_integer(element_kind kind) noexcept { return kind >= element_kind::int2; }

/// INT b, b in 2..8.
FPQ_HD constexpr element_kind integer_element(int bits) noexcept {
    return static_cast<element_kind>(static_cast<int>(element_kind::int2) + bits - 2);
}

/// Bits of one code.
FPQ_HD constexpr int element_bits(element_kind kind) noexcept {
    return visit_element(kind, [](auto element) { return decltype(element)::bits; });
}

/// The largest finite value: 6, 7.5, 28, 448, 57344; 2^(b-1) - 1 for INT b.
FPQ_HD constexpr float element_max(element_kind kind) noexcept {
    return visit_element(kind, [](auto element) { return decltype(element)::max; });
}

/// floor(log2(max)): what the MX scale rules subtract (OCP MX 1.0, section 6.3).
FPQ_HD constexpr int element_max_exponent(element_kind kind) noexcept {
    return floor_log2(element_max(kind));
}

/// Nearest code of an already scaled value; see the element's own encode.
FPQ_HD constexpr std::uint8_t encode_element(element_kind kind, float scaled) noexcept {
    return visit_element(kind,
                         [scaled](auto element) { return decltype(element)::encode(scaled); });
}

/// The exact value of a code.
FPQ_HD constexpr float decode_element(element_kind kind, std::uint8_t code) noexcept {
    return visit_element(kind, [code](auto element) { return decltype(element)::decode(code); });
}

}  // namespace fpq
