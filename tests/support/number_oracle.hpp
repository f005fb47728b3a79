// SPDX-License-Identifier: Apache-2.0
// Test support. What the small number formats mean, written a second time from their tables and in
// the slowest obvious way: decode with ldexp in double, encode by trying every code. It shares no
// line with include/fpq/format.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace fpq_test {

inline std::uint32_t float_bits(float x) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float float_from(std::uint32_t bits) {
    float x = 0;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

/// A row of the table of formats: OCP MX 1.0 and OFP8 1.0.
struct float_facts {
    char const* name;
    int exponent_bits;
    int mantissa_bits;
    int bias;
    int non_finite;  // codes above the largest finite one, per sign: 0, 1 (E4M3), 4 (E5M2)
    double max;
    double min_normal;
    double min_subnormal;

    int bits() const { return 1 + exponent_bits + mantissa_bits; }
    int sign_bit() const { return 1 << (bits() - 1); }
    int max_code() const { return sign_bit() - 1 - non_finite; }
    /// The value of a finite code, sign included.
    double value(int code) const {
        int const low = code & (sign_bit() - 1);
        int const exponent = low >> mantissa_bits;
        double const fraction = std::ldexp(low & ((1 << mantissa_bits) - 1), -mantissa_bits);
        double const size = exponent == 0 ? std::ldexp(fraction, 1 - bias)
                                          : std::ldexp(1.0 + fraction, exponent - bias);
        return (code & sign_bit()) != 0 ? -size : size;
    }
    /// Nearest code of a number that is not NaN: every code tried, ties to the even code.
    int nearest(float x) const {
        double const size = std::fabs(static_cast<double>(x));
        int best = max_code();
        if (size < max) {
            double least = std::numeric_limits<double>::infinity();
            for (int code = 0; code <= max_code(); ++code) {
                double const distance = std::fabs(size - value(code));
                if (distance < least || (distance == least && code % 2 == 0)) {
                    least = distance;
                    best = code;
                }
            }
        }
        return best | (std::signbit(x) ? sign_bit() : 0);
    }
};

inline float_facts const e2m1_facts{"e2m1", 2, 1, 1, 0, 6.0, 1.0, 0.5};
inline float_facts const e2m3_facts{"e2m3", 2, 3, 1, 0, 7.5, 1.0, 0.125};
inline float_facts const e3m2_facts{"e3m2", 3, 2, 3, 0, 28.0, 0.25, 0.0625};
inline float_facts const e4m3_facts{"e4m3", 4, 3, 7, 1, 448.0, 0x1p-6, 0x1p-9};
inline float_facts const e5m2_facts{"e5m2", 5, 2, 15, 4, 57344.0, 0x1p-14, 0x1p-16};

/// Each value with the float32 just below and just above it.
inline std::vector<float> with_neighbours(std::vector<double> const& exact) {
    std::vector<float> out;
    for (double const x : exact) {
        auto const f = static_cast<float>(x);
        out.push_back(std::nextafterf(f, -INFINITY));
        out.push_back(f);
        out.push_back(std::nextafterf(f, INFINITY));
    }
    return out;
}

/// Every level and every midpoint of two neighbours, each with both float neighbours, and
/// specials. `levels` ascending and not negative; both signs come out, without NaN.
inline std::vector<float> probes(std::vector<double> const& levels) {
    std::vector<double> exact = levels;
    for (std::size_t i = 1; i < levels.size(); ++i) {
        exact.push_back((levels[i - 1] + levels[i]) / 2);
    }
    std::vector<float> out = with_neighbours(exact);
    for (std::uint32_t const bits : {0u, 1u, 2u, 0x007FFFFFu, 0x00800000u, 0x00800001u, 0x3F800000u,
                                     0x40490FDBu, 0x7F7FFFFFu, 0x7F800000u}) {
        out.push_back(float_from(bits));
    }
    std::size_t const half = out.size();
    for (std::size_t i = 0; i < half; ++i) {
        out.push_back(-out[i]);
    }
    return out;
}

/// The non-negative finite values of a format, ascending.
inline std::vector<double> levels_of(float_facts const& f) {
    std::vector<double> out;
    for (int code = 0; code <= f.max_code(); ++code) {
        out.push_back(f.value(code));
    }
    return out;
}

/// Value of IEEE binary16 bits (finite), by ldexp.
inline double half_value(std::uint16_t bits) {
    int const exponent = (bits >> 10) & 31;
    int const fraction = bits & 1023;
    double const size =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    return (bits & 0x8000) != 0 ? -size : size;
}

}  // namespace fpq_test
