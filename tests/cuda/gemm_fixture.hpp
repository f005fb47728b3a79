// SPDX-License-Identifier: Apache-2.0
// Packed random matrices, their values in double, and device copies: what the GPU tests of the
// matrix products share.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/minifloat.hpp"
#include "fpq/format/scale_layout.hpp"

namespace fpq_test {

/// Throws Catch2's failure with the launcher's own text.
inline void must(fpq::cuda::status const& s) {
    INFO(std::string(s.text));
    REQUIRE(s.ok());
}

template <class T>
fpq::cuda::device_buffer<T> on_device(std::vector<T> const& host) {
    fpq::cuda::device_buffer<T> buffer;
    must(buffer.resize(host.size()));
    must(buffer.upload(host.data()));
    return buffer;
}

template <class T>
std::vector<T> on_host(fpq::cuda::device_buffer<T> const& buffer) {
    std::vector<T> host(buffer.size());
    must(buffer.download(host.data()));
    return host;
}

/// exact: scales 1 .. 1.875 or 2^-1 .. 2^1, so that float32 sums of a few thousand products are
/// exact in any order; wide: scales over many octaves.
enum class range { exact, wide };

struct packed_matrix {
    fpq::quant_format format = fpq::nvfp4;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::vector<std::uint8_t> codes;
    std::vector<std::uint8_t> scales;    // row-major
    std::vector<std::uint8_t> swizzled;  // padding holds NaN

    std::size_t group() const { return format.group; }
    float scale(std::size_t row, std::size_t g) const {
        std::uint8_t const byte = scales[row * (cols / group()) + g];
        return format == fpq::nvfp4 ? fpq::e4m3::decode(byte) : fpq::e8m0::decode(byte);
    }
    float operator()(std::size_t row, std::size_t col) const {
        std::uint8_t const byte = codes[row * (cols / 2) + col / 2];
        return fpq::e2m1::decode(static_cast<std::uint8_t>(byte >> (col % 2 * 4) & 15u)) *
               scale(row, col / group());
    }
    /// Row `row` decoded.
    std::vector<float> decoded(std::size_t row) const {
        std::vector<float> values(cols);
        for (std::size_t j = 0; j < cols; ++j) {
            values[j] = (*this)(row, j);
        }
        return values;
    }
    void swizzle() {
        std::size_t const groups = cols / group();
        swizzled.resize(fpq::swizzled_scales{groups}.size(rows));
        std::uint8_t const nan = format == fpq::nvfp4 ? 0x7F : 0xFF;
        fpq::swizzle_scales(scales.data(), rows, groups, swizzled.data(), nan);
    }
};

inline packed_matrix random_packed(std::mt19937& gen, fpq::quant_format format, std::size_t rows,
                                   std::size_t cols, range r) {
    packed_matrix p;
    p.format = format;
    p.rows = rows;
    p.cols = cols;
    p.codes.resize(rows * cols / 2);
    p.scales.resize(rows * (cols / p.group()));
    for (auto& byte : p.codes) {
        byte = static_cast<std::uint8_t>(gen());
    }
    bool const nv = format == fpq::nvfp4;
    for (auto& byte : p.scales) {
        unsigned const least = nv                  ? (r == range::exact ? 0x38 : 0x01)
                               : r == range::exact ? 126
                                                   : 107;
        unsigned const count = nv ? (r == range::exact ? 8 : 0x7E) : r == range::exact ? 3 : 24;
        byte = static_cast<std::uint8_t>(least + gen() % count);
    }
    p.swizzle();
    return p;
}

/// ||found - expected|| / ||expected||; infinite where a found value is NaN.
inline double relative_error(std::vector<float> const& found, std::vector<double> const& expected) {
    double difference = 0.0;
    double norm = 0.0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        if (!(std::abs(static_cast<double>(found[i])) < 1e300)) {
            return HUGE_VAL;
        }
        double const d = static_cast<double>(found[i]) - expected[i];
        difference += d * d;
        norm += expected[i] * expected[i];
    }
    return std::sqrt(difference / norm);
}

/// How many of `found` differ from the expected values, which floats hold exactly.
inline std::size_t wrong_values(std::vector<float> const& found,
                                std::vector<double> const& expected) {
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        wrong += static_cast<double>(found[i]) == expected[i] ? 0 : 1;
    }
    return wrong;
}

}  // namespace fpq_test
