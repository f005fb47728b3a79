// SPDX-License-Identifier: Apache-2.0
// Whole matrices to bytes and back. Golden vectors were made by hand and decoded by ggml; they
// change only if a format's definition does.
#include "fpq/quant/quantize.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/gaussian.hpp"

using fpq::observer_options;
using fpq::packed_matrix;
using fpq::quant_format;
using fpq::scale_rule;

namespace {

/// Elements 0..63 of the golden row.
std::vector<float> golden_row() {
    std::vector<float> v(64);
    for (int i = 0; i < 64; ++i) {
        float const x = (static_cast<float>((i * 37) % 64) - 31.5F) / 8.0F;
        v[static_cast<std::size_t>(i)] =
            i >= 32 && i < 48 ? 0.0F : (i >= 16 && i < 32 ? x / 16 : x);
    }
    return v;
}

std::string hex(std::vector<std::uint8_t> const& bytes) {
    std::string out;
    for (std::uint8_t b : bytes) {
        out += "0123456789abcdef"[b >> 4];
        out += "0123456789abcdef"[b & 15];
    }
    return out;
}

packed_matrix golden(quant_format const& format, observer_options const& options) {
    std::vector<float> const v = golden_row();
    return fpq::quantize(fpq::as_view(v.data(), 1, 64), format, options, 1);
}

std::vector<float> normals(std::size_t n, std::uint64_t stream) {
    return fpq_test::gaussian(n, 31, stream);
}

struct setting {
    quant_format format;
    observer_options options;
};

std::vector<setting> settings(scale_rule kind) {
    std::vector<setting> all;
    for (float g : {512.0F, 2688.0F / 3.7F}) {
        all.push_back({fpq::nvfp4, {.rule = kind, .global_scale = g}});
    }
    for (quant_format const& f :
         {fpq::mxfp4, fpq::mxfp6_e2m3, fpq::mxfp6_e3m2, fpq::mxfp8_e4m3, fpq::mxfp8_e5m2}) {
        all.push_back({f, {.rule = kind, .mx = scale_rule::fp_quant, .global_scale = 3.0F}});
        all.push_back({f, {.rule = kind, .mx = scale_rule::even}});
    }
    for (int bits = 2; bits <= 8; ++bits) {
        all.push_back({fpq::int_format(bits, 32), {.rule = kind}});
        all.push_back({fpq::int_format(bits, 16, false), {.rule = kind}});
    }
    all.push_back({fpq::fp4(16), {.rule = kind}});
    all.push_back({fpq::fp4(0, fpq::granularity::channel), {.rule = kind}});
    all.push_back({fpq::fp4(0, fpq::granularity::tensor), {.rule = kind}});
    all.push_back({fpq::int_format(4, 0, false, fpq::granularity::tensor), {.rule = kind}});
    return all;
}

}  // namespace

TEST_CASE("golden NVFP4 row, power-of-two global scale", "[quant][golden]") {
    packed_matrix const q =
        golden(fpq::nvfp4, {.global_scale = fpq::nvfp_global_scale(3.9375F, true)});
    REQUIRE(q.global_scale == 512.0F);
    // The note has 00 for the all-zero group; ours is 1.0 (38), which decodes the same.
    REQUIRE(hex(q.scales) == "7a5a387a");
    REQUIRE(hex(q.codes) == "2f5e7cf9e3b6174f6d7ae2c5963f6e7c0000000000000000c5874f6e7be1d4a6");
}

TEST_CASE("golden MXFP4 rows by three rules", "[quant][golden]") {
    packed_matrix const floor = golden(fpq::mxfp4, {.mx = scale_rule::floor});
    REQUIRE(hex(floor.scales) == "7e7e");
    REQUIRE(hex(floor.codes) == "3f6f7df9e4c6175f18189080810919180000000000000000d6874f6e7cf1e5a7");
    for (scale_rule rule : {scale_rule::even, scale_rule::ceil}) {
        packed_matrix const ct = golden(fpq::mxfp4, {.mx = rule});
        REQUIRE(hex(ct.scales) == "7f7f");
        REQUIRE(hex(ct.codes) ==
                "1e4d5be8c2a4063d08088080800808080000000000000000b4852d4c6ad1c395");
    }
    packed_matrix const third =
        golden(fpq::mxfp4, {.mx = scale_rule::fp_quant, .global_scale = 3.0F});
    REQUIRE(hex(third.scales) == "8080");
    REQUIRE(hex(third.codes) == "2f5e6cf9d3b5174e18189080810908180000000000000000c5864f6d7be1d4a6");
}

TEST_CASE("E2M1 midpoints go to the even code in a whole matrix", "[quant]") {
    std::vector<float> const w{0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F, 6.0F};
    packed_matrix const q = fpq::quantize(fpq::as_view(w.data(), 1, 8), fpq::nvfp4, {}, 1);
    REQUIRE(hex(q.codes) == "20426476");
    REQUIRE(fpq::dequantize(q.view(), 1) ==
            std::vector<float>{0.0F, 1.0F, 1.0F, 2.0F, 2.0F, 4.0F, 4.0F, 6.0F});
}

