// SPDX-License-Identifier: Apache-2.0
// The Hadamard kernels, alone and in front of quantization, against the plain loops, bit for bit.
#include "fpq/transform/hadamard_quantize.hpp"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "support/limited_simd.hpp"

using fpq::simd_level;
using fpq_test::limited_simd;

namespace {

/// N(0, 1), with zeros of both signs and wide exponents here and there.
std::vector<float> values(std::size_t n) {
    std::vector<float> x(n);
    for (std::size_t i = 0; i < n; ++i) {
        float const r = fpq::philox{5, 9}.normal_at(i);
        x[i] = i % 29 == 0 ? std::copysign(0.0F, r)
                           : (i % 31 == 0 ? std::ldexp(r, static_cast<int>(i % 60) - 30) : r);
    }
    return x;
}

std::vector<float> rotated(std::vector<float> x, std::size_t block) {
    for (std::size_t i = 0; i < x.size(); i += block) {
        fpq::reference::hadamard_in_place(x.data() + i, block);
    }
    return x;
}

}  // namespace

TEST_CASE("the Hadamard kernels give the bits of the plain butterfly", "[transform][kernels]") {
    for (std::size_t block = 1; block <= 2048; block *= 2) {
        std::vector<float> const x = values(4096);
        std::vector<float> const expected = rotated(x, block);
        for (simd_level level : {simd_level::generic, simd_level::avx2, simd_level::avx512}) {
            limited_simd const only(level);
            std::vector<float> y = x;
            for (std::size_t i = 0; i < y.size(); i += block) {
                fpq::hadamard_in_place(y.data() + i, block);
            }
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < y.size(); ++i) {
                wrong +=
                    fpq::bits_of<std::uint32_t>(y[i]) != fpq::bits_of<std::uint32_t>(expected[i]);
            }
            INFO("block " << block << ", " << fpq_test::simd_level_name(level));
            REQUIRE(wrong == 0);
        }
    }
}

TEST_CASE("quantizing behind a Hadamard gives the bytes of rotating first",
          "[transform][kernels]") {
    for (std::size_t block : {1, 16, 32, 64, 128, 256, 512, 1024}) {
        std::size_t const cols = 5 * 1024;
        std::vector<float> x = values(6 * cols);
        x[cols + 3] = std::numeric_limits<float>::quiet_NaN();  // for the plain loops, with others
        std::vector<float> const y = rotated(x, block);
        for (fpq::quant_format const& f : {fpq::nvfp4, fpq::mxfp4, fpq::int_format(4, 128)}) {
            fpq::observer_options const options{
                .global_scale = f == fpq::mxfp4 ? 3.0F : (f == fpq::nvfp4 ? 512.0F : 1.0F)};
            fpq::packed_matrix const expected =
                fpq::reference::quantize(fpq::as_view(y.data(), 6, cols), f, options);
            for (simd_level level : {simd_level::generic, simd_level::avx2, simd_level::avx512}) {
                limited_simd const only(level);
                fpq::packed_matrix const q =
                    fpq::quantize_hadamard(fpq::as_view(x.data(), 6, cols), block, f, options, 2);
                INFO("block " << block << ", " << fpq_test::simd_level_name(level));
                REQUIRE(q.scales == expected.scales);
                REQUIRE(q.codes == expected.codes);
            }
        }
    }
}

TEST_CASE("a Hadamard block that does not divide the width is refused", "[transform]") {
    std::vector<float> const x(96);
    REQUIRE_THROWS_AS(fpq::quantize_hadamard(fpq::as_view(x.data(), 1, 96), 64, fpq::nvfp4, {}, 1),
                      fpq::error);
    REQUIRE_THROWS_AS(fpq::quantize_hadamard(fpq::as_view(x.data(), 1, 96), 48, fpq::nvfp4, {}, 1),
                      fpq::error);
}
