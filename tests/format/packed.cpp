// SPDX-License-Identifier: Apache-2.0
// The one decode rule, on matrices of random codes and scales in every format, compared with the
// same rule written from the specification: value = fl(element * fl(scale / global)).
#include "fpq/format/packed.hpp"

#include <cmath>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "support/number_oracle.hpp"

namespace {

using fpq::element_kind;
using fpq::granularity;
using fpq::quant_format;
using fpq::scale_kind;

constexpr bool decodes_at_compile_time() {
    std::uint8_t const codes[] = {0x21, 0x0F};  // codes 1, 2, 15 = 0.5, 1, -6
    std::uint8_t const scales[] = {0x40};       // E4M3 2.0
    fpq::packed_view const view{fpq::nvfp4, 1, 3, codes, scales, nullptr, 4.0F};
    return view(0, 0) == 0.25F && view(0, 1) == 0.5F && view(0, 2) == -3.0F &&
           view.step(0, 0) == 0.5F;
}
static_assert(decodes_at_compile_time());

double slow_element(element_kind kind, int code) {
    switch (kind) {
        case element_kind::e2m1:
            return fpq_test::e2m1_facts.value(code);
        case element_kind::e2m3:
            return fpq_test::e2m3_facts.value(code);
        case element_kind::e3m2:
            return fpq_test::e3m2_facts.value(code);
        case element_kind::e4m3:
            return fpq_test::e4m3_facts.value(code);
        case element_kind::e5m2:
            return fpq_test::e5m2_facts.value(code);
        default:
            break;
    }
    int const bits = 2 + static_cast<int>(kind) - static_cast<int>(element_kind::int2);
    return code >= 1 << (bits - 1) ? code - (1 << bits) : code;
}

double slow_scale(scale_kind kind, std::uint8_t const* bytes) {
    if (kind == scale_kind::e4m3) {
        return fpq_test::e4m3_facts.value(bytes[0]);
    }
    if (kind == scale_kind::e8m0) {
        return std::ldexp(1.0, bytes[0] - 127);
    }
    return fpq_test::half_value(static_cast<std::uint16_t>(bytes[0] + 256 * bytes[1]));
}

std::size_t slow_code(std::vector<std::uint8_t> const& bytes, std::size_t start, int bits) {
    std::size_t code = 0;
    for (int k = 0; k < bits; ++k) {
        std::size_t const at = start + static_cast<std::size_t>(k);
        code |= static_cast<std::size_t>((bytes[at / 8] >> (at % 8)) & 1) << k;
    }
    return code;
}

/// Any byte string is a matrix: fill with random bytes that hold no NaN or infinity.
void check_decoding(quant_format const& f, std::size_t rows, std::size_t cols, float global) {
    fpq::philox const random{11, cols};
    std::vector<std::uint8_t> codes(rows * f.row_bytes(cols));
    std::vector<std::uint8_t> scales(f.scale_count(rows, cols) * f.scale_bytes_each());
    std::vector<std::uint8_t> zeros(f.symmetric ? 0 : f.scale_count(rows, cols));
    std::size_t next = 0;
    int const bits = fpq::element_bits(f.element);
    for (std::uint8_t& byte : codes) {
        byte = static_cast<std::uint8_t>(random.at(next++));
        if (bits == 8 && !fpq::is_integer(f.element)) {
            byte &= 0xBF;  // below the special exponents
        }
    }
    for (std::uint8_t& byte : scales) {
        byte = static_cast<std::uint8_t>(random.at(next++) & 0x3F);
        byte = f.scale == scale_kind::e8m0 ? static_cast<std::uint8_t>(byte + 96) : byte;
    }
    for (std::uint8_t& byte : zeros) {
        byte = static_cast<std::uint8_t>(random.at(next++) & ((1u << bits) - 1u));
    }
    fpq::packed_view const view{
        f, rows, cols, codes.data(), scales.data(), zeros.empty() ? nullptr : zeros.data(), global};
    std::size_t const group = f.grain == granularity::group ? f.group : cols;
    std::size_t const per_row = (cols + group - 1) / group;
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < cols; ++j) {
            std::size_t const index = f.grain == granularity::tensor ? 0 : i * per_row + j / group;
            double const stored = slow_scale(f.scale, scales.data() + index * f.scale_bytes_each());
            float const step = static_cast<float>(stored) / global;
            std::size_t const start =
                8 * i * f.row_bytes(cols) + j * static_cast<std::size_t>(bits);
            auto const code = static_cast<int>(slow_code(codes, start, bits));
            double const element = f.symmetric ? slow_element(f.element, code)
                                               : static_cast<double>(code - zeros[index]);
            float const wanted = static_cast<float>(element) * step;
            INFO("row " << i << " col " << j);
            REQUIRE(fpq_test::float_bits(view(i, j)) == fpq_test::float_bits(wanted));
        }
    }
}

}  // namespace

TEST_CASE("every format decodes random bytes by the rule, ragged widths too", "[format]") {
    for (std::size_t const cols : {1u, 15u, 16u, 33u, 64u, 172u}) {
        for (quant_format const& f : {fpq::nvfp4, fpq::mxfp4, fpq::mxfp6_e2m3, fpq::mxfp6_e3m2,
                                      fpq::mxfp8_e4m3, fpq::mxfp8_e5m2}) {
            check_decoding(f, 5, cols, f == fpq::nvfp4 ? 683.0F : 3.0F);
        }
        for (auto const grain : {granularity::group, granularity::channel, granularity::tensor}) {
            check_decoding(fpq::fp4(7, grain), 5, cols, 1.0F);
            for (int bits = 2; bits <= 8; ++bits) {
                check_decoding(fpq::int_format(bits, 32, true, grain), 5, cols, 1.0F);
                check_decoding(fpq::int_format(bits, 32, false, grain), 5, cols, 1.0F);
            }
        }
    }
}

TEST_CASE("a zero scale decodes to zeros and a zero byte is never NaN", "[format]") {
    std::uint8_t const codes[8] = {0x70, 0xF8, 0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC};
    std::uint8_t const scales[2] = {0, 0};
    for (quant_format const& f : {fpq::nvfp4, fpq::fp4(16), fpq::int_format(4, 16)}) {
        fpq::packed_view const view{f, 1, 16, codes, scales, nullptr, 512.0F};
        for (std::size_t j = 0; j < 16; ++j) {
            CHECK(view(0, j) == 0.0F);
        }
    }
    fpq::packed_view const smallest{fpq::mxfp4, 1, 16, codes, scales, nullptr, 1.0F};
    CHECK(smallest(0, 1) == 6.0F * 0x1p-127F);
}

TEST_CASE("stored scales decode from one byte or from two little-endian bytes", "[format]") {
    std::uint8_t const bytes[2] = {0x01, 0x3C};  // fp16 1 + 2^-10
    CHECK(fpq::decode_scale(scale_kind::fp16, bytes) == 1.0009765625F);
    CHECK(fpq::decode_scale(scale_kind::e4m3, bytes + 1) == 1.5F);
    CHECK(fpq::decode_scale(scale_kind::e8m0, bytes + 1) == 0x1p-67F);
}
