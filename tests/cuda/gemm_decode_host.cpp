// SPDX-License-Identifier: Apache-2.0
// Bitwise decoding of packed words against the formats' own decoders, over all codes and scales.
#include "fpq/cuda/gemm/w4a16_decode.hpp"

#include <cmath>
#include <cstdint>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/format/minifloat.hpp"

namespace {

float bf16_half(std::uint32_t pair, int half) {
    return fpq::to_float(fpq::bf16{static_cast<std::uint16_t>(pair >> (16 * half))});
}
float fp16_half(std::uint32_t pair, int half) {
    return fpq::to_float(fpq::fp16{static_cast<std::uint16_t>(pair >> (16 * half))});
}

}  // namespace

TEST_CASE("all words of two codes decode at every place, to both types", "[cuda][decode]") {
    // Two codes vary over all values at each pair of places; the others hold a fixed pattern.
    int wrong = 0;
    for (int i = 0; i < 8; ++i) {
        for (int j = 0; j < 8; ++j) {
            for (std::uint32_t codes = 0; codes < 256; ++codes) {
                std::uint32_t word = 0x9F3C52E1u;
                word = (word & ~(15u << (4 * i))) | ((codes & 15u) << (4 * i));
                word = (word & ~(15u << (4 * j))) | ((codes >> 4) << (4 * j));
                fpq::cuda::four_pairs const b = fpq::cuda::e2m1_to_bf16_pairs(word);
                fpq::cuda::four_pairs const h = fpq::cuda::e2m1_to_fp16_pairs(word);
                for (int k = 0; k < 8; ++k) {
                    float const value =
                        fpq::e2m1::decode(static_cast<std::uint8_t>(word >> (4 * k) & 15u));
                    float const from_bf16 = bf16_half(b.pair[k % 4], k / 4);
                    float const from_fp16 = fp16_half(h.pair[k % 4], k / 4);
                    wrong += from_bf16 != std::ldexp(value, -126) ? 1 : 0;
                    wrong += from_fp16 != std::ldexp(value, -14) ? 1 : 0;
                    wrong += std::signbit(from_bf16) != std::signbit(value) ? 1 : 0;
                    wrong += std::signbit(from_fp16) != std::signbit(value) ? 1 : 0;
                }
            }
        }
    }
    REQUIRE(wrong == 0);
}

TEST_CASE("E8M0 multipliers are the scale within the stated range and saturate above",
          "[cuda][decode]") {
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t const b = fpq::cuda::e8m0_to_bf16_multiplier(byte);
        std::uint32_t const h = fpq::cuda::e8m0_to_fp16_multiplier(byte);
        REQUIRE(b >> 16 == (b & 0xFFFFu));
        REQUIRE(h >> 16 == (h & 0xFFFFu));
        int const exponent = static_cast<int>(byte) - 127;
        if (byte == 255) {
            REQUIRE(std::isnan(bf16_half(b, 0)));
            REQUIRE(std::isnan(fp16_half(h, 0)));
            continue;
        }
        auto const check = [exponent](float found, fpq::cuda::decode_range range, int lost) {
            // code * 2^-lost * multiplier = value * scale * 2^shift
            if (exponent >= range.least) {
                int const held = exponent < range.most ? exponent : range.most;
                REQUIRE(found == std::ldexp(1.0F, held + lost + range.shift));
            } else {
                REQUIRE(found <= std::ldexp(1.0F, range.least + lost + range.shift));
            }
        };
        check(bf16_half(b, 0), fpq::cuda::mxfp4_bf16_range, 126);
        check(fp16_half(h, 0), fpq::cuda::mxfp4_fp16_range, 14);
    }
}

TEST_CASE("the least and largest products of the stated ranges are exact", "[cuda][decode]") {
    // Least code 0.5 times the least scale is a value of the type; largest 6 times the largest too.
    fpq::cuda::decode_range const b = fpq::cuda::mxfp4_bf16_range;
    REQUIRE(fpq::round_to_bf16(std::ldexp(0.5F, b.least + b.shift)) ==
            std::ldexp(0.5F, b.least + b.shift));
    REQUIRE(std::isfinite(fpq::round_to_bf16(std::ldexp(6.0F, b.most + b.shift))));
    fpq::cuda::decode_range const h = fpq::cuda::mxfp4_fp16_range;
    REQUIRE(fpq::round_to_fp16(std::ldexp(0.5F, h.least + h.shift)) ==
            std::ldexp(0.5F, h.least + h.shift));
    REQUIRE(std::isfinite(fpq::round_to_fp16(std::ldexp(6.0F, h.most + h.shift))));
    for (int code = 1; code <= fpq::e4m3::max_code; ++code) {
        float const scale = fpq::e4m3::decode(static_cast<std::uint8_t>(code));
        for (std::uint8_t element = 0; element < 8; ++element) {
            float const value = fpq::e2m1::decode(element) * scale;
            float const in_bf16 = std::ldexp(value, fpq::cuda::nvfp4_bf16_range.shift);
            float const in_fp16 = std::ldexp(value, fpq::cuda::nvfp4_fp16_range.shift);
            REQUIRE(fpq::round_to_bf16(in_bf16) == in_bf16);
            REQUIRE(fpq::round_to_fp16(in_fp16) == in_fp16);
        }
    }
}