TEST_CASE("codes and values are the encode and decode rules, element by element", "[quant]") {
    std::vector<float> const x = normals(5 * 172, 1);
    auto const w = fpq::as_view(x.data(), 5, 172);
    for (scale_rule kind : {scale_rule::minmax, scale_rule::mse, scale_rule::sweep}) {
        for (setting const& s : settings(kind)) {
            fpq::scale_grid const grid = fpq::find_scales(w, s.format, s.options, 1);
            packed_matrix const q = fpq::quantize(w, s.format, s.options, 1);
            std::vector<float> const d = fpq::dequantize(q.view(), 1);
            std::size_t const group = s.format.group_of(172);
            int const bits = fpq::element_bits(s.format.element);
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < 5; ++i) {
                for (std::size_t j = 0; j < 172; ++j) {
                    float const step = q.view().step(i, j / group);
                    wrong += step != grid.value[i * grid.groups + j / group] ? 1U : 0U;
                    wrong += d[i * 172 + j] != q.view()(i, j) ? 1U : 0U;
                    std::uint8_t const code =
                        fpq::packed_code(bits, q.codes.data() + i * s.format.row_bytes(172), j);
                    if (s.format.symmetric) {
                        wrong += code != fpq::encode_element(s.format.element, w(i, j) / step);
                    } else {
                        int const zero = q.zeros[q.view().scale_index(i, j / group)];
                        int const full = static_cast<int>(std::nearbyint(w(i, j) / step)) + zero;
                        int const last = (1 << bits) - 1;
                        wrong += code != (full < 0 ? 0 : (full > last ? last : full));
                    }
                }
            }
            INFO("bits " << bits << " group " << s.format.group);
            REQUIRE(wrong == 0);
        }
    }
}

TEST_CASE("decoded values quantize to themselves under the same scales", "[quant]") {
    std::vector<float> const x = normals(4 * 172, 2);
    auto const w = fpq::as_view(x.data(), 4, 172);
    for (setting const& s : settings(scale_rule::sweep)) {
        fpq::scale_grid const grid = fpq::find_scales(w, s.format, s.options, 1);
        packed_matrix const q = fpq::encode_with(w, s.format, grid, s.options.global_scale, 1);
        std::vector<float> const d = fpq::dequantize(q.view(), 1);
        packed_matrix const again = fpq::encode_with(fpq::as_view(d.data(), 4, 172), s.format, grid,
                                                     s.options.global_scale, 1);
        REQUIRE(fpq::dequantize(again.view(), 1) == d);
    }
}

TEST_CASE("bytes do not depend on the number of threads", "[quant]") {
    std::vector<float> const x = normals(67 * 172, 3);
    auto const w = fpq::as_view(x.data(), 67, 172);
    for (setting const& s : settings(scale_rule::minmax)) {
        packed_matrix const one = fpq::quantize(w, s.format, s.options, 1);
        packed_matrix const many = fpq::quantize(w, s.format, s.options, 7);
        REQUIRE(one.codes == many.codes);
        REQUIRE(one.scales == many.scales);
        REQUIRE(one.zeros == many.zeros);
        REQUIRE(fpq::dequantize(one.view(), 1) == fpq::dequantize(one.view(), 7));
    }
}

TEST_CASE("an all-zero matrix decodes to zero in every format", "[quant]") {
    std::vector<float> const x(3 * 40, 0.0F);
    for (scale_rule kind : {scale_rule::minmax, scale_rule::mse, scale_rule::sweep}) {
        for (setting const& s : settings(kind)) {
            packed_matrix const q =
                fpq::quantize(fpq::as_view(x.data(), 3, 40), s.format, s.options, 1);
            REQUIRE(fpq::dequantize(q.view(), 1) == x);
            REQUIRE(q.codes == std::vector<std::uint8_t>(q.codes.size(), 0));
        }
    }
}

TEST_CASE("an INT8 value is off by half a step, and the maximum by its scale's rounding",
          "[quant]") {
    std::vector<float> const x = normals(8 * 64, 4);
    auto const w = fpq::as_view(x.data(), 8, 64);
    packed_matrix const q = fpq::quantize(w, fpq::int_format(8, 64, true), {}, 1);
    std::vector<float> const d = fpq::dequantize(q.view(), 1);
    // The maximum lies at 127.5 steps; fp16 rounds the step by 2^-11 of itself.
    float const limit = 0.5F + 127.5F * 0x1p-11F;
    for (std::size_t i = 0; i < 8; ++i) {
        for (std::size_t j = 0; j < 64; ++j) {
            REQUIRE(std::fabs(d[i * 64 + j] - w(i, j)) <= limit * q.view().step(i, 0));
        }
    }
}
