// SPDX-License-Identifier: Apache-2.0
// Codes by reciprocals against codes by division, where they could differ: at and around the
// midpoints, for every significand of bf16 and fp16 values near them.
#include "fpq/cuda/ptx/reciprocal.cuh"

#include <cmath>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/quantize/e2m1_codes.cuh"
#include "fpq/format/minifloat.hpp"

using namespace fpq::cuda;

namespace {

std::uint32_t wrong_codes(float s) {
    std::uint32_t wrong = 0;
    half_reciprocal const r = half_reciprocal_of(s);
    auto const check = [&](float w) {
        std::uint32_t const code = e2m1_pattern(half_quotient(w, r)) - e2m1_origin_bits;
        wrong += code == (fpq::e2m1::encode(w / s) & 7u) ? 0u : 1u;
    };
    for (float m : {0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F}) {
        std::uint32_t const middle = fpq::bits_of<std::uint32_t>(m * s);
        for (std::uint32_t step = 0; step < 4; ++step) {
            check(fpq::bits_of<float>(((middle >> 16) - 1 + step) << 16));  // bf16 neighbours
            check(fpq::bits_of<float>(((middle >> 13) - 1 + step) << 13));  // fp16 significands
        }
    }
    return wrong;
}

}  // namespace

TEST_CASE("codes by reciprocal are codes by division for 16-bit values", "[cuda]") {
    std::uint32_t wrong = 0;
    for (int significand = 8; significand < 16; ++significand) {  // E4M3 over powers of two
        wrong += wrong_codes(static_cast<float>(significand) * 0x1p-9F);
        wrong += wrong_codes(static_cast<float>(significand) / 3.0F);
    }
    for (std::uint32_t i = 0; i < 400000; ++i) {  // any step
        std::uint32_t const bits = fpq::philox{5, 1}.at(i);
        wrong += wrong_codes(fpq::bits_of<float>(0x3C000000u + (bits & 0x07FFFFFFu)));
    }
    // Every significand of 11 bits, every midpoint, every step that puts one near the other.
    for (std::uint32_t significand = 1024; significand < 2048; ++significand) {
        float const w = static_cast<float>(significand);
        for (float m : {0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F}) {
            for (int ulp = -6; ulp <= 6; ++ulp) {
                float const s = fpq::bits_of<float>(fpq::bits_of<std::uint32_t>(w / m) +
                                                    static_cast<std::uint32_t>(ulp));
                std::uint32_t const code =
                    e2m1_pattern(half_quotient(w, half_reciprocal_of(s))) - e2m1_origin_bits;
                wrong += code == fpq::e2m1::encode(w / s) ? 0u : 1u;
            }
        }
    }
    REQUIRE(wrong == 0);
}

TEST_CASE("a sixth is the quotient by six", "[cuda]") {
    std::uint32_t wrong = 0;
    for (std::uint32_t i = 0; i < 1000000; ++i) {
        float const a = fpq::bits_of<float>(0x10000000u +
                                            (fpq::philox{5, 2}.at(i) & 0x5FFFFFFFu) % 0x5F000000u);
        wrong += sixth_of(a) == a / 6.0F || !is_plain_maximum(a) ? 0u : 1u;
    }
    REQUIRE(wrong == 0);
    REQUIRE(sixth_of(0.0F) == 0.0F);
    REQUIRE_FALSE(is_plain_maximum(NAN));
    REQUIRE_FALSE(is_plain_global(NAN));
}
